"""A disk that is full, an output that goes away: a sentence, and nothing half-written; and who may write where."""

from __future__ import annotations

import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from muster.callbacks import EnsembleSelection
from muster.commands.cli import run
from muster.commands.study import study
from muster.data import open_dataset
from muster.errors import OutputError, PoolError, SelectionError
from muster.files import atomic_folder, atomic_write
from muster.pool import Pool, write_member
from muster.report import write_selection_report
from muster.scoring.store_writer import StoreWriter
from muster.selection.record import Selection
from muster.training.checkpoints import WholeCheckpoints
from muster.training.ensemble_card import EnsembleError
from muster.training.finetuned_ensemble import load_ensemble
from tests.odd_inputs.bench import Bench, start


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: the system refuses to make any file longer than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def bench(stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path / "home", stock)
    made.home.mkdir()
    monkeypatch.chdir(made.home)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def no_partial(bench: Bench) -> bool:
    return not list(bench.home.parent.rglob(".partial-*"))


def test_a_file_and_a_folder_say_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    refused = pytest.raises(OutputError, match=r"[ab] cannot be written: File too large")
    with files_of_at_most(10), refused, atomic_write(tmp_path / "a") as partial:
        partial.write_text("too long for it")
    with files_of_at_most(10), refused, atomic_folder(tmp_path / "b") as partial:
        (partial / "in it").write_text("too long for it")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)
    before = path.read_bytes()
    with files_of_at_most(1000), pytest.raises(OutputError, match=r"last\.ckpt cannot be written"):
        WholeCheckpoints().save_checkpoint({"weights": torch.ones(10_000)}, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_select_leaves_the_older_selection(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bench.stock / "selection", "chosen")
    before = contents(bench.home / "chosen")
    words = bench.selecting(target=str(bench.dataset()))
    with files_of_at_most(8000):
        assert start(*words) == 2
    printed = capfd.readouterr().err
    assert "select.py: error: chosen cannot be written: File too large" in printed
    assert "An older selection there is as it was" in printed
    assert "Traceback" not in printed
    assert contents(bench.home / "chosen") == before
    assert no_partial(bench)


def test_select_goes_on_without_a_cache(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    words = bench.selecting("--pixels_per_image", "20000", "--metrics", "leep", target=str(bench.dataset()))
    with files_of_at_most(400_000):
        assert start(*words) == 0
    printed = capfd.readouterr().err
    assert printed.count("warning: Predictions are not kept for the next time") == 1
    assert "File too large" in printed
    assert no_partial(bench)


@pytest.mark.parametrize(("size", "file"), [(100_000, "last.ckpt"), (3000, "")])
def test_finetune_keeps_what_it_can_go_on_from(
    bench: Bench, size: int, file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = bench.finetuning("--training.checkpoint_every", "1")
    with files_of_at_most(size):
        assert start(*words) == 2
    printed = capfd.readouterr().err
    assert f"{file} cannot be written" in printed
    assert "the same command goes on from the last checkpoint" in printed
    assert "Traceback" not in printed
    assert no_partial(bench)
    assert start(*words) == 0
    assert yaml.safe_load(Path("tuned/result.yaml").read_text())["steps"] == 5


def test_predict_keeps_the_masks_before(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    images = str(bench.dataset(size=256) / "train" / "images")
    assert start(*bench.predicting(images, "--output", "whole")) == 0
    mask, overlay = (Path("whole", file).stat().st_size for file in ("masks/0.png", "overlays/0.jpg"))
    assert mask < overlay
    with files_of_at_most((mask + overlay) // 2):
        assert start(*bench.predicting(images, "--output", "printed")) == 2
    printed = capfd.readouterr().err
    assert "overlays/0.jpg cannot be written: File too large" in printed
    assert "Masks and overlays that were written before are kept" in printed
    assert no_partial(bench)
    assert sorted(path.name for path in Path("printed/masks").iterdir()) == ["0.png"]


def test_train_names_the_member_that_cannot_be_written(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    words = bench.training("--plan.overrides", "[]", datasets=f"[{bench.dataset()}]")
    with files_of_at_most(60_000):
        assert start(*words) == 1
    printed = "".join(capfd.readouterr())
    assert "FAILED tiny-small_fpn" in printed
    assert "cannot be written" in printed
    assert "Traceback" not in printed
    assert no_partial(bench)


def test_an_output_that_goes_away_is_told(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    done = threading.Event()

    def remove() -> None:
        begun = False
        while not done.is_set():
            begun = begun or Path("tuned/work/last.ckpt").exists()
            if begun:
                shutil.rmtree("tuned", ignore_errors=True)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        status = start(*bench.finetuning("--training.steps", "200", "--training.checkpoint_every", "1"))
    finally:
        done.set()
        remover.join()
    printed = capfd.readouterr().err
    assert status == 2
    assert "finetune.py: error: " in printed
    assert "tuned" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("output", "word"), [("pool", "is pool 1"), ("pool/study", "lies in pool 1"), ("mine", "mine holds 'notes.txt'")]
)
def test_a_study_replaces_nothing(bench: Bench, output: str, word: str, capfd: pytest.CaptureFixture[str]) -> None:
    pool, target = bench.pool(), bench.dataset()
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    before = contents(bench.home)
    words = ["--pools", f"[{pool}]", "--targets", f"[{target}]", "--output", output, "--hardware.device", "cpu"]
    assert run(study, "muster study", None, words) == 2
    assert word in capfd.readouterr().err
    assert contents(bench.home) == before


def test_the_callback_replaces_nothing(bench: Bench) -> None:
    pool, target = bench.pool(), bench.dataset()
    for folder in (pool / "members" / "s", target / "s", bench.home):
        with pytest.raises(SelectionError):
            EnsembleSelection(pool, str(target), folder)
    EnsembleSelection(pool, str(target), "chosen")


def test_what_python_writes_replaces_nothing(bench: Bench) -> None:
    selection, pool, mine = Selection.load(bench.selection()), Pool.open(bench.pool()), Path("mine")
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    (bench.home / "report.html").write_text("mine")
    ensemble, before = load_ensemble(bench.stock / "run"), contents(bench.home)
    with pytest.raises(SelectionError, match="mine holds"):
        selection.save(mine)
    with pytest.raises(SelectionError, match="lies in pool"):
        selection.save(bench.stock / "pool" / "s")
    with pytest.raises(EnsembleError, match="mine holds"):
        ensemble.save(mine, "tiny", {})
    with pytest.raises(PoolError, match="mine holds"):
        write_member(mine, pool["a"].load_model(), pool["a"].card, {})
    with pytest.raises(SelectionError, match="mine holds"), StoreWriter(mine, torch.tensor([0, 1]), 2):
        pass
    with pytest.raises(OutputError, match="muster did not write it"):
        write_selection_report(selection, pool, open_dataset(selection.target_reference), Path("report.html"), None, [])
    assert contents(bench.home) == before


def test_a_standard_output_that_is_full_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert start("train.py", "--output", str(bench.stock / "pool"), "--list") == 2
        monkeypatch.undo()
    printed = capsys.readouterr().err
    assert "No space left on device" in printed
    assert "Traceback" not in printed
