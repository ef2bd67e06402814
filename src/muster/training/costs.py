"""What a fine-tuned model costs whoever uses it: parameters, and time for an image."""

from __future__ import annotations

import time
from collections.abc import Mapping

from muster.machine import device_label
from muster.models import SourceModel, Variant
from muster.probe.timing import inference_seconds
from muster.training.finetuned_ensemble import Ensemble
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, Cost

ROUNDS, REPETITIONS = 5, 3
"""Models are timed in turn, so many times, and each time the median of so many passes counts ..."""

ROUNDS_END_AFTER = 5.0
"""... but no round begins after so many seconds: where models are slow, the clock's noise matters less."""


def measure_costs(
    module: EnsembleTraining, ensemble: Ensemble, size: tuple[int, int], hardware: Hardware
) -> tuple[dict[str, Cost], str]:
    """Parameters and time for an image of every fine-tuned member and of the ensemble.

    Args:
        module: The fine-tuned members.
        ensemble: Those that were chosen, with their head.
        size: Rows and columns of the image as stored, in pixels; each model sees it prepared in its own way.
        hardware: Where to measure.

    Returns:
        The costs under the names of results, and how the time was measured, in words.
    """
    device = hardware.resolved_device()
    models = module.models
    shown, variants = ensemble.preprocessing, ensemble.tta.variants
    sizes = {name: shown.seen_by(model.preprocessing).shape_of(*size) for name, model in models.items()}
    seconds_of = dict.fromkeys(models, 0.0)
    with hardware.autocast():
        by_scale = {
            scale: _shortest_seconds(models, {name: Variant(scale).shape_of(*sizes[name]) for name in models}, device)
            for scale in ensemble.tta.scales
        }
    for variant in variants:
        seconds_of = {name: seconds + by_scale[variant.scale][name] for name, seconds in seconds_of.items()}
    costs = {name: Cost(1, model.num_parameters, seconds_of[name]) for name, model in models.items()}
    together = [costs[name] for name in ensemble.names]
    parameters, seconds = sum(c.parameters for c in together), sum(c.seconds_per_image for c in together)
    head = sum(values.numel() for values in ensemble.head.parameters())
    costs[PLAIN_MEAN] = Cost(len(together), parameters, seconds)
    costs[LEARNED_HEAD] = Cost(len(together), parameters + head, seconds)
    how = (
        f"forward passes of one image of {_in_words(sizes)} pixels (rows x columns)"
        f"{f', {ensemble.tta.in_words}' if len(variants) > 1 else ''} on {device_label(device)}, the "
        f"shortest of up to {ROUNDS} medians of {REPETITIONS}; an ensemble takes the sum of its members; reading the "
        "image and enlarging the prediction are left out"
    )
    return costs, how


def _shortest_seconds(
    models: Mapping[str, SourceModel], sizes: Mapping[str, tuple[int, int]], device: str
) -> dict[str, float]:
    """Time for an image, the least of several: whatever else the machine does can only make it longer."""
    shortest: dict[str, float] = {}
    started = time.monotonic()
    for _ in range(ROUNDS):
        for name, model in models.items():
            seconds = inference_seconds(model, sizes[name], device, REPETITIONS)
            shortest[name] = min(seconds, shortest.get(name, seconds))
        if time.monotonic() - started > ROUNDS_END_AFTER:
            break
    return shortest


def _in_words(sizes: Mapping[str, tuple[int, int]]) -> str:
    """The sizes at which the models see an image; often there is one."""
    return " or ".join(f"{rows} x {columns}" for rows, columns in dict.fromkeys(sizes.values()))
