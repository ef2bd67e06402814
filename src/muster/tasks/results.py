"""What stands beside an mIoU: its interval, its difference to the baseline, and what the model costs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from muster.machine import device_label
from muster.models import Segmenter
from muster.probe.timing import inference_seconds
from muster.report import LEARNED_HEAD, PLAIN_MEAN, Cost, Difference, FinetuneResult
from muster.tasks.ensemble import Ensemble
from muster.tasks.evaluation import SplitCounts, mean_iou
from muster.tasks.fitting import Hardware
from muster.tasks.intervals import bootstrap_mious, percentile_interval
from muster.tasks.training import EnsembleTraining

REPETITIONS = 5
"""Forward passes that are timed for each model; the median of so few is steady enough to compare models by."""


def miou_intervals(counts: Mapping[str, SplitCounts], seed: int) -> dict[str, tuple[float, float]]:
    """The interval of each mIoU over bootstrap samples of the test images.

    Args:
        counts: Of each model.
        seed: Which images are drawn.

    Returns:
        Lower and upper end by name; nothing if there are too few images.
    """
    drawn = {name: bootstrap_mious(each.by_image, seed) for name, each in counts.items()}
    return {name: percentile_interval(mious) for name, mious in drawn.items() if mious is not None}


def differences_to(baseline: str, counts: Mapping[str, SplitCounts], seed: int) -> dict[str, Difference]:
    """By how much each mIoU is above the baseline's, with the interval over the same draws of images for both.

    Args:
        baseline: Name of the baseline.
        counts: Of each model, the baseline among them.
        seed: Which images are drawn.

    Returns:
        For every other model its difference.
    """
    base = bootstrap_mious(counts[baseline].by_image, seed)
    differences = {}
    for name, each in counts.items():
        if name == baseline:
            continue
        found = mean_iou(each.confusion) - mean_iou(counts[baseline].confusion)
        drawn = bootstrap_mious(each.by_image, seed)
        ends = (None, None) if drawn is None or base is None else percentile_interval(drawn - base)
        differences[name] = Difference(found, *ends)
    return differences


def measure_costs(
    module: EnsembleTraining, ensemble: Ensemble, size: tuple[int, int], hardware: Hardware
) -> tuple[dict[str, Cost], str]:
    """Parameters and time for an image of every fine-tuned member and of the ensemble.

    Args:
        module: The fine-tuned members.
        ensemble: Those that were chosen, with their head.
        size: Rows and columns of the image, in pixels.
        hardware: Where to measure.

    Returns:
        The costs under the names of results, and how the time was measured, in words.
    """
    device = hardware.resolved_device()
    costs = {
        name: Cost(1, member.num_parameters, inference_seconds(member, size, device, REPETITIONS))
        for name, member in zip(module.names, module.members, strict=True)
        if isinstance(member, Segmenter)
    }
    together = [costs[name] for name in ensemble.names]
    parameters, seconds = sum(c.parameters for c in together), sum(c.seconds_per_image for c in together)
    head = sum(values.numel() for values in ensemble.head.parameters())
    costs[PLAIN_MEAN] = Cost(len(together), parameters, seconds)
    costs[LEARNED_HEAD] = Cost(len(together), parameters + head, seconds)
    how = (
        f"median of {REPETITIONS} forward passes of one image of {size[0]} x {size[1]} pixels (rows x columns) on "
        f"{device_label(device)}; an ensemble takes the sum of its members; reading the image and enlarging the "
        "prediction are left out"
    )
    return costs, how


def confusion_table(result: FinetuneResult) -> pd.DataFrame:
    """The confusion matrix of the learned head, one row a true class, one column a predicted one, in pixels."""
    table = pd.DataFrame(result.confusion, columns=list(result.classes))
    table.insert(0, "truth", result.classes, allow_duplicates=True)  # a class may be called so
    return table
