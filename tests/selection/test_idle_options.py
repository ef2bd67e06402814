"""Options without effect: a Python call, the callback and the command refuse the same ones."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml

from muster.callbacks import EnsembleSelection
from muster.commands.cli import run
from muster.commands.select import select_ensemble
from muster.data import Dataset
from muster.errors import ConfigError
from muster.pool import Pool
from muster.selection import Selection, SelectionRecord
from muster.selection import run as choosing
from muster.selection.idle_options import PLACES, idle_options
from muster.selection.run import select
from muster.selection.settings import MetricSettings, SelectionSettings
from tests.helpers import make_pool, make_target

VALUES: dict[str, Any] = {
    "reference": Path("m"), "hard_fraction": 0.5, "l_max": 30.0, "hardness_model": ("a",), "hard_eep": "whole"
}  # fmt: skip
HARD = ("hard_fraction", "hardness_model", "hard_eep")
REQUESTS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "plain metrics": (("e_leep",), "eep", ("reference", "l_max", *HARD)),
    "single members on hard subsets": (("leep+haste_ca",), "eep", ("reference", "l_max", "hard_eep")),
    "MS-LEEP on hard subsets": (("ms_leep+haste_cs",), "eep", ("reference", "l_max", "hard_eep")),
    "ensembles on hard subsets": (("e_leep+haste_cs",), "eep", ("reference", "l_max")),
    "ensembles on hard subsets, linear": (("e_leep+haste_cs",), "linear_probe", ("reference", "l_max", "hard_eep")),
    "buckets": (("e_leep+haste_cs_1of4",), "eep", ("reference", "l_max", "hard_fraction")),
    "buckets, linear": (("e_leep+haste_cs_1of4",), "linear_probe", ("reference", "l_max", "hard_fraction", "hard_eep")),
    "a bucket beside a hard subset": (("e_leep+haste_cs_1of4", "leep+haste_cs"), "eep", ("reference", "l_max")),
    "a reference": (("rsa",), "linear_probe", ("l_max", *HARD)),
    "depth": (("parc+l",), "linear_probe", ("reference", *HARD)),
}
CASES = [
    pytest.param(metrics, predictor, name, name in idle, id=f"{kind}: {name}")
    for kind, (metrics, predictor, idle) in REQUESTS.items()
    for name in VALUES
]


class Looked(Exception):
    """A selection got past its options."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 3)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(4)


@pytest.fixture
def no_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # results go to runs/ by default

    def look(*_: object) -> None:
        raise Looked

    monkeypatch.setattr(choosing, "warn_of_shared_images", look)
    monkeypatch.setattr(choosing, "open_dataset", look)


def test_every_such_option_is_covered() -> None:
    named = {field.name for field in fields(MetricSettings)}
    assert set(VALUES) == named - {"metric", "metrics"}
    idle = idle_options(SelectionSettings(metric="e_leep", metrics=(), cache_gb=0.0), "worlds/attic")
    assert set(idle) == set(VALUES) | PLACES


@pytest.mark.usefixtures("no_look")
@pytest.mark.parametrize(("metrics", "predictor", "name", "idle"), CASES)
def test_a_python_call_and_the_callback(
    pool: Pool, target: Dataset, tmp_path: Path, metrics: tuple[str, ...], predictor: Any, name: str, idle: bool
) -> None:
    options = {"metrics": metrics, "predictor": predictor, name: VALUES[name]}
    with pytest.raises(ConfigError if idle else Looked, match=f"{name} has no effect" if idle else None):
        select(pool, target, **options)
    callback, module = EnsembleSelection(pool, target, tmp_path / "chosen", **options), pl.LightningModule()
    module.members_chosen = False
    module.layer = torch.nn.Linear(1, 1)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(ConfigError if idle else Looked, match=f"{name} has no effect" if idle else None):
        callback.setup(trainer, module, "fit")
    default = {name: getattr(SelectionSettings(), name)}
    with pytest.raises(Looked):
        select(pool, target, **{**options, **default})


@pytest.mark.usefixtures("no_look")
@pytest.mark.parametrize("filed", [False, True])
@pytest.mark.parametrize(("metrics", "predictor", "name", "idle"), CASES)
def test_the_command(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str], filed: bool, metrics: tuple[str, ...],
    predictor: str, name: str, idle: bool,
) -> None:  # fmt: skip
    value = VALUES[name]
    value = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    words = ["--pool", str(pool.folder), "--target", "worlds/attic", "--predictor", predictor]
    words += ["--metrics", ",".join(metrics)]
    if filed:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({name: value}))
        words += ["--config", str(tmp_path / "mine.yaml")]
    else:
        words += [f"--{name}", ",".join(value) if isinstance(value, list) else str(value)]
    if not idle:
        with pytest.raises(Looked):
            run(select_ensemble, "select.py", None, words)
        return
    assert run(select_ensemble, "select.py", None, words) == 2
    assert f"--{name} has no effect" in capsys.readouterr().err


def test_every_option_that_has_a_say_is_recorded(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    elsewhere = {
        "metrics", "device", "batch_size", "num_workers", "cache_dir", "cache_gb", "memory_gb", "data_root",
        "train_images", "pixels_per_image", "image_size", "seed",
    }  # fmt: skip
    assert {field.name for field in fields(SelectionSettings)} - elsewhere <= set(SelectionRecord.__annotations__)
    options: dict[str, Any] = {
        "hard_fraction": 0.5, "hardness_model": "a", "l_max": 30.0, "max_parameters": 10**9, "resamples": 40,
        "foresee_heads": 1,
    }  # fmt: skip
    metrics = ("leep+haste_cs", "depth_and_size+l")
    chosen = select(pool, target, size=2, pixels_per_image=40, cache_gb=0.0, metrics=metrics, **options)
    loaded = Selection.load(chosen.save(tmp_path / "chosen"))
    assert {name: getattr(loaded, name) for name in options} == {**options, "hardness_model": ("a",)}
    assert loaded.max_inference_seconds is None
    assert loaded.reference == ""
    plain = select(pool, target, size=2, pixels_per_image=40, cache_gb=0.0, metrics=())
    assert (plain.hard_fraction, plain.l_max, plain.hardness_model, plain.resamples) == (None, None, (), 100)
