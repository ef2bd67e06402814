"""Files that a user names: regular ones only, and YAML in which no key hides another."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from muster.errors import ConfigError
from muster.files import read_yaml, sha256_of
from muster.user_files import NotRegularFileError, open_regular, parse_yaml, read_yaml_file, special_kind


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize(("kind", "make"), list(SPECIAL.items()))
def test_what_is_no_regular_file_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, make: Callable[[Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may have about 100 bytes only
    path = tmp_path / "odd"
    make(path)
    assert special_kind(path) == kind
    for read in (open_regular, sha256_of):
        with pytest.raises(NotRegularFileError, match=kind):
            read(path)
    with pytest.raises(ConfigError, match=f"odd.*{kind}"):
        read_yaml(path, ConfigError)


def test_regular_files_links_and_folders(tmp_path: Path) -> None:
    (tmp_path / "fine").write_bytes(b"content")
    (tmp_path / "link").symlink_to("fine")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"
    assert [special_kind(tmp_path / name) for name in ("fine", "link", ".", "gone")] == [None] * 4
    with pytest.raises(NotRegularFileError, match="a folder"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3\n", ["'a'", "lines 1 and 3"]),
        ("outer:\n  inner: {a: 1, b: 2, a: 1}\n", ["'a'"]),
        ("- {x: 1}\n- {x: 1, x: 2}\n", ["'x'"]),
        ("255: a\n0xff: b\n", ["'0xff'"]),
        ("<<: {b: 1}\na: 1\na: 2\n", ["'a'"]),
        ("[" * 5000, ["too deeply"]),
        ("a: 2024-13-45\n", ["month"]),
        ("a: !!python/object/apply:os.getcwd []\n", ["python"]),
    ],
)
def test_faults_in_yaml(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml_file(tmp_path / "a.yaml", ConfigError)
    for part in ["a.yaml", *parts]:
        assert part in str(caught.value)


def test_a_key_of_text_is_there_twice() -> None:
    with pytest.raises(yaml.YAMLError, match="'train'"):
        parse_yaml("train: [0001]\ntest: []\ntrain: []\n", as_text=True)
    assert parse_yaml("train: [0001]\n", as_text=True) == {"train": ["0001"]}


def test_merged_keys_may_be_given_another_value() -> None:
    shared = "base: &base {a: 1, b: 2}\nfirst: {<<: *base, b: 3}\nsecond: *base\n"
    assert parse_yaml(shared) == {"base": {"a": 1, "b": 2}, "first": {"a": 1, "b": 3}, "second": {"a": 1, "b": 2}}


def test_a_byte_order_mark_and_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read_yaml_file(tmp_path / "a.yaml", ConfigError) == {"name": "x"}
    (tmp_path / "a.yaml").write_bytes("name: é\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        read_yaml_file(tmp_path / "a.yaml", ConfigError)
