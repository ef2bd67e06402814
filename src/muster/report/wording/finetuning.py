"""What must stand beside an mIoU so that nobody is misled: its interval, the baseline, and what each model costs."""

from __future__ import annotations

from collections.abc import Sequence

from muster.report.tables import cost_label, count_label, number
from muster.report.wording.selection import predictor_label
from muster.tasks.facts import TaskFacts
from muster.training.results import EQUAL_COST, LEARNED_HEAD, PLAIN_MEAN, Cost, Difference, FinetuneResult

FEW_IMAGES = 30
"""Below so many test images bootstrap intervals are known to come out too narrow."""

_SAME_COST = 1.05
"""Costs up to this ratio count as equal: a time for an image is not measured more closely."""


def cost_text(cost: Cost, task: TaskFacts) -> str:
    """A cost for people, e.g. ``3 models, 1.02 M parameters, 9.1 ms an image``."""
    models = f"{cost.models} model{'s' if cost.models != 1 else ''}"
    seconds = cost_label(cost.seconds_per_image, "seconds")
    return f"{models}, {count_label(cost.parameters)} parameters, {seconds} {task.a_sample}"


def interval_text(ends: Sequence[float] | None) -> str:
    """The two ends of an interval of mIoU, or nothing."""
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def error_text(result: FinetuneResult, name: str) -> str:
    """The error beside a result, such as RMSE; empty if there is none."""
    error = result.errors.get(name)
    return "" if error is None else f"{result.words.error} {number(error)}"


def subject(result: FinetuneResult) -> str:
    """What sentences are about: the ensemble, or its only member by name."""
    return "The ensemble" if len(result.members) > 1 else result.members[0]


def combined_subject(result: FinetuneResult) -> str:
    """What a sentence about what was reached begins with."""
    return f"{subject(result)} with the learned head" if result.head_kept else subject(result)


def head_sentence(result: FinetuneResult) -> str:
    """Whether a learned head was kept, and by what that was decided.

    Args:
        result: The results.

    Returns:
        Two sentences; empty where it was kept in any case.
    """
    choice = result.head_choice
    if choice is None:
        return ""
    if choice.plain_mean is None:
        return f"The learned head was not kept: there were no held-out training {result.words.holds} to compare it on."
    told, mean = result.words.result, number(choice.plain_mean)
    ways = f"left out in {choice.folds} parts, one after the other" if choice.folds > 1 else "left out"
    which = f"{choice.images:,} training {result.words.holds} {ways}; the members had learned from them"
    if choice.penalty is None:
        best = number(max(choice.held_out.values()))
        heads = "none of the heads that were tried did" if len(choice.held_out) > 1 else "it did no"
        said = f"The learned head was not kept: on held-out {result.words.holds} {heads} better than the plain mean"
        return f"{said} ({told} {best}, the plain mean {mean}). Compared on {which}."
    held = f"on held-out {result.words.holds}"
    said = f"The learned head was kept, with a penalty of {choice.penalty:g}: {held} it reached {told}"
    return f"{said} {number(choice.held_out[choice.penalty])}, the plain mean {mean}. Compared on {which}."


def difference_sentence(result: FinetuneResult) -> str:
    """By how much the ensemble beats the single best member or falls short of it, and whether that is more than chance.

    Args:
        result: The results.

    Returns:
        A sentence, whatever the sign; empty if the baseline was not fine-tuned, or is all there is.
    """
    best, is_itself = result.results.get(result.single_best), result.members == (result.single_best,)
    if best is None or (is_itself and not result.head_kept):
        return ""
    against = points_text(result.results[LEARNED_HEAD] - best)
    of = f" of {predictor_label(result.predictor)}" if result.predictor else ""
    told = f"{against} {result.single_best}, the single best member by LEEP{of} (B1), fine-tuned likewise"
    if is_itself:
        told = f"{against} without it"
    return (
        told
        + chance_text(result.differences_to_single_best.get(LEARNED_HEAD), result.interval_level, result.words.holds)
        + "."
    )


def points_text(difference: float) -> str:
    """A difference of two mIoUs in words, e.g. ``1.2 points more than``."""
    points = 100 * difference
    if abs(points) < 0.05:
        return "as much as"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than"


def chance_text(difference: Difference | None, level: float, holds: str = "images") -> str:
    """The interval of a difference in points, and what it allows to be said; empty if there is none.

    Args:
        difference: With its interval.
        level: Of the interval.
        holds: What the test split holds: images, or texts.
    """
    if difference is None or difference.low is None or difference.high is None:
        return ""
    low, high = (f"{100 * end:+.1f}".replace("-", "\N{MINUS SIGN}") for end in (difference.low, difference.high))
    told = f" ({100 * level:.0f} % interval of the difference: {low} to {high} points)"
    if difference.low <= 0 <= difference.high:
        return f"{told}; the test {holds} cannot tell that from no difference"
    return told


def cost_sentence(result: FinetuneResult) -> str:
    """What the ensemble costs, as a multiple of the single best member.

    Args:
        result: The results.

    Returns:
        A sentence; empty if the costs are not known, or the ensemble is that member.
    """
    ensemble, best = result.costs.get(LEARNED_HEAD), result.costs.get(result.single_best)
    if ensemble is None or best is None or result.members == (result.single_best,):
        return ""
    ours, other = (cost_text(cost, result.words) for cost in (ensemble, best))
    told = f"{subject(result)} costs {ours}; {result.single_best} costs {other}"
    parameters = ensemble.parameters / max(best.parameters, 1)
    seconds = ensemble.seconds_per_image / best.seconds_per_image
    if max(parameters, seconds) <= _SAME_COST:
        return told + "."
    return told + f": {_times(parameters)} the parameters and {_times(seconds)} the time."


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times"


def measured_text(result: FinetuneResult) -> str:
    """How the time for an image was measured; empty if it was not."""
    return f"Time for {result.words.a_sample}: {result.cost_measured}." if result.cost_measured else ""


def interval_sentence(result: FinetuneResult) -> str:
    """How the intervals came about, and what they leave out.

    Args:
        result: The results.

    Returns:
        One or two sentences.
    """
    images = result.words.samples(result.test_images, "test")
    if not result.result_intervals:
        return f"No interval can be given for {images}."
    told = (
        f"Intervals: {100 * result.interval_level:.0f} %, from {result.resamples:,} bootstrap samples of the {images}, "
        f"the same for every model. They say nothing about another seed or other training {result.words.holds}."
    )
    few = f" So few {result.words.holds} make intervals come out too narrow."
    return told + (few if result.test_images < FEW_IMAGES else "")


def resumed_text(result: FinetuneResult) -> str:
    """Where the fit went on after an interruption; empty if it ran in one go."""
    steps = [f"{step:,}" for step in result.resumed_at_steps]
    if not steps:
        return ""
    named = f"step {steps[0]}" if len(steps) == 1 else f"steps {', '.join(steps[:-1])} and {steps[-1]}"
    return f"Resumed from {named} of {result.steps:,}."


def result_label(result: FinetuneResult, name: str) -> str:
    """A result's name for a table in which it stands alone."""
    if name == LEARNED_HEAD and not result.head_kept:
        return (
            "ensemble, plain mean (no head was kept)" if len(result.members) > 1 else "with no head, as none was kept"
        )
    if name in (LEARNED_HEAD, PLAIN_MEAN):
        return f"ensemble, {name}" if len(result.members) > 1 else f"with the {name}"
    if name == EQUAL_COST:
        return f"single model of equal cost{f', {result.equal_cost.member}' if result.equal_cost else ''}"
    member = "member " if name in result.members else ""
    return f"{member}{name}{' (B1, the best single by LEEP)' if name == result.single_best else ''}"
