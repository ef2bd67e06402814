"""Checks of the values of a YAML file that describes a dataset, with errors that name the file and the key."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from reprlib import Repr
from typing import TypeGuard

from muster.errors import DatasetError

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_TURNS_TEXT = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Marks that show what follows in another order than it is written."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120

EXAMPLE = "{name: mydata, domain: garden photos, classes: [background, flower]}"
"""The shortest description of a dataset, for messages."""


def show(value: object) -> str:
    """A value as messages tell it, with its type."""
    return "nothing" if value is None else f"{_SHORT.repr(value)} ({type(value).__name__})"


def wrong(path: Path, key: str, expected: str, value: object) -> DatasetError:
    """The error for a value that is not what was expected."""
    return DatasetError(f"{path}: key {key!r}: expected {expected}, but got {show(value)}.")


def require_text(path: Path, key: str, value: object) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise wrong(path, key, "text (in quotes, if it looks like a number or a yes or no)", value)
    return value


def printable(path: Path, key: str, text: str) -> str:
    """Refuse what a terminal would obey instead of showing, or no file name can hold."""
    hidden = [letter for letter in text if unicodedata.category(letter) in _UNPRINTABLE or letter in _TURNS_TEXT]
    if hidden:
        code = f"U+{ord(hidden[0]):04X}"
        raise wrong(path, key, f"text on one line without control characters (here: {code})", text)
    return text


def require_names(path: Path, key: str, value: object) -> tuple[str, ...]:
    """A value that must be a list of names on one line each."""
    if not isinstance(value, list):
        raise wrong(path, key, "a list of class names", value)
    keys = [f"{key}[{index}]" for index in range(len(value))]
    return tuple(printable(path, key, require_text(path, key, name)) for key, name in zip(keys, value, strict=True))


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, and not a yes or no."""
    return isinstance(value, int) and not isinstance(value, bool)
