"""How the ensemble compares with a single model that costs as much, in words."""

from __future__ import annotations

from muster.data import ImageSize
from muster.report.tables import cost_label, metric_label, number
from muster.report.wording.finetuning import chance_text, points_text
from muster.tasks.facts import TaskFacts
from muster.training.results import EQUAL_COST, LEARNED_HEAD, EqualCost, FinetuneResult, SpentOn


def single_wins(result: FinetuneResult) -> bool:
    """Whether the single model of equal cost reaches more than the ensemble."""
    return result.equal_cost is not None and result.results[EQUAL_COST] > result.results[LEARNED_HEAD]


def equal_cost_sentence(result: FinetuneResult) -> str:
    """What the ensemble reaches beyond a single model of equal cost, whatever the sign.

    Args:
        result: The results.

    Returns:
        Two sentences: the difference with its interval, and what that model is; empty if there is none.
    """
    single = result.equal_cost
    if single is None:
        return ""
    beyond = single.ensemble_beyond
    against, chance = points_text(beyond.result), chance_text(beyond, result.interval_level, result.words.holds)
    seconds = {name: cost_label(result.costs[name].seconds_per_image, "seconds") for name in (EQUAL_COST, LEARNED_HEAD)}
    return (
        f"The ensemble reaches {against} a single model of equal cost, which reaches "
        f"{number(result.results[EQUAL_COST])}{chance}. That model is "
        f"{single.member}, the best member by {metric_label(single.chosen_by)} alone, fine-tuned for {single.steps:,} "
        f"steps, with {spent_on_text(single.spent_on)}: {seconds[EQUAL_COST]} {result.words.a_sample} against the "
        f"ensemble's {seconds[LEARNED_HEAD]}."
    )


def spent_on_text(option: SpentOn) -> str:
    """What a model's time for an image goes to, e.g. ``3 scales, mirrored too, of images of 96 pixels``."""
    size = ImageSize.of(option.image_size)
    if size.characters is not None:
        return f"texts of {size}"
    images = f"images of {size}"
    if option.scales == (1.0,):
        return f"{images}, mirrored too" if option.flip else f"one view of {images}"
    scales = ", ".join(f"{scale:g}" for scale in option.scales)
    return f"{images}, at scales {scales}{', mirrored too' if option.flip else ''}"


def trials_sentence(single: EqualCost, task: TaskFacts) -> str:
    """How it was decided what the time is spent on.

    Args:
        single: The model of equal cost.
        task: What results and samples are called.

    Returns:
        Two sentences.
    """
    minutes, seconds = divmod(round(single.seconds), 60)
    return (
        f"What the single model spends its time on was decided by trials of {single.trial_steps:,} steps on "
        f"{single.train_images:,} training {task.holds} and {task.result} on the other {single.held_out_images:,}; "
        f"whatever takes no longer for {task.a_sample} than the ensemble's {cost_label(single.budget, 'seconds')}, as "
        f"measured before them, was tried. All of it took {minutes} min {seconds} s."
    )
