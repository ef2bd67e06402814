"""Which candidates a selection lists, in words: all there are, those within a limit, or what a search found."""

from __future__ import annotations

import math

from muster.scoring.ranking import lists_all
from muster.selection.record import Selection

__all__ = ["listed_label", "lists_all"]


def listed_label(selection: Selection) -> str:
    """What the listed candidates are, to stand in a sentence.

    Args:
        selection: The selection.

    Returns:
        For example ``all 364 candidates``, ``the 14 candidates within the limits``,
        ``the 10 leading candidates that beam search found`` or ``the only candidate of its size``.
    """
    count = len(selection.ranking)
    if not lists_all(selection):
        which, told = "leading candidates", f" that {selection.search} search found"
    elif count < math.comb(len(selection.member_names), selection.size):
        which, told = "candidates", " within the limits"
    elif count > 1:
        return f"all {count:,} candidates"
    else:
        told = " of its size"
    return f"the only candidate{told}" if count == 1 else f"the {count:,} {which}{told}"
