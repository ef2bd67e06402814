"""Records: dataclasses of plain values as YAML files, which are read strictly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from muster.errors import MusterError
from muster.expected import find_misfit
from muster.files import read_yaml, to_builtin_types, write_yaml

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser
    from pydantic import TypeAdapter

Record = TypeVar("Record")

_SCHEMAS: dict[type, TypeAdapter[Any]] = {}
_PARSERS: dict[type, ArgumentParser] = {}
_PARSING = Lock()
"""Records are read in threads, and a parser is for one at a time."""


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
