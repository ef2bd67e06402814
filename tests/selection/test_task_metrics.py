"""What is chosen by where nobody says: the metric of the target's task, in commands and in Python alike."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import muster
from muster.commands.cli import build_parser, run
from muster.commands.main import CONFIGS
from muster.commands.select import select_ensemble
from muster.data import open_dataset
from muster.pool import Pool
from muster.report import write_selection_report
from muster.selection.record import Selection
from muster.selection.settings import SelectionSettings
from muster.selection.task_metrics import question_metric
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.multilabel import MULTILABEL
from muster.tasks.segmentation import SEGMENTATION
from tests.helpers import make_member

CHEAP = {"predictor": "eep", "size": 1, "resamples": 0, "cache_gb": 0.0, "image_size": 32}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    for seed, name in enumerate("ab"):
        make_member(folder, name, seed)
    return Pool.open(folder)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of images of three classes that overlap: perfect predictions would tie."""
    root = tmp_path_factory.mktemp("images") / "tones"
    noise = np.random.default_rng(0)
    for split, (name, tone) in product(("train", "test"), {"dark": 100, "grey": 103, "light": 106}.items()):
        (root / split / name).mkdir(parents=True)
        for number in range(9):
            pixels = noise.normal(tone, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


def test_auto_is_what_the_task_says() -> None:
    usual = SelectionSettings()
    whole, pixels = usual.of_task(CLASSIFICATION), usual.of_task(SEGMENTATION)
    assert (whole.metric, pixels.metric) == ("e_leep", "soft_iou_eep")
    assert whole.metrics == ("ms_leep", "e_leep", "accuracy_eep", "soft_accuracy_eep", "base")
    assert pixels.metrics == ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep", "base")
    assert usual.specs() == ()
    named = SelectionSettings(metric="logme", metrics=("parc", "auto", "base")).of_task(SEGMENTATION)
    assert (named.metric, named.metrics) == ("logme", ("parc", "ms_leep", "e_leep", "iou_eep", "soft_iou_eep", "base"))
    assert SelectionSettings(metrics=()).of_task(CLASSIFICATION).metrics == ()


@pytest.mark.parametrize("given", [[], ["--metrics", "leep"], ["--metrics", "auto,leep", "--metric", "accuracy_eep"]])
def test_the_command_resolves_and_records_it(
    pool: Pool, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cheap.yaml").write_text(yaml.safe_dump({**CHEAP, "output": "chosen"}))
    words = ["--config", "cheap.yaml", "--pool", str(pool.folder), "--target", str(images), *given]
    assert run(select_ensemble, "select.py", CONFIGS / "select" / "default.yaml", words) == 0
    record, saved = Selection.load(Path("chosen")), yaml.safe_load(Path("chosen/config.yaml").read_text())
    usual = [*CLASSIFICATION.ensemble_metrics, "base"]
    shown = usual if not given else ["leep"] if given[1] == "leep" else [*usual, "leep"]
    assert saved["metrics"] == shown
    assert saved["metric"] == record.metric == ("accuracy_eep" if "--metric" in given else "e_leep")
    assert {*shown, record.metric} - set(record.dropped) == set(record.choices)


def test_a_python_call_resolves_it(pool: Pool, images: Path) -> None:
    chosen = muster.select(pool, str(images), **CHEAP)
    assert chosen.metric == "e_leep"
    assert set(chosen.choices) | set(chosen.dropped) == {*CLASSIFICATION.ensemble_metrics, "base"}
    with pytest.warns(UserWarning, match=r"soft_iou_eep is a metric of segmentation, and the target's task is classif"):
        asked = muster.select(pool, str(images), metric="soft_iou_eep", metrics=(), **CHEAP)
    assert asked.metric == "soft_iou_eep"


def test_the_report_of_whole_images_speaks_of_images(pool: Pool, images: Path, tmp_path: Path) -> None:
    chosen = muster.select(pool, str(images), **CHEAP)
    page = write_selection_report(chosen, pool, open_dataset(str(images)), tmp_path / "report.html").read_text("utf-8")
    assert "27 training images<" in page
    assert "of the probe images" in page
    assert "pixels from each" not in page
    assert "probe pixels" not in page


def test_the_help_says_it() -> None:
    shown = " ".join(build_parser(select_ensemble, "select.py", None).format_help().split())
    assert "auto is what the target's task is chosen by: soft_iou_eep for segmentation, e_leep" in shown


def test_only_metrics_of_other_tasks_alone_are_questioned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in ("soft_iou_eep", "e_leep", "logme+pca4", "base", "osborn"):
            question_metric(metric, SEGMENTATION)
        for metric in ("accuracy_eep", "e_leep", "parc+l"):
            question_metric(metric, CLASSIFICATION)
            question_metric(metric, MULTILABEL)
    with pytest.warns(UserWarning, match=r"iou_eep\+haste_ca is a metric of segmentation"):
        question_metric("iou_eep+haste_ca", CLASSIFICATION)
    with pytest.warns(
        UserWarning,
        match=r"accuracy_eep is a metric of classification, text_classification, and .* mIoU.* soft_iou_eep",
    ):
        question_metric("accuracy_eep", SEGMENTATION)
