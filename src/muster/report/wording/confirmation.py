"""What brief fine-tuning made of the metric's choice, in words."""

from __future__ import annotations

from muster.report.tables import metric_label, number
from muster.training.results import Confirmation, ConfirmationRound, FinetuneResult


def confirmation_sentence(result: FinetuneResult) -> str:
    """Whether brief fine-tuning confirmed the metric's choice, and what it cost.

    Args:
        result: The results.

    Returns:
        A few sentences; empty if nothing was to be confirmed.
    """
    told = result.confirmation
    if told is None:
        return ""
    count = len(told.rounds[0].candidates)
    metric = metric_label(result.metric) if result.metric else "the metric"
    who, was = f"The {count} leading candidates", "were"
    if count == 1:
        who, was = "The only candidate", "was"
    return (
        f"{who} by {metric} ({_counted(len(told.members), 'member')}) {was} fine-tuned briefly on "
        f"{told.train_images:,} training {result.words.holds} and compared on the other {told.held_out_images:,}, "
        f"which took {_duration(told.seconds)}. {_outcome(told, result.words.result)}"
    )


def _outcome(told: Confirmation, reached: str) -> str:
    if told.chosen == told.by_metric:
        return f"This confirmed the metric's choice, {_names(told.by_metric)}."
    last = next(each for each in reversed(told.rounds) if told.by_metric in each.candidates)
    return (
        f"This replaced the metric's choice, {_names(told.by_metric)}, by {_names(told.chosen)}: held-out {reached} "
        f"{_reached(last, told.chosen)} against {_reached(last, told.by_metric)} after {_counted(last.steps, 'step')}."
    )


def _names(candidate: tuple[str, ...]) -> str:
    return " + ".join(candidate)


def _reached(of: ConfirmationRound, candidate: tuple[str, ...]) -> str:
    result = of.results[of.candidates.index(candidate)]
    return "nothing (it diverged)" if result is None else number(result)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
