"""Read files that a user names: regular files only, and YAML in which no key hides another.

A named pipe, a device or a socket would keep a command waiting for ever, so none of them is ever opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Hashable
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from muster.errors import MusterError

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
_MERGE = "tag:yaml.org,2002:merge"


class NotRegularFileError(OSError):
    """A path leads to something that is no regular file; ``strerror`` says what it is."""


def require_regular(path: Path) -> None:
    """Refuse what is no regular file, before anything opens it.

    Args:
        path: Links are followed.

    Raises:
        NotRegularFileError: If it is a folder, a named pipe, a device or a socket.
        OSError: If there is nothing, or it cannot be looked at.
    """
    _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 (a Path that is a link to itself answers otherwise)


def special_kind(path: Path) -> str | None:
    """What a path leads to if it is a named pipe, a device or a socket; ``None`` for all else, or nothing."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else _KINDS.get(stat.S_IFMT(mode))


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    Args:
        path: Links are followed.

    Returns:
        The open file.

    Raises:
        NotRegularFileError: If it is anything else.
        OSError: If it cannot be opened.
    """
    require_regular(path)  # merely to open some devices already has an effect
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(handle).st_mode, path)  # it may have been exchanged in between
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise NotRegularFileError(errno.EINVAL, f"it is {kind}, and a regular file is expected", str(path))


class RepeatedKeyError(yaml.YAMLError):
    """A YAML mapping names a key twice, of which one would be lost."""


# The loaders in C make the same of a text, six times as fast; some builds of the library lack them.
_Plain: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Text: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""To the first 0001 is a number; to the second every value is text."""


def _refuse_repeated_keys(loader: Any, node: yaml.Node | None, known: set[int]) -> None:
    """Look at the keys of mappings before merged ones, which they may give another value, are added."""
    if node is None or isinstance(node, yaml.ScalarNode) or id(node) in known:
        return
    known.add(id(node))  # an alias stands for the same node
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _refuse_repeated_keys(loader, each, known)
        return
    seen: dict[Hashable, yaml.Node] = {}
    for key, value in node.value:
        _refuse_repeated_keys(loader, key, known)
        _refuse_repeated_keys(loader, value, known)
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        name = loader.construct_object(key)  # so that 255 and 0xff are one key
        if name in seen:
            first, again = seen[name].start_mark.line + 1, key.start_mark.line + 1
            raise RepeatedKeyError(
                f"the key {key.value!r} is there twice (lines {first} and {again}): remove one of them"
            )
        seen[name] = key


def parse_yaml(text: str, as_text: bool = False) -> Any:
    """Parse YAML of plain values; no objects of any kind are made.

    Args:
        text: The content of a file.
        as_text: Leave every value as text, instead of looking for numbers and the like.

    Returns:
        The content.

    Raises:
        yaml.YAMLError: If it is no YAML, if a mapping names a key twice, or if it is nested too deeply.
    """
    loader = (_Text if as_text else _Plain)(text)
    try:
        node = loader.get_single_node()
        _refuse_repeated_keys(loader, node, set())
        return None if node is None else loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        if error.problem and "nesting depth" in error.problem:  # the loaders in C count
            raise yaml.YAMLError("it is nested too deeply") from error
        raise
    except ValueError as error:  # e.g. a date that is none: 2024-13-45
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def read_yaml_file(path: Path, error: type[MusterError], as_text: bool = False) -> Any:
    """Read a YAML file that a user or an earlier run wrote.

    Args:
        path: The file, in UTF-8 with or without a byte order mark.
        error: What to raise.
        as_text: See :func:`parse_yaml`.

    Returns:
        The content.

    Raises:
        MusterError: Of class ``error``, naming the file, if it is missing, no regular file, not YAML, or if a mapping
            in it names a key twice.
    """
    try:
        with open_regular(path) as file:
            return parse_yaml(file.read().decode("utf-8-sig"), as_text)
    except FileNotFoundError:
        missing = "is a link to a file that is not there" if path.is_symlink() else "does not exist"
        raise error(f"{path} {missing}.") from None
    except OSError as problem:
        raise error(f"{path} cannot be read as YAML: {problem.strerror}.") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path} cannot be read as YAML in UTF-8: {problem}. Save it in UTF-8.") from problem
    except yaml.YAMLError as problem:
        raise error(f"{path} cannot be read as YAML: {problem}") from problem
