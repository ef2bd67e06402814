"""Results on a test split: what all predictions together come to, and what follows from it.

Axis names: ``images`` are those of the split, in its order; ``c`` classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from muster.data import Preprocessing, Split, Views, map_views, prepared_images, view_for
from muster.models import SourceModel
from muster.ranks import rank, sum_over_ranks, world_size
from muster.tasks.task import Task, tally_is_empty, task_of

Predictor = Callable[[Views, tuple[int, int]], Mapping[str, Tensor]]
"""Prepared images ``[b, 3, h, w]`` as each model wants them, and the size of a truth in; by name out what
:meth:`muster.tasks.task.Task.decide` makes of the probabilities there, such as class indices ``[b, height, width]``."""


@dataclass(frozen=True, eq=False)
class SplitCounts:
    """What one model's predictions of a split come to.

    Attributes:
        task: Says what is counted.
        tally: Of the whole split, see :meth:`muster.tasks.task.Task.tally`; where classes are predicted, a confusion
            matrix, truth by prediction.
        by_image: The digest of each image, see :meth:`muster.tasks.task.Task.digest`. An IoU needs three numbers of a
            class, and 5000 images of 150 classes take 9 MB so.
    """

    task: Task
    tally: Tensor
    by_image: Shaped[Tensor, "images ..."]

    @property
    def confusion(self) -> Int64[Tensor, "c c"]:
        """The tally, where classes are predicted."""
        return self.tally

    @property
    def confusion_rows(self) -> tuple[tuple[int, ...], ...]:
        """The same in plain values; none where no classes are predicted."""
        return tuple(tuple(row) for row in self.tally.tolist()) if self.task.has_classes else ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was scored."""
        return tally_is_empty(self.tally)

    @property
    def result(self) -> float:
        """The result of the whole split.

        Raises:
            ValueError: If nothing was scored.
        """
        return self.task.result_of(self.tally)

    @property
    def error(self) -> float | None:
        """The error beside it, see :attr:`muster.tasks.task.Task.error`; ``None`` if the task has none."""
        return self.task.error_of(self.tally)

    @property
    def class_results(self) -> tuple[float | None, ...]:
        """The part of each class in it; ``None`` for a class that does not occur in the truth."""
        return self.task.class_results_of(self.tally)


def maps_of(
    models: Mapping[str, SourceModel], task: Task, views: Views, size: tuple[int, int]
) -> Iterator[tuple[str, Tensor]]:
    """What each of some models says of images by itself, one after the other.

    Args:
        models: In evaluation mode.
        task: What they predict.
        views: Prepared images, as each model wants them.
        size: Wanted rows and columns.

    Yields:
        The name of a model, and its predictions ``[b, outputs, height, width]``.
    """
    for name, model in models.items():
        images = view_for(views, model.preprocessing)
        yield name, task.predictions(model(images), size, model.part_of(images))


def model_predictor(model: SourceModel, task: Task) -> Predictor:
    """Predict with one model; the only name is ``"prediction"``."""
    return models_predictor({"prediction": model}, task)


def models_predictor(models: Mapping[str, SourceModel], task: Task) -> Predictor:
    """Predict with each of some models by itself, under its name."""

    def predict(views: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        return {name: task.decide(maps) for name, maps in maps_of(models, task, views, size)}

    return predict


@torch.no_grad()
def count_split(
    predict: Predictor,
    split: Split,
    preprocessing: Preprocessing,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
    num_workers: int = 0,
    owns: Iterable[Preprocessing | None] = (),
) -> dict[str, SplitCounts]:
    """Compare predictions with the ground truth on whole images at a single scale.

    The processes of a distributed run share the images, and all know the counts: every one of them must call this.

    Args:
        predict: Predicts a batch; every mask of the batch is predicted at its stored size.
        split: The images.
        preprocessing: How images are shown.
        device: Where the model is.
        batch_size: Most images at a time.
        num_workers: Processes that read ahead.
        owns: The own preprocessing of each model behind ``predict``, ``None`` for models without.

    Returns:
        For each name that ``predict`` gives, pixel counts over the whole split and of each image.
    """
    task, outputs = task_of(split.spec), split.spec.num_classes
    counts: dict[str, SplitCounts] = {}
    mine = range(rank(), len(split), world_size())
    # A process without an image looks at one all the same, to learn the names, and counts nothing.
    for batch in prepared_images(split, preprocessing, batch_size, num_workers, mine or range(1), owns):
        images = map_views(batch.images, lambda view: view.to(device))
        for size, positions in _by_places(batch.masks, task):
            for some in _chunks(positions, size, outputs):
                masks = torch.stack([batch.masks[i] for i in some]).to(device)
                places = [batch.indices[i] for i in some]
                for name, decided in predict(_chosen(images, some), size).items():
                    found = task.tally(decided, masks, outputs)
                    if name not in counts:
                        counts[name] = _no_counts(task, len(split), outputs)
                    if mine:
                        counts[name].tally.add_(found.sum(dim=0).cpu())
                        by_image = counts[name].by_image
                        by_image[places] = task.digest(found).to("cpu", by_image.dtype)
    return {name: _over_ranks(each, torch.device(device)) for name, each in counts.items()}


def _chosen(views: Views, places: list[int]) -> Views:
    return map_views(views, lambda images: images[places])


def _over_ranks(counts: SplitCounts, device: torch.device) -> SplitCounts:
    return replace(counts, tally=sum_over_ranks(counts.tally, device), by_image=sum_over_ranks(counts.by_image, device))


def _no_counts(task: Task, images: int, outputs: int) -> SplitCounts:
    nothing = task.no_tally(outputs)
    digest = task.digest(nothing[None])[0]
    # Whole numbers of one image fit into 32 bits.
    dtype = digest.dtype if digest.is_floating_point() else torch.int32
    return SplitCounts(task, nothing, torch.zeros(images, *digest.shape, dtype=dtype))


NUMBERS_AT_ONCE = 1 << 24
"""Interpolated probabilities are made for so many numbers at a time: 64 MB a model, whatever the size of the images."""


def _chunks(positions: list[int], size: tuple[int, int], num_classes: int) -> Iterator[list[int]]:
    """As many images at a time as fit."""
    count = max(1, NUMBERS_AT_ONCE // (size[0] * size[1] * num_classes))
    for start in range(0, len(positions), count):
        yield positions[start : start + count]


def _by_places(masks: list[Tensor], task: Task) -> list[tuple[tuple[int, int], list[int]]]:
    """Rows and columns at which predictions are wanted, with the truths of one shape that have them."""
    groups: dict[tuple[torch.Size, tuple[int, int]], list[int]] = {}
    for index, mask in enumerate(masks):
        groups.setdefault((mask.shape, task.places_of(mask)), []).append(index)
    return [(size, found) for (_, size), found in groups.items()]
