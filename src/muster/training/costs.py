"""What a fine-tuned model costs whoever uses it: parameters, and time for an image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from muster.machine import device_label
from muster.probe.timing import inference_seconds
from muster.training.finetuned_ensemble import Ensemble
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.passes import SeveralPasses
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, Cost

ROUNDS, REPETITIONS = 5, 3
"""Models are timed in turn, so many times, and each time the median of so many passes counts ..."""

ROUNDS_END_AFTER = 5.0
"""... but no round begins after so many seconds: where models are slow, the clock's noise matters less."""


def measure_costs(
    module: EnsembleTraining,
    ensemble: Ensemble,
    size: tuple[int, int],
    hardware: Hardware,
    others: Mapping[str, SeveralPasses] | None = None,
) -> tuple[dict[str, Cost], str]:
    """Parameters and time for an image of every fine-tuned member and of the ensemble.

    Args:
        module: The fine-tuned members.
        ensemble: Those that were chosen, with their head.
        size: Rows and columns of the image as stored, in pixels; each model sees it prepared in its own way.
        hardware: Where to measure.
        others: Other models, by the names of their results, with what they see of that image.

    Returns:
        The costs under the names of results, and how the time was measured, in words.
    """
    device, others = hardware.resolved_device(), others or {}
    models = module.models
    shown, variants = ensemble.preprocessing, ensemble.tta.variants
    looking = {name: SeveralPasses.of(model, shown, variants, size) for name, model in models.items()}
    with hardware.autocast():
        seconds_of = seconds_together({**looking, **others}, device)
    costs = {name: Cost(1, model.num_parameters, seconds_of[name]) for name, model in models.items()}
    together = [costs[name] for name in ensemble.names]
    parameters, seconds = sum(c.parameters for c in together), sum(c.seconds_per_image for c in together)
    head = sum(values.numel() for values in ensemble.head.parameters())
    costs[PLAIN_MEAN] = Cost(len(together), parameters, seconds)
    costs[LEARNED_HEAD] = Cost(len(together), parameters + head, seconds)
    for name, each in others.items():
        costs[name] = Cost(1, each.model.num_parameters, seconds_of[name])
    sizes = [shown.seen_by(own).shape_of(*size) for own in module.owns]
    of_what, apart = (
        f"image of {_in_words(sizes)} pixels (rows x columns)",
        "the image and enlarging the prediction are",
    )
    if shown.of_text is not None:
        of_what, apart = f"text of {shown.of_text} characters", "the text is"
    how = (
        f"forward passes of one {of_what}"
        f"{f', {ensemble.tta.in_words}' if len(variants) > 1 else ''} on {device_label(device)}, the "
        f"shortest of up to {ROUNDS} medians of {REPETITIONS}; an ensemble takes the sum of its members"
        f"{', a model that looks several times the sum of its passes' if others else ''}; reading "
        f"{apart} left out"
    )
    return costs, how


def seconds_together(looking: Mapping[str, SeveralPasses], device: str) -> dict[str, float]:
    """Time for an image of several models, measured in one go.

    A pass takes the least of several times: whatever else the machine does can only make it longer. All passes are
    timed in turn, so that a busy moment does not fall on one.

    Args:
        looking: The models, with what each sees.
        device: Where to measure.

    Returns:
        Seconds, the sum over the passes of each, under the names of ``looking``.
    """
    passes = {(name, size): each.model for name, each in looking.items() for size in each.sizes}
    shortest: dict[tuple[str, tuple[int, int]], float] = {}
    started = time.monotonic()
    for _ in range(ROUNDS):
        for (name, size), model in passes.items():
            seconds = inference_seconds(model, size, device, REPETITIONS)
            shortest[name, size] = min(seconds, shortest.get((name, size), seconds))
        if time.monotonic() - started > ROUNDS_END_AFTER:
            break
    return {name: sum(shortest[name, size] for size in each.sizes) for name, each in looking.items()}


def _in_words(sizes: Sequence[tuple[int, int]]) -> str:
    """The sizes at which the models see an image; often there is one."""
    return " or ".join(f"{rows} x {columns}" for rows, columns in dict.fromkeys(sizes))
