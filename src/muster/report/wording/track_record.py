"""How far a choice can be trusted by what became of such choices in studies, in words."""

from __future__ import annotations

from collections.abc import Sequence

from muster.report.tables import metric_label, number
from muster.report.wording.selection import predictor_label
from muster.selection.record import Selection
from muster.selection.track_record import TOP_SHARE, ByMargin, PastChoice, margin_of, record_of

FEW = 20
"""With fewer past choices, how they fared by their margin is told with a warning."""

_BEST = f"the best {100 * TOP_SHARE:.0f} %"


def track_record_sentence(selection: Selection) -> str:
    """What a user may expect of a choice, learned from studies that fine-tuned all candidates.

    Args:
        selection: Says by which metric, with which predictor, of which size, and how far the choice is ahead.

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
    told = [f"How far to trust it: {_fared(past, by)}"]
    if selection.search is not None and selection.search.lists_all:
        told.append(_by_margin(past, margin_of(selection.ranking.scores[selection.metric])))
    return " ".join([*filter(None, told), "muster study tells for your own pool and targets."])


def _fared(past: Sequence[PastChoice], by: str) -> str:
    top = sum(each.among_best for each in past)
    above = sum(each.result > each.mean_result for each in past)
    regrets = [each.regret for each in past]
    targets = f"{len(past)} target{'s' if len(past) > 1 else ''}"
    if (different := len({each.target for each in past})) < len(past):
        targets += f" ({different} different ones, some with two pools)"
    return (
        f"on {targets} whose candidates were all fine-tuned, what {by} chose was among {_BEST} on {top} and above the "
        f"average on {above}; it reached {number(100 * sum(regrets) / len(regrets), 1)} % less than the best candidate "
        f"on average, at most {number(100 * max(regrets), 1)} %."
    )


def _by_margin(past: Sequence[PastChoice], margin: float | None) -> str:
    """What became of choices that were as far ahead as this one, if there are enough to tell."""
    if margin is None:
        return ""
    here = f"Of what its score is above the middle candidate's, {100 * margin:.0f} % are above {_BEST}"
    groups = ByMargin.of(past)
    if groups is None:
        known = sum(each.margin is not None for each in past)
        return f"{here}; that is known of {known} past choice{'s' if known != 1 else ''}, too few to compare with."
    is_ahead = margin >= groups.least
    alike, others = (groups.ahead, groups.close) if is_ahead else (groups.close, groups.ahead)
    than = f"{100 * groups.least:.0f} %"
    side, other = (f"at least {than}", "less") if is_ahead else (f"less than {than}", "more")
    told = f"{here}; with {side} such choices were among {_BEST} on {_top(alike)}, with {other} on {_top(others)}."
    few = " So few cannot tell whether that matters." if len(alike) + len(others) < FEW else ""
    return told + few


def _top(past: Sequence[PastChoice]) -> str:
    return f"{sum(each.among_best for each in past)} of {len(past)} targets"
