"""What is said of a prefilter."""

from __future__ import annotations

from muster.selection.record import SelectionRecord


def prefilter_sentence(selection: SelectionRecord) -> str:
    """How many members looked at how many images, and what that spared.

    Args:
        selection: Any.

    Returns:
        A sentence or two; empty where no member was passed over.
    """
    found = selection.prefilter
    if found is None or not found.rounds:
        return ""
    steps = ", ".join(f"{step.members} at {step.images}" for step in found.rounds)
    return (
        f"Prefilter: {found.keep} of {found.members} members looked at all {found.images} probe "
        f"{selection.words.holds} ({steps}), which is {100 * found.share:.0f} % of the looks that all of them would "
        "have taken. A member that was passed over can be one that the best ensemble needs."
    )
