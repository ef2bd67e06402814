"""Why not to trust a selection, in words: one text for each finding of :mod:`muster.report.diagnostics`."""

from __future__ import annotations

from dataclasses import dataclass

from muster.report.diagnostics import (
    Finding,
    MetricsDisagree,
    ScoresAlike,
    ScoringInterrupted,
    SearchInterrupted,
    SingleClass,
)
from muster.selection.guessing import LEAST_EXPLAINED
from muster.selection.record_parts import Guessing


@dataclass(frozen=True)
class ReportWarning:
    """A reason not to trust a selection.

    Attributes:
        title: In a few words.
        text: What was seen and what to do.
    """

    title: str
    text: str


SEARCH_INTERRUPTED = ReportWarning(
    "The search was interrupted",
    "It gives the best that it had found by then. Run select.py again for the whole search; the members' predictions "
    "are in the cache.",
)


def warning_of(finding: Finding) -> ReportWarning:
    """The text of a finding.

    Args:
        finding: What the diagnostics saw, in numbers.

    Returns:
        The warning.
    """
    match finding:
        case ScoringInterrupted(fraction):
            return ReportWarning(
                "Scoring was interrupted",
                f"The scores rest on a random {100 * fraction:.0f} % of the probe set. Run select.py again for all; "
                "the members' predictions are in the cache.",
            )
        case SearchInterrupted():
            return SEARCH_INTERRUPTED
        case SingleClass():
            return ReportWarning(
                "Only one class was seen",
                "The target's training split holds a single class, so every member looks perfect. Label more classes.",
            )
        case ScoresAlike(candidates, best, median):
            return ReportWarning(
                "The scores are nearly all alike",
                f"The best of {candidates:,} candidates scores {best:.4g}, the median one {median:.4g}. Such a small "
                "margin says little about what fine-tuning will reach: any of the better candidates may do as well.",
            )
        case MetricsDisagree(correlation):
            return ReportWarning(
                "The metrics disagree",
                f"The rank correlation of the chosen metric with the others is {correlation:.2f} on average. Look at "
                "what each of them chose below, and fine-tune more than one ensemble if you can.",
            )


def no_better_than_guessing(guessing: Guessing | None, target: str, holds: str = "images") -> str:
    """Why a selection is no recommendation: no member does better than guessing.

    Args:
        guessing: How the members compare with it.
        target: Name of the target.
        holds: What it holds: images, or texts.

    Returns:
        In words; empty if some member is better, or if nothing is known of it.
    """
    if guessing is None or guessing.better:
        return ""
    explained = f"{100 * max(guessing.explained, 0):.0f} %"
    return (
        f"No member of this pool does better on {target} than guessing by class frequency, so nothing here says which "
        f"ensemble to fine-tune. The best of them, {guessing.best}, has a LEEP of {guessing.best_leep:.3f} on {holds} "
        f"that its predictor was not made from ({100 * guessing.level:g} % interval over the {holds} "
        f"{guessing.low:.3f} to {guessing.high:.3f}), guessing {guessing.leep:.3f}: that explains {explained} of the "
        f"entropy of the labels. Its mean IoU there is {guessing.best_iou:.3f}, that of always naming the most "
        f"frequent class {guessing.iou:.3f}. Better means at least {100 * LEAST_EXPLAINED:.0f} % explained, an "
        f"interval above guessing, and a larger mean IoU. More labelled {holds}, a larger image_size, or sources that "
        "are closer to the target could help."
    )
