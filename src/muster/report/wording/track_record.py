"""How far a choice can be trusted by what became of such choices in studies, in words."""

from __future__ import annotations

from collections.abc import Sequence

from muster.report.tables import metric_label, number
from muster.report.wording.selection import predictor_label
from muster.selection.record import SelectionRecord
from muster.selection.track_record import PastChoice, record_of

TOP_SHARE = 0.05
"""Choices with no larger share of better candidates were among the best."""


def track_record_sentence(selection: SelectionRecord) -> str:
    """What a user may expect of a choice, learned from studies that fine-tuned all candidates.

    Args:
        selection: Says by which metric, with which predictor, of which size.

    Returns:
        Sentences; they say so if no study has followed such choices.
    """
    by = f"{metric_label(selection.metric)} ({predictor_label(selection.predictor)})"
    past = record_of(selection)
    if not past:
        return (
            f"How far to trust it: no study has followed choices of {selection.size} by {by} yet. muster study does so "
            "with your own pool and targets."
        )
    return f"How far to trust it: {_fared(past, by)} muster study tells for your own pool and targets."


def _fared(past: Sequence[PastChoice], by: str) -> str:
    top = sum(each.better <= TOP_SHARE for each in past)
    above = sum(each.result > each.mean_result for each in past)
    regrets = [each.regret for each in past]
    targets = f"{len(past)} target{'s' if len(past) > 1 else ''}"
    return (
        f"on {targets} whose candidates were all fine-tuned, what {by} chose was among the best "
        f"{100 * TOP_SHARE:.0f} % on {top} and above the average on {above}; it reached "
        f"{number(100 * sum(regrets) / len(regrets), 1)} % less than the best candidate on average, at most "
        f"{number(100 * max(regrets), 1)} %."
    )
