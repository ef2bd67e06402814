"""Images that belong together, such as those of one film: what we divide by ourselves never cuts a sequence.

Splits that a dataset was published with stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

_MOST = 1.5
"""Sequences that make a part larger than so many times what was wanted are passed over."""


def sequence_of(identifier: str, sequences: str) -> str:
    """The sequence that an image belongs to.

    Args:
        identifier: Name of the image within its split.
        sequences: A regular expression for its beginning: what fits its first brackets names the sequence. An image
            that it does not fit is by itself.

    Example:
        >>> sequence_of("scene0012_01/000300", r"(scene[0-9]+)_"), sequence_of("a", "")
        ('scene0012', 'a')
    """
    found = re.match(sequences, identifier) if sequences else None
    return found[1] if found else identifier


def take_sequences(
    identifiers: Collection[str], sequences: str, wanted: int, in_order: Callable[[list[str]], Iterable[str]]
) -> set[str]:
    """Some of the images, of whole sequences.

    Args:
        identifiers: All images.
        sequences: See :func:`sequence_of`.
        wanted: How many images.
        in_order: Says in which order sequences are looked at.

    Returns:
        As many as wanted, or up to half as many more; or the smallest sequence, if all are larger. Never all images;
        none, if there is but one sequence.
    """
    grouped: dict[str, list[str]] = {}
    for name in identifiers:
        grouped.setdefault(sequence_of(name, sequences), []).append(name)
    held: set[str] = set()
    if len(grouped) < 2:
        return held
    for name in in_order(list(grouped)):
        size = len(held) + len(grouped[name])
        if len(held) < wanted and size <= _MOST * wanted and size < len(identifiers):
            held.update(grouped[name])
    smallest: list[str] = min(grouped.values(), key=len)
    return held or set(smallest)
