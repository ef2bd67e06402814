"""Folders that several users share: whoever may read by the umask can, and nothing of theirs is lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from muster.output_kinds import POOL
from muster.outputs import mark
from muster.pool import CARD, WEIGHTS, Pool
from tests.helpers import make_pool
from tests.odd_inputs.bench import Bench, start, write_dataset

PRECIOUS = "weights of a week's training, whose card was lost"


@contextmanager
def working_in(home: Path, mask: int) -> Iterator[Bench]:
    """A folder to work in under a umask, with a dataset ``tiny``."""
    before = os.umask(mask)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(home)
            patch.setenv("MUSTER_CACHE", str(home / "made" / "cache"))
            write_dataset(home / "tiny")
            yield Bench(home, home)
    finally:
        os.umask(before)


def wrong_modes(folder: Path, mask: int) -> dict[str, str]:
    """All files and folders below one that may be read by others than the umask says."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) & ~stat.S_ISGID for path in folder.rglob("*")}
    expected = {path: (0o777 if path.is_dir() else 0o666) & ~mask for path in modes}
    return {str(path.relative_to(folder)): oct(mode) for path, mode in modes.items() if mode != expected[path]}


@pytest.mark.parametrize("mask", [pytest.param(0o022, marks=pytest.mark.slow), 0o027], ids=oct)
def test_what_commands_write_has_the_modes_that_the_umask_allows(tmp_path: Path, mask: int) -> None:
    with working_in(tmp_path, mask) as bench:
        make_pool(tmp_path / "made" / "pool", 3)
        assert start(*bench.selecting("--output", "made/selection", pool="made/pool")) == 0
        assert start(*bench.finetuning("--output", "made/run", selection="made/selection")) == 0
        assert start(*bench.predicting("tiny/test/images", "--output", "made/masks", ensemble="made/run")) == 0
    assert wrong_modes(tmp_path / "made", mask) == {}
    for folder, kinds in (
        ("pool", {".safetensors", ".yaml"}),
        ("cache", {".safetensors"}),
        ("selection", {".yaml", ".parquet", ".html"}),
        ("run", {".safetensors", ".yaml", ".csv", ".html"}),
        ("masks", {".png", ".jpg", ".txt"}),
    ):
        assert kinds <= {path.suffix for path in (tmp_path / "made" / folder).rglob("*")}


def test_a_pool_has_them_too_and_keeps_what_lay_in_the_place_of_a_member(tmp_path: Path) -> None:
    with working_in(tmp_path, 0o027) as bench:
        incomplete = tmp_path / "pool" / "members" / "tiny-small_fpn"
        incomplete.mkdir(parents=True)
        (incomplete / WEIGHTS).write_text(PRECIOUS)
        mark(tmp_path / "pool", POOL)
        assert start(*bench.training(output="pool")) == 0
    assert wrong_modes(tmp_path / "pool", 0o027) == {}
    (kept,) = (tmp_path / "pool" / "set_aside").iterdir()
    assert kept.name == "tiny-small_fpn-1"
    assert (kept / WEIGHTS).read_text() == PRECIOUS
    (member,) = Pool.open(tmp_path / "pool")
    assert (member.folder / CARD).is_file()
    assert member.problem() is None
