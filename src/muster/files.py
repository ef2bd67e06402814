"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from safetensors import SafetensorError

from muster.errors import ConfigError, MusterError, OutputError
from muster.user_files import open_regular, read_yaml_file

if TYPE_CHECKING:
    import pandas

PARTIAL = ".partial-"
"""Prefix of what is still being written; the number of the writing process and a word for its machine follow, so that a
crash can be told."""

_ELSEWHERE_SECONDS = 3600.0
"""What another machine began to write and did not touch for so long was left by a process that died there."""

_OLD = ".old"
_RANDOM_CHARACTERS = 8  # of the tempfile module
_OURS = re.compile(rf"{re.escape(PARTIAL)}(\d+)(?:\.([0-9a-f]{{8}}))?-[a-z0-9_]{{{_RANDOM_CHARACTERS}}}")
_MOST_OF_A_NAME = 40
"""Characters at the end of a file's name that its partial's name keeps, so that it is not too long for a name."""


def partial_prefix() -> str:
    """How the names begin of what this process is still writing."""
    return f"{PARTIAL}{os.getpid()}.{_machine_word()}-"


def _machine_word() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the place of ``path`` in one step.

    Args:
        path: The file to create or replace. Its folder is created.

    Yields:
        The path to write to.

    Raises:
        OutputError: In place of an ``OSError``: the disk is full, say.
    """
    with told_as_output(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ending stays, because some writers choose their format by it.
        ending = path.name[-_MOST_OF_A_NAME:]
        handle, name = tempfile.mkstemp(prefix=partial_prefix(), suffix=ending, dir=path.parent)
        os.close(handle)
        yield from _filled_file(Path(name), path)


def _filled_file(partial: Path, path: Path) -> Iterator[Path]:
    try:
        yield partial
        _respect_umask(partial)  # mkstemp makes files that only their owner reads
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it takes the place of ``path``.

    An existing folder is moved aside first and deleted last, so at no moment is there half of one.

    Args:
        path: The folder to create or replace. Its parent is created.

    Yields:
        The folder to write into.

    Raises:
        OutputError: In place of an ``OSError``: the disk is full, say.
    """
    with told_as_output(path):
        path = path.resolve()  # a link stays one, and what it leads to is replaced
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_partial(path.parent)
        name = tempfile.mkdtemp(prefix=partial_prefix(), suffix=path.name, dir=path.parent)
        yield from _filled_folder(Path(name), path)


def _filled_folder(partial: Path, path: Path) -> Iterator[Path]:
    try:
        yield partial
        # mkdtemp makes folders, and some libraries make files, that only their owner reads.
        _respect_umask(partial, *partial.rglob("*"))
        if path.exists():
            old = partial.with_name(partial.name + _OLD)
            path.rename(old)
            try:
                partial.rename(path)
            except OSError:
                old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def told_as_output(path: Path) -> Iterator[None]:
    """Say that a file or folder could not be written, and why."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # this library has an error of its own
        # Of a file in a folder that will not appear, the folder is named.
        cause = error.cause if isinstance(error, OutputError) else getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path} cannot be written: {cause}. Nothing half-written is left.", cause) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _respect_umask(*paths: Path) -> None:
    """Give files and folders the modes that any program's new ones have here: the user's umask says who may read."""
    mask = _umask()
    for path in paths:
        if path.is_dir():
            # The bit that hands a folder's group on to what is made in it comes from the parent, and stays.
            path.chmod((path.stat().st_mode & stat.S_ISGID) | (0o777 & ~mask))
        else:
            path.chmod(0o666 & ~mask)


def remove_partial(folder: Path) -> None:
    """Delete what a killed :func:`atomic_write` or :func:`atomic_folder` left in ``folder``.

    What a process that is still alive writes there stays, and so does what somebody else calls by a similar name. A
    folder that was moved aside to be replaced, and never was, is put back. Whether a process of another machine is
    alive nobody can tell here: what it began goes when it is old.
    """
    for left in folder.glob(f"{PARTIAL}*"):
        ours = _OURS.match(left.name)
        if ours is None or _is_being_written(left, ours):
            continue
        target = folder / left.name[ours.end() :].removesuffix(_OLD)
        if left.name.endswith(_OLD) and not target.exists():
            left.rename(target)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_being_written(left: Path, named: re.Match[str]) -> bool:
    if named[2] in (None, _machine_word()):
        return is_alive(int(named[1]))
    try:
        return time.time() - left.stat().st_mtime < _ELSEWHERE_SECONDS
    except FileNotFoundError:
        return True


def is_partial(name: str) -> bool:
    """Whether a file or folder of that name is what :func:`atomic_write` or :func:`atomic_folder` has not finished."""
    return _OURS.match(name) is not None


def is_alive(process: int) -> bool:
    """Whether a process of this machine is there; another one may have its number by now, but seldom has.

    Args:
        process: Its number.
    """
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def require_writable(folder: Path, option: str) -> None:
    """Create a folder and check that files can be made in it, before hours of work go into it.

    Args:
        folder: Where results will go.
        option: Name of the option that gave it, for the message.

    Raises:
        ConfigError: If it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"--{option}: cannot write to {folder} ({error.strerror}). Give a folder that you may write to."
        ) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_hashed: dict[Path, tuple[tuple[int, ...], str]] = {}
"""For each file: its directory entry, and its SHA-256."""


def sha256_once(path: Path) -> str:
    """:func:`sha256_of` for large files that are asked for again and again.

    A file is hashed once, and again when its size, its times or its place on the disk are others.
    """
    found = path.stat()
    state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    known = _hashed.get(path)
    if known is not None and known[0] == state:
        return known[1]
    digest = sha256_of(path)
    _hashed[path] = state, digest  # the state from before: a file that changes meanwhile is hashed again
    return digest


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_text(text, "utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file's content, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def write_table(path: Path, table: pandas.DataFrame, index: bool = False) -> None:
    """Write a table as CSV with six digits a number, whole or not at all."""
    with atomic_write(path) as partial:
        table.to_csv(partial, index=index, float_format="%.6g")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping of plain values, in its own order, whole or not at all."""
    write_text(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120))


def read_yaml(path: Path, error: type[MusterError]) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        path: The file.
        error: What to raise.

    Returns:
        The mapping.

    Raises:
        MusterError: Of class ``error``, if the file is missing, is not YAML, names a key twice, or is not a mapping.
    """
    content = read_yaml_file(path, error)
    if not isinstance(content, dict):
        raise error(f"{path}: expected a YAML mapping, but got {type(content).__name__}.")
    return content


def as_file_name(text: str) -> str:
    """A name that somebody gave, fit to name a file or folder anywhere below this one; letters of any script stay."""
    return re.sub(r"[^\w.+-]+", "_", text).lstrip(".") or "_"


def to_builtin_types(value: Any) -> Any:
    """The same value in lists, dictionaries, strings and numbers only, as YAML and JSON want them.

    Args:
        value: Also of dataclasses, paths and NumPy scalars.

    Returns:
        A copy, as far as it has parts; a dataclass becomes a dictionary of its fields.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_builtin_types(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_builtin_types(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value
