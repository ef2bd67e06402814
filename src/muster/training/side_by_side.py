"""Fine-tuned ensembles on one labelled dataset, side by side: mIoU, what one has beyond the first, cost.

All see the same images and are scored against masks at their stored size, each after its own preprocessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from muster.data import Preprocessing, Split, Views
from muster.errors import ConfigError
from muster.markdown import markdown_table
from muster.probe.timing import inference_seconds
from muster.tasks.facts import TaskFacts
from muster.tasks.task import task_of
from muster.training.evaluation import SplitCounts, count_split
from muster.training.finetuned_ensemble import Ensemble
from muster.training.intervals import differences_to, result_intervals
from muster.training.passes import SeveralPasses

_REPETITIONS = 3


@dataclass(frozen=True)
class Evaluated:
    """What one ensemble reached.

    Attributes:
        name: What it is called here.
        members: Its members, between commas.
        image_size: Size to which images are brought for members without a preprocessing of their own.
        result: In 0..1.
        low: Lower end of its 95 % interval over bootstrap samples of the images; ``None`` where there are too few.
        high: Upper end.
        beyond_first: Its mIoU minus that of the first ensemble; ``None`` for the first.
        beyond_low: Lower end of the interval of that difference, over the same draws for both.
        beyond_high: Upper end.
        seconds_per_image: Time of all forward passes over the first image.
        parameters: Number of weights and biases.
        error: The error beside the result, such as RMSE; ``None`` if the task has none.
        class_ious: IoU of each class; ``None`` where it does not occur in the ground truth.
    """

    name: str
    members: str
    image_size: int | str
    result: float
    low: float | None
    high: float | None
    beyond_first: float | None
    beyond_low: float | None
    beyond_high: float | None
    seconds_per_image: float
    parameters: int
    error: float | None
    class_ious: tuple[float | None, ...]


def evaluate_side_by_side(ensembles: Mapping[str, Ensemble], split: Split, seed: int = 0) -> list[Evaluated]:
    """Evaluate ensembles on the same images.

    Args:
        ensembles: By the names they get; the others are compared with the first. In evaluation mode.
        split: The images.
        seed: Of the bootstrap.

    Returns:
        One for each, in their order.

    Raises:
        ConfigError: If an ensemble tells other classes apart than those of the images, or takes other channels.
    """
    for name, each in ensembles.items():
        _require_fitting(name, each, split)
    counts = {name: count_ensembles({name: each}, split, each.preprocessing)[name] for name, each in ensembles.items()}
    first = next(iter(counts))
    intervals, beyond = result_intervals(counts, seed), differences_to(first, counts, seed)
    height, width = split[0].image.shape[1:]
    found = []
    for name, each in ensembles.items():
        low, high = intervals.get(name, (None, None))
        difference = beyond.get(name)
        found.append(
            Evaluated(
                name=name,
                members=", ".join(each.names),
                image_size=each.preprocessing.known_size.setting,
                result=counts[name].result,
                low=low,
                high=high,
                beyond_first=None if difference is None else difference.result,
                beyond_low=None if difference is None else difference.low,
                beyond_high=None if difference is None else difference.high,
                seconds_per_image=seconds_of(each, (height, width)),
                parameters=sum(value.numel() for value in each.parameters()),
                error=counts[name].error,
                class_ious=counts[name].class_results,
            )
        )
    return found


def count_ensembles(ensembles: Mapping[str, Ensemble], split: Split, shown: Preprocessing) -> dict[str, SplitCounts]:
    """Pixel counts of the predictions of ensembles that are shown images alike, in one pass over them.

    Args:
        ensembles: By name, at least one; all on one device and in evaluation mode.
        split: The images.
        shown: How images are shown to members without a preprocessing of their own.

    Returns:
        By name.
    """
    task = task_of(split.spec)

    @torch.no_grad()
    def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        return {name: task.decide(each(images, size)) for name, each in ensembles.items()}

    owns = [own for each in ensembles.values() for own in each.owns]
    device = next(iter(ensembles.values())).head.weights.device
    return count_split(predict, split, shown, device, owns=owns)


def seconds_of(ensemble: Ensemble, stored: tuple[int, int]) -> float:
    """The members' forward passes over an image, as the report of a fine-tuning counts them.

    Args:
        ensemble: In evaluation mode.
        stored: Rows and columns of the image as stored.
    """
    shown, variants, device = ensemble.preprocessing, ensemble.tta.variants, ensemble.head.weights.device
    passes = [SeveralPasses.of(model, shown, variants, stored) for model in ensemble.models.values()]
    return sum(inference_seconds(each.model, size, device, _REPETITIONS) for each in passes for size in each.sizes)


def _require_fitting(name: str, ensemble: Ensemble, split: Split) -> None:
    if ensemble.classes != split.spec.classes:
        raise ConfigError(
            f"{name} was fine-tuned for the classes {', '.join(ensemble.classes)}, but {split.spec.name} has "
            f"{', '.join(split.spec.classes)}. Evaluate it on a dataset of its own classes in the same order."
        )
    if (channels := len(ensemble.preprocessing.statistics.mean)) != split.spec.channels:
        raise ConfigError(
            f"{name} takes images of {channels} channel(s), but those of {split.spec.name} have {split.spec.channels}."
        )


def evaluated_as_markdown(rows: Sequence[Evaluated], task: TaskFacts) -> str:
    """The rows as a table.

    Args:
        rows: At least one.
        task: What results, errors and samples are called.
    """
    errors = [task.error] if task.error else []
    headings = ["ensemble", "members", "size", f"{task.result} (95 % interval)", f"beyond {rows[0].name}", *errors]
    cells = [
        [
            row.name,
            row.members.replace(", ", "<br>"),
            str(row.image_size),
            f"{row.result:.3f}{_ends(row.low, row.high)}",
            "" if row.beyond_first is None else f"{row.beyond_first:+.3f}{_ends(row.beyond_low, row.beyond_high, '+')}",
            *(["" if row.error is None else f"{row.error:.3f}"] if errors else []),
            f"{1000 * row.seconds_per_image:.1f}",
            f"{row.parameters / 1e6:.2f} M",
        ]
        for row in rows
    ]
    return "\n".join([*markdown_table([*headings, f"ms {task.a_sample}", "parameters"], cells), ""])


def _ends(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None or high is None else f" ({low:{sign}.3f} to {high:{sign}.3f})"
