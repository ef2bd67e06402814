"""Files and folders that appear whole or not at all, and records read strictly."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from muster.errors import ConfigError, PoolError
from muster.files import (
    atomic_folder,
    atomic_write,
    read_yaml,
    remove_partial,
    require_writable,
    sha256_of,
    sha256_once,
    to_builtin_types,
    write_yaml,
)
from muster.records import parse_record, read_record, write_record


@dataclass(frozen=True)
class Record:
    """One value of each kind that our records have."""

    name: str
    sizes: tuple[int, ...]
    share: float | None
    counts: dict[str, int]
    extra: int = 7


RECORD = Record("größer", (1, 2), None, {"a": 1})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "record.yaml"
    write_record(path, RECORD, 3)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_the_umask_decides_who_reads_what_appears(tmp_path: Path, mask: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)  # what is made below belongs to the folder's group
    before = os.umask(mask)
    try:
        (shared / "ordinary").mkdir()
        with atomic_folder(shared / "a") as partial:
            (partial / "deeper").mkdir(mode=0o700)
            for path in (partial / "private", partial / "deeper" / "private"):
                path.touch(mode=0o600)
        with atomic_write(shared / "b") as partial:
            partial.touch()
    finally:
        os.umask(before)
    found = {path.relative_to(shared).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in shared.rglob("*")}
    file, folder = 0o666 & ~mask, found.pop("ordinary")
    assert folder & 0o777 == 0o777 & ~mask
    assert found == {"a": folder, "a/deeper": folder, "a/deeper/private": file, "a/private": file, "b": file}


def test_a_file_appears_with_its_content_and_ordinary_rights(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as partial:
        assert partial.suffix == ".txt"
        assert not path.exists()
        partial.write_text("whole")
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert (names(path.parent), path.read_text()) == (["a.txt"], "whole")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def write_half() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert names(tmp_path) == ([] if before is None else ["a.txt"])
    assert before is None or path.read_text() == before


def test_a_folder_replaces_the_old_one_with_all_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for content in ("first", "second"):
        with atomic_folder(path) as partial:
            (partial / content).write_text(content)
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    assert (names(path.parent), names(path)) == (["folder"], ["second"])
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_fails_leaves_what_was_there(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "folder"
    if exists:
        path.mkdir()
        (path / "old").write_text("old")

    def write_half() -> None:
        with atomic_folder(path) as partial:
            (partial / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert names(tmp_path) == (["folder"] if exists else [])
    assert not exists or names(path) == ["old"]


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = 2**22 + 1  # more than Linux counts to
    (tmp_path / f".partial-{gone}-abcdefghfolder" / "deep").mkdir(parents=True)
    (tmp_path / f".partial-{gone}-abcd_123file").touch()
    (tmp_path / f".partial-{os.getpid()}-abcd_123file").touch()
    (tmp_path / ".partial-download").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "partial-3").mkdir()
    another = f".partial-{gone}.00000000-abcd_123file"  # of a process on another machine, which may be alive
    (tmp_path / another).touch()
    (tmp_path / another.replace("123", "124")).touch()
    os.utime(tmp_path / another.replace("123", "124"), (0, 0))
    remove_partial(tmp_path)
    kept = [".hidden", f".partial-{os.getpid()}-abcd_123file", ".partial-download", "partial-3", another]
    assert names(tmp_path) == sorted(kept)


def test_a_folder_is_made_writable_or_refused_by_its_option(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b", "output")
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^--output: cannot write to .*file/below"):
        require_writable(tmp_path / "file" / "below", "output")


def test_sha256_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"muster" * 100_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"muster" * 100_000).hexdigest()


def test_a_file_that_was_exchanged_is_hashed_again(tmp_path: Path) -> None:
    for content in (b"muster", b"other and longer"):
        (tmp_path / "a").write_bytes(content)
        assert sha256_once(tmp_path / "a") == sha256_once(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_yaml_keeps_order_and_letters_and_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    content = {"z": "Straße", "a": [1, 2.5, None], "rate": 1e-05}
    write_yaml(path, content)
    assert list(read_yaml(path, PoolError).items()) == list(content.items())
    assert "Straße" in path.read_text("utf-8")
    for text, said in [("a: [1", "cannot be read as YAML"), ("- 1", "expected a YAML mapping, but got list")]:
        path.write_text(text)
        with pytest.raises(PoolError, match=said) as caught:
            read_yaml(path, PoolError)
        assert str(path) in str(caught.value)
    with pytest.raises(PoolError, match=r"none\.yaml does not exist"):
        read_yaml(tmp_path / "none.yaml", PoolError)


def test_a_record_comes_back_equal(saved: Path) -> None:
    assert saved.read_text("utf-8").startswith("format_version: 3\n")
    assert read_record(saved, Record, 3, PoolError) == RECORD


def test_a_key_with_a_default_may_be_left_out(saved: Path) -> None:
    saved.write_text(saved.read_text("utf-8").replace("extra: 7\n", ""), "utf-8")
    assert read_record(saved, Record, 3, PoolError) == RECORD


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format_version: 3", "format_version: 2", "expected format_version 3, but got 2"),
        ("format_version: 3\n", "", "expected format_version 3, but got None"),
        ("share:", "shares:", r"missing key\(s\) share"),
        ("extra: 7", "extra: 7\nmore: 1", r"unknown key\(s\) more\. Known: counts, extra"),
        ("extra: 7", "extra: seven", 'key "extra"'),
        ("- 2", "- two", r'key "sizes\[1\]": expected a whole number'),
        ("  a: 1", "  a: x", 'key "counts.a"'),
    ],
)
def test_a_record_that_does_not_fit_is_refused(saved: Path, old: str, new: str, said: str) -> None:
    text = saved.read_text("utf-8")
    assert old in text
    saved.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(PoolError, match=said) as caught:
        read_record(saved, Record, 3, PoolError)
    assert str(saved) in str(caught.value)


def test_plain() -> None:
    assert to_builtin_types({"a": (1, [Path("b")]), "c": {"d": None}}) == {"a": [1, ["b"]], "c": {"d": None}}


@dataclass(frozen=True)
class _Renamed:
    EARLIER_NAMES: ClassVar = {"miou": "result"}

    result: float
    inner: tuple[dict[str, float], ...] = ()


def test_keys_of_older_versions_are_read_by_their_new_names() -> None:
    older = {"miou": 0.5, "inner": [{"miou": 0.25}]}
    assert parse_record(older, _Renamed, "a", PoolError) == _Renamed(0.5, ({"result": 0.25},))
    with pytest.raises(PoolError, match="other"):
        parse_record({"other": 1.0, **older}, _Renamed, "a", PoolError)


def test_records_share_nothing_though_they_are_read_by_one_parser() -> None:
    first, second = (parse_record({"name": "a", "sizes": [1], "share": None, "counts": {}}, Record, "a", PoolError)
                     for _ in range(2))  # fmt: skip
    assert first == second
    assert first.counts is not second.counts
    one, two = (parse_record({}, _Defaults, "a", PoolError) for _ in range(2))
    one.counts["a"] = 1
    assert two.counts == {}
    assert parse_record({"counts": {"b": 2}}, _Defaults, "a", PoolError).counts == {"b": 2}
    assert parse_record({}, _Defaults, "a", PoolError).counts == {}


@dataclass(frozen=True)
class _Defaults:
    counts: dict[str, int] = field(default_factory=dict)
