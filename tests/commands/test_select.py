"""`select.py`, as a function and as a script."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml

import muster
from muster.commands.cli import run
from muster.commands.select import select_ensemble
from muster.commands.words import Options
from muster.data import open_dataset
from muster.files import to_builtin_types
from muster.pool import Pool
from muster.selection import Selection
from muster.selection.settings import SelectionSettings
from tests.helpers import make_member, make_pool, undated

ROOT = Path(__file__).parents[2]
TARGET = "worlds/attic"
OPTIONS = ["--target", TARGET, "--train_images", "4", "--pixels_per_image", "50", "--batch_size", "2"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("with space") / "small"
    make_pool(folder, 4)
    make_member(folder, "seer", 8, trained_on=open_dataset("worlds/attic"))
    return Pool.open(folder)


@pytest.fixture
def arguments(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    return ["--pool", str(pool.folder), *OPTIONS]


def start(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MUSTER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_option_reaches_the_command_under_its_own_name() -> None:
    options = Options.of(select_ensemble, "select.py", {"configuration", "asked"})
    settings = {field.name: getattr(SelectionSettings(), field.name) for field in fields(SelectionSettings)}
    own = {name for name in options.kinds if not name.startswith("ray.")}
    assert own == set(settings) | {*("pool", "target", "output", "clear_cache", "logger", "workers", "executor")}
    assert options.groups == frozenset({"ray"})
    assert {name: options.defaults[name] for name in settings} == to_builtin_types(settings)


def test_writes_a_selection_and_says_why(
    arguments: list[str], pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(select_ensemble, "select.py", None, arguments) == 0
    printed = capsys.readouterr().out
    folder = Path("runs/selections/attic-small")
    assert sorted(path.name for path in folder.iterdir()) == [
        ".muster",
        "config.yaml",
        "ranking.parquet",
        "report.html",
        "selection.yaml",
        "splits.yaml",
    ]
    chosen = Selection.load(folder)
    expected = muster.select(pool, TARGET, train_images=4, pixels_per_image=50, batch_size=2)
    assert undated(chosen) == undated(expected)
    # A world is for tiny networks, whose recipe is not the default of finetune.py.
    assert f"Next: python finetune.py --selection {folder} --config " in printed
    assert printed.split("--config ")[1].split()[0].endswith("configs/finetune/worlds.yaml")
    assert "Left out: seer (was trained on the target, attic)." in printed
    assert (
        "200 probe pixels of 4 training images, seen at 64 pixels, longer side (the median of the members' cards)"
        in printed
    )
    assert all(name in printed for name in chosen.members)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["target"], config["pixels_per_image"], config["metric"]) == (TARGET, 50, "soft_iou_eep")
    # The saved configuration gives the same run again.
    before = undated(chosen)
    assert run(select_ensemble, "select.py", None, ["--config", str(folder / "config.yaml")]) == 0
    assert undated(Selection.load(folder)) == before


def test_trackers_get_a_copy_and_later_selections_keep_the_earlier_ones(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run(select_ensemble, "select.py", None, [*arguments, "--logger", "tensorboard,mlflow"]) == 0
    folder = Path("runs/selections/attic-small")
    assert sorted(path.name for path in (folder / "logs").iterdir()) == ["mlruns", "tensorboard"]
    assert len(list((folder / "logs" / "tensorboard").iterdir())) == 2
    runs = sorted((folder / "logs" / "mlruns").glob("[1-9]*/*/artifacts"))
    assert [sorted(path.name for path in each.iterdir()) for each in runs] == 2 * [
        ["config.yaml", "images", "ranking.parquet", "report.html", "selection.yaml", "tables"]
    ]
    chosen = Selection.load(folder)
    score = (runs[0].parent / "metrics" / "predicted" / "soft_iou_eep").read_text().split()[1]
    assert float(score) == pytest.approx(chosen.score)
    assert yaml.safe_load((folder / "config.yaml").read_text())["logger"] == "tensorboard,mlflow"
    capsys.readouterr()
    assert run(select_ensemble, "select.py", None, [*arguments, "--logger", "csv"]) == 2
    assert "--logger has no effect with csv alone" in capsys.readouterr().err


def test_the_cache_can_be_emptied(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(select_ensemble, "select.py", None, arguments) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 8  # of each member its probabilities and its predictions
    capsys.readouterr()
    assert run(select_ensemble, "select.py", None, ["--pool", "p", "--target", "t", "--clear_cache", "true"]) == 2
    assert "--pool, --target have no effect with --clear_cache" in capsys.readouterr().err
    assert len(list((tmp_path / "cache").iterdir())) == 8
    default = ROOT / "configs" / "select" / "default.yaml"
    assert run(select_ensemble, "select.py", default, ["--clear_cache"]) == 0
    assert "Emptied the cache" in capsys.readouterr().out
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--metric", "soft_iou"], "Did you mean 'soft_iou_eep'?"),
        (["--size", "5"], "only 4 of the 5"),
        (["--logger", "[csv, tensorbord]"], "Did you mean 'tensorboard'?"),
        (["--target", "worlds/attik"], "Did you mean 'attic'?"),
        (["--pool", "nowhere"], "There is no pool"),
        (["--output", "occupied"], "which is not part of a selection that muster wrote"),
        (["--output", "occupied/file/inside"], "output"),
    ],
)
def test_mistakes_are_one_clear_message(
    arguments: list[str], extra: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("occupied").mkdir()
    Path("occupied/file").write_text("mine")
    assert run(select_ensemble, "select.py", None, [*arguments, *extra]) == 2
    error = capsys.readouterr().err
    assert error.startswith("select.py: error: ")
    assert message in error
    assert Path("occupied/file").read_text() == "mine"
    assert not Path("runs/selections/attic-small").exists()


def test_an_interrupted_run_leaves_the_older_selection(
    arguments: list[str], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(select_ensemble, "select.py", None, arguments) == 0
    folder = Path("runs/selections/attic-small")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("muster.commands.select.write_selection_report", interrupted)
    assert run(select_ensemble, "select.py", None, [*arguments, "--seed", "1"]) == 130
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_interrupted_choice_is_written_and_says_so(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    chooser = muster.commands.select.select
    monkeypatch.setattr(
        "muster.commands.select.select", lambda *given, **options: replace(chooser(*given, **options), interrupted=True)
    )
    assert run(select_ensemble, "select.py", None, arguments) == 130
    assert Selection.load(Path("runs/selections/attic-small")).interrupted


@pytest.mark.parametrize(
    ("arguments_given", "message"),
    [(["--metrik", "x"], "metrik"), (["--size", "three"], "size"), (["--siz", "3"], "siz")],
)
def test_unknown_keys_wrong_types_and_abbreviations_stop(
    arguments: list[str], arguments_given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(select_ensemble, "select.py", None, [*arguments, *arguments_given]) == 2
    assert message in capsys.readouterr().err


def test_the_script_gives_way_to_the_standard_module(tmp_path: Path) -> None:
    code = "import subprocess, selectors, select; print(select.poll, getattr(select, '__file__', 'built in'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "built-in function poll" in done.stdout
    assert str(ROOT / "select.py") not in done.stdout


@pytest.mark.slow  # tests/selection/test_record.py has two processes choose, without torchrun
def test_torchrun_chooses_like_one_process(pool: Pool, tmp_path: Path) -> None:
    # Four images are one batch: one of the processes has none to probe.
    options = ["--pool", str(pool.folder), *OPTIONS, "--batch_size", "4", "--cache_gb", "0", "--output"]
    assert run(select_ensemble, "select.py", None, [*options, str(tmp_path / "one")]) == 0
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    both = start([*torchrun, str(ROOT / "select.py"), *options, "two"], tmp_path)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("Next: python finetune.py") == 1
    first, second = Selection.load(tmp_path / "one"), Selection.load(tmp_path / "two")
    assert first.members == second.members
    for metric, scores in first.ranking.scores.items():
        assert np.allclose(scores, second.ranking.scores[metric], rtol=0, atol=1e-6)
    tables = [pandas.read_parquet(tmp_path / name / "ranking.parquet") for name in ("one", "two")]
    assert tables[0][["member_1", "member_2", "member_3"]].equals(tables[1][["member_1", "member_2", "member_3"]])
