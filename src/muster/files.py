"""Files and folders that appear whole or not at all, and records that are read strictly."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import numpy as np
import yaml
from safetensors import SafetensorError

from muster.errors import ConfigError, MusterError, OutputError
from muster.expected import find_misfit
from muster.user_files import open_regular, read_yaml_file

if TYPE_CHECKING:
    import pandas
    from jsonargparse import ArgumentParser
    from pydantic import TypeAdapter

PARTIAL = ".partial-"
"""Prefix of what is still being written; the number of the writing process follows, so that a crash can be told."""

_OLD = ".old"
_RANDOM_CHARACTERS = 8  # of the tempfile module
_OURS = re.compile(rf"{re.escape(PARTIAL)}(\d+)-[a-z0-9_]{{{_RANDOM_CHARACTERS}}}")
_MOST_OF_A_NAME = 40
"""Characters at the end of a file's name that its partial's name keeps, so that it is not too long for a name."""

Record = TypeVar("Record")

_SCHEMAS: dict[type, TypeAdapter[Any]] = {}
_PARSERS: dict[type, ArgumentParser] = {}
_PARSING = Lock()
"""Records are read in threads, and a parser is for one at a time."""


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
        handle, name = tempfile.mkstemp(prefix=f"{PARTIAL}{os.getpid()}-", suffix=ending, dir=path.parent)
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
        name = tempfile.mkdtemp(prefix=f"{PARTIAL}{os.getpid()}-", suffix=path.name, dir=path.parent)
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
    folder that was moved aside to be replaced, and never was, is put back.
    """
    for left in folder.glob(f"{PARTIAL}*"):
        ours = _OURS.match(left.name)
        if ours is None or _is_alive(int(ours[1])):
            continue
        target = folder / left.name[ours.end() :].removesuffix(_OLD)
        if left.name.endswith(_OLD) and not target.exists():
            left.rename(target)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def is_partial(name: str) -> bool:
    """Whether a file or folder of that name is what :func:`atomic_write` or :func:`atomic_folder` has not finished."""
    return _OURS.match(name) is not None


def _is_alive(process: int) -> bool:
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


def write_record(path: Path, record: Any, format_version: int) -> None:
    """Write a dataclass of plain values as YAML, with the version of its format first."""
    write_yaml(path, {"format_version": format_version, **to_builtin_types(record)})


def read_record(path: Path, record: type[Record], format_version: int, error: type[MusterError]) -> Record:
    """Read a dataclass back; unknown keys, missing keys and wrong types are errors.

    Args:
        path: The YAML file.
        record: The dataclass.
        format_version: The version that this code writes and reads.
        error: What to raise.

    Returns:
        An instance of ``record``.

    Raises:
        MusterError: Of class ``error``, naming the file and the key.
    """
    content = read_yaml(path, error)
    found = content.pop("format_version", None)
    if found != format_version:
        raise error(
            f"{path}: expected format_version {format_version}, but got {found!r}. "
            "It was written by another version of muster; make it anew with this one."
        )
    return parse_record(content, record, str(path), error)


def with_later_names(content: Mapping[str, Any], record: type) -> dict[str, Any]:
    """What an older version wrote, with the keys that a record has today.

    Args:
        content: Keys and values.
        record: A dataclass; those whose keys were renamed have a mapping ``EARLIER_NAMES``, from old to new.

    Returns:
        The same with new keys, in mappings and lists of mappings inside it too.
    """
    names: Mapping[str, str] = getattr(record, "EARLIER_NAMES", {})

    def renamed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {names.get(key, key) if isinstance(key, str) else key: renamed(each) for key, each in value.items()}
        return [renamed(each) for each in value] if isinstance(value, list) else value

    return dict(renamed(content)) if names else dict(content)


def parse_record(content: Mapping[str, Any], record: type[Record], where: str, error: type[MusterError]) -> Record:
    """Turn a mapping of plain values into a dataclass, strictly.

    Args:
        content: Keys and values.
        record: The dataclass.
        where: What to call the mapping in messages, usually its file.
        error: What to raise.

    Returns:
        An instance of ``record``.

    Raises:
        MusterError: Of class ``error``, if a key is unknown, missing, or has a value of a wrong type.
    """
    content = with_later_names(content, record)
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    names = {field.name for field in fields}
    required = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - set(content)):
        raise error(f"{where}: missing key(s) {', '.join(missing)}.")
    if unknown := sorted(set(map(str, content)) - names):
        raise error(f"{where}: unknown key(s) {', '.join(unknown)}. Known: {', '.join(sorted(names))}.")
    if (quick := _of_exact_types(content, record)) is not None:
        return quick
    from jsonargparse import ArgumentError  # slow to import, and seldom needed

    try:
        with _PARSING:
            parser = _parser_of(record)
            parsed = parser.parse_object({"record": deepcopy(dict(content))})  # it changes lists in place
    except ArgumentError as problem:
        kinds = get_type_hints(record)
        found = (find_misfit(str(key), value, kinds[key]) for key, value in content.items())
        misfit = next((each for each in found if each is not None), None)
        if misfit is not None:
            raise error(f'{where}: key "{misfit.key}": {misfit.wish}.') from problem
        raise error(f"{where}: {problem}") from problem
    with _PARSING:
        made: Record = parser.instantiate(parsed).record
    return made


def _of_exact_types(content: Mapping[str, Any], record: type[Record]) -> Record | None:
    """Fast, for what has exactly the types that it should, as what muster wrote has: pools have thousands of cards.

    Returns:
        ``None`` for all else. It may be sound too (YAML takes 1e-3 for a text); the other way of reading tells.
    """
    from pydantic import ValidationError

    try:
        text = json.dumps(content)
        if json.loads(text) != content:  # keys that are numbers, say
            return None
        made: Record = _schema_of(record).validate_json(f'{{"record": {text}}}').record
    except (TypeError, ValidationError):
        return None
    return made


def _schema_of(record: type) -> TypeAdapter[Any]:
    """A dataclass takes over the strictness of what it is a part of."""
    from pydantic import ConfigDict, TypeAdapter, create_model

    if record not in _SCHEMAS:
        strict = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, protected_namespaces=())
        _SCHEMAS[record] = TypeAdapter(create_model("Holder", __config__=strict, record=(record, ...)))
    return _SCHEMAS[record]


def _parser_of(record: type) -> ArgumentParser:
    """A parser for a dataclass: to make one takes as long as to use it."""
    from jsonargparse import ArgumentParser

    if record not in _PARSERS:
        _PARSERS[record] = parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(record, "record")
    return _PARSERS[record]


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
