"""What leading candidates score with the head that fine-tuning would learn, in words."""

from __future__ import annotations

from muster.report.tables import metric_label, number
from muster.selection.record import SelectionRecord


def foreseen_heads_sentence(selection: SelectionRecord) -> str:
    """What the choice scores with a head, and which candidate leads then.

    Args:
        selection: The choice and what is known of it.

    Returns:
        Two sentences; empty if heads were not foreseen.
    """
    told = selection.foreseen_heads
    if told is None:
        return ""
    best, kept = told.leader, told.penalties[0] is not None
    reached = f"{number(told.with_head[0])} in place of {number(told.plain[0])}" if kept else number(told.plain[0])
    how = "" if kept else ", as no head that was tried does better than the plain mean"
    who = " + ".join(told.candidates[best])
    leads = "it leads then too" if best == 0 else f"{who} leads then, with {number(told.with_head[best])}"
    return (
        f"With the head that fine-tuning would learn, fitted on other {selection.words.holds} of the probe set, the "
        f"chosen ensemble scores {reached} by {metric_label(selection.metric)} ({told.units:,} "
        f"{selection.words.unit}s of {told.images:,} {selection.words.holds}){how}. Of the {len(told.candidates)} "
        f"leading candidates {leads}; the choice stays as it is."
    )
