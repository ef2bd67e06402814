"""What a type asks for, in words for people who write YAML and command lines."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}
_LONGEST = 80
"""Characters of a value that a message shows."""


class Misfit(NamedTuple):
    """A value of the wrong type.

    Attributes:
        key: Where, with dots between the levels.
        hint: The type that it should have.
        value: What came.
    """

    key: str
    hint: Any
    value: Any

    @property
    def sentence(self) -> str:
        """Key, what was expected, and what came."""
        return f"{self.key}: {self.wish}."

    @property
    def wish(self) -> str:
        """What was expected, and what came."""
        came = "nothing" if self.value is None else repr(self.value)
        short = came if len(came) <= _LONGEST else came[:_LONGEST] + "..."
        return f"expected {in_words(self.hint)}, but got {short}"


def in_words(hint: Any) -> str:
    """What to write for a type.

    Args:
        hint: A type, as annotations have it.

    Returns:
        A phrase, such as "a whole number, auto or null".
    """
    if is_union(hint):
        kinds = [in_words(kind) for kind in get_args(hint)]
        return " or ".join([", ".join(kinds[:-1]), kinds[-1]])
    if get_origin(hint) is Literal:
        names = [str(value) for value in get_args(hint)]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if is_list(hint):
        kinds = [in_words(kind) for kind in get_args(hint) if kind is not Ellipsis]
        if len(kinds) > 1:
            return f"a list of {len(kinds)}, [{', '.join(kinds)}]"
        return "a list of names, such as [a, b]" if get_args(hint)[0] is str else f"a list, each {kinds[0]}"
    if get_origin(hint) in {dict, Mapping}:
        return "a mapping, such as {a: 1}"
    if keys := _keys(hint):
        return f"a mapping with the keys {', '.join(keys)}"
    return _WORDS.get(hint) or str(getattr(hint, "__name__", hint))


def _keys(hint: Any) -> dict[str, Any]:
    """The keys of what is written as a mapping, with their types: a dataclass, or a class that says which it has."""
    if hasattr(hint, "kinds"):  # first: a dataclass may be written with other keys than its fields
        kinds: dict[str, Any] = hint.kinds()
        return kinds
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return {field.name: hints[field.name] for field in dataclasses.fields(hint)}
    return {}


def is_union(hint: Any) -> bool:
    """Whether a type is one of several."""
    return get_origin(hint) in {Union, types.UnionType}


def is_list(hint: Any) -> bool:
    """Whether a type is written as a list."""
    return get_origin(hint) in {tuple, list, Sequence}


def is_list_of_names(hint: Any) -> bool:
    """Whether a type is a list of any number of texts."""
    return is_list(hint) and {kind for kind in get_args(hint) if kind is not Ellipsis} == {str} and not _is_fixed(hint)


def _is_fixed(hint: Any) -> bool:
    return get_origin(hint) is tuple and Ellipsis not in get_args(hint)


def find_misfit(key: str, value: Any, hint: Any) -> Misfit | None:
    """Look for the innermost part of a value that has another type than it should.

    Args:
        key: What to call the value.
        value: In plain values, as YAML gives them.
        hint: The type.

    Returns:
        The first that is found, or ``None``.
    """
    if is_union(hint):
        found = [find_misfit(key, value, kind) for kind in get_args(hint)]
        deeper = [misfit for misfit in found if misfit is not None and misfit.key != key]
        return None if None in found else deeper[0] if deeper else Misfit(key, hint, value)
    if is_list(hint):
        return _misfit_in_list(key, value, hint)
    if get_origin(hint) in {dict, Mapping}:
        return _misfit_in_mapping(key, value, hint)
    if (kinds := _keys(hint)) and isinstance(value, Mapping):
        if not set(value) <= set(kinds):
            return Misfit(key, hint, value)
        parts = (find_misfit(f"{key}.{name}", each, kinds[name]) for name, each in value.items())
        return next((misfit for misfit in parts if misfit), None)
    return None if _is_one(value, hint) else Misfit(key, hint, value)


def _misfit_in_list(key: str, value: Any, hint: Any) -> Misfit | None:
    if not isinstance(value, list | tuple):
        return Misfit(key, hint, value)
    kinds = get_args(hint) if _is_fixed(hint) else get_args(hint)[:1] * len(value)
    if len(kinds) != len(value):
        return Misfit(key, hint, value)
    pairs = enumerate(zip(value, kinds, strict=True))
    return next((bad for place, (each, kind) in pairs if (bad := find_misfit(f"{key}[{place}]", each, kind))), None)


def _misfit_in_mapping(key: str, value: Any, hint: Any) -> Misfit | None:
    if not isinstance(value, Mapping):
        return Misfit(key, hint, value)
    kind, inner = get_args(hint)
    for name, each in value.items():
        if not _is_one(name, kind):
            return Misfit(f"{key}, the key {name!r}", kind, name)
        if found := find_misfit(f"{key}.{name}", each, inner):
            return found
    return None


def _is_one(value: Any, hint: Any) -> bool:
    """Whether a value is of a type that has no parts."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return not isinstance(value, bool) and (isinstance(value, int | float) or _is_number(value))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str | Path)
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    return not _keys(hint)  # of other types only the library that reads them can tell


def _is_number(value: Any) -> bool:
    """YAML takes 1e-3 for a text."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)
