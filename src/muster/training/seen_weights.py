"""What weights have seen that a training starts from, told by what lies beside them."""

from __future__ import annotations

from pathlib import Path

from muster.data import ContentSketch
from muster.pool import CARD, Member
from muster.training.pretraining_record import RECORD, read_pretraining


def seen_by_weights(path: Path | None) -> tuple[ContentSketch, ...]:
    """The images that weights were trained on, with labels or without.

    Args:
        path: The file; ``None`` for weights without one.

    Returns:
        What the card of a member or the record of a pre-training beside the file says; nothing if neither is there.

    Raises:
        MusterError: If it cannot be read, or is the record of other weights.
    """
    if path is None:
        return ()
    if (path.parent / CARD).is_file():
        return Member.open(path.parent).card.seen
    if (path.parent / RECORD).is_file():
        return read_pretraining(path).contents
    return ()
