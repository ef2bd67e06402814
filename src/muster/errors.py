"""The errors that a user of muster is meant to read.

Each says which argument, key or file is at fault, what was expected, what came, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class MusterError(Exception):
    """Base of every error that muster raises on purpose about the user's input or files."""


class DatasetError(MusterError):
    """A dataset, or one of its files, cannot be read as described."""


class PoolError(MusterError):
    """A pool folder, a member or its card is missing, damaged or does not fit."""


class UnfitMemberError(PoolError):
    """A member is sound, but cannot take images of the size at hand."""


class PretrainingError(MusterError):
    """Weights to start from cannot be had or do not fit the architecture."""


class SelectionError(MusterError):
    """A selection cannot be made or read."""


class ConfigError(MusterError):
    """Options that are each valid but do not go together."""


class OutputError(MusterError, OSError):
    """A result cannot be written: the disk is full, the folder is gone or closed.

    Attributes:
        cause: The operating system's word for it.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        """Keep the cause apart, for whoever names another file."""
        super().__init__(message)
        self.cause = cause


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One sentence for a name that is not known, with the nearest known name.

    Args:
        kind: What the name stands for, e.g. ``"dataset"``.
        name: What came.
        known: All valid names.

    Returns:
        The message, for the caller to raise in an error class of its own.
    """
    names = sorted(known)
    plain = {_plain(each): each for each in names}  # so that SoftIoU-EEP is near soft_iou_eep
    close = get_close_matches(_plain(name), plain, n=1)
    hint = f" Did you mean {plain[close[0]]!r}?" if close else ""
    return f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}."


def some_names(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, and how many there are besides.

    Args:
        names: At least one.
        most: How many are told.

    Returns:
        Them, with commas.

    Example:
        >>> some_names(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
