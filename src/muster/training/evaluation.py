"""Results on a test split: one confusion matrix over the whole split, and what follows from it.

Axis names: ``c`` classes; in a confusion matrix the first is the truth and the second the prediction. ``images`` are
those of the split, in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from muster.data import Preprocessing, Split, Views, map_views, prepared_images, view_for
from muster.models import SourceModel, upsample_probabilities
from muster.ranks import rank, sum_over_ranks, world_size
from muster.tasks.segmentation import confusion_of

Predictor = Callable[[Views, tuple[int, int]], Mapping[str, Tensor]]
"""Prepared images ``[b, 3, h, w]`` as each model wants them, and the size of a mask in; class indices ``[b, height,
width]`` by name out."""


@dataclass(frozen=True, eq=False)
class SplitCounts:
    """What one model's predictions of a split come to.

    Attributes:
        confusion: Pixels of the whole split, truth by prediction.
        by_image: For each image and class the pixels that are right, that are of the class, and that are predicted as
            the class. An IoU needs no more of a confusion matrix, and 5000 images of 150 classes take 9 MB so.
    """

    confusion: Int64[Tensor, "c c"]
    by_image: Int32[Tensor, "images 3 c"]


def maps_of(models: Mapping[str, SourceModel], views: Views, size: tuple[int, int]) -> Iterator[tuple[str, Tensor]]:
    """What each of some models says of images by itself, one after the other.

    Args:
        models: In evaluation mode.
        views: Prepared images, as each model wants them.
        size: Wanted rows and columns.

    Yields:
        The name of a model, and its probabilities ``[b, c, height, width]``.
    """
    for name, model in models.items():
        images = view_for(views, model.preprocessing)
        yield name, upsample_probabilities(model.predict(images), size, model.part_of(images))


def model_predictor(model: SourceModel) -> Predictor:
    """Predict with one model; the only name is ``"prediction"``."""
    return models_predictor({"prediction": model})


def models_predictor(models: Mapping[str, SourceModel]) -> Predictor:
    """Predict with each of some models by itself, under its name."""

    def predict(views: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        return {name: maps.argmax(dim=1) for name, maps in maps_of(models, views, size)}

    return predict


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
    classes = split.spec.num_classes
    counts: dict[str, SplitCounts] = {}
    mine = range(rank(), len(split), world_size())
    # A process without an image looks at one all the same, to learn the names, and counts nothing.
    for batch in prepared_images(split, preprocessing, batch_size, num_workers, mine or range(1), owns):
        images = map_views(batch.images, lambda view: view.to(device))
        for size, positions in _by_size(batch.masks).items():
            for some in _chunks(positions, size, classes):
                masks = torch.stack([batch.masks[i] for i in some]).to(device)
                places = [batch.indices[i] for i in some]
                for name, labels in predict(_chosen(images, some), size).items():
                    found = torch.stack([confusion_of(*pair, classes) for pair in zip(labels, masks, strict=True)])
                    if name not in counts:
                        counts[name] = _no_counts(len(split), classes)
                    if mine:
                        counts[name].confusion.add_(found.sum(dim=0).cpu())
                        counts[name].by_image[places] = _margins(found).cpu()
    return {name: _over_ranks(each, torch.device(device)) for name, each in counts.items()}


def _chosen(views: Views, places: list[int]) -> Views:
    return map_views(views, lambda images: images[places])


def _over_ranks(counts: SplitCounts, device: torch.device) -> SplitCounts:
    return SplitCounts(sum_over_ranks(counts.confusion, device), sum_over_ranks(counts.by_image, device))


def _no_counts(images: int, classes: int) -> SplitCounts:
    return SplitCounts(
        torch.zeros(classes, classes, dtype=torch.int64), torch.zeros(images, 3, classes, dtype=torch.int32)
    )


def _margins(confusions: Int64[Tensor, "b c c"]) -> Int32[Tensor, "b 3 c"]:
    """Hits, pixels of the truth and pixels of the prediction, of each image and class."""
    parts = confusions.diagonal(dim1=1, dim2=2), confusions.sum(dim=2), confusions.sum(dim=1)
    return torch.stack(parts, dim=1).int()


def confusion_matrices(
    predict: Predictor,
    split: Split,
    preprocessing: Preprocessing,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
    num_workers: int = 0,
    owns: Iterable[Preprocessing | None] = (),
) -> dict[str, Int64[Tensor, "c c"]]:
    """The confusion matrices of :func:`count_split`, which takes the same arguments."""
    counts = count_split(predict, split, preprocessing, device, batch_size, num_workers, owns)
    return {name: each.confusion for name, each in counts.items()}


NUMBERS_AT_ONCE = 1 << 24
"""Interpolated probabilities are made for so many numbers at a time: 64 MB a model, whatever the size of the images."""


def _chunks(positions: list[int], size: tuple[int, int], num_classes: int) -> Iterator[list[int]]:
    """As many images at a time as fit."""
    count = max(1, NUMBERS_AT_ONCE // (size[0] * size[1] * num_classes))
    for start in range(0, len(positions), count):
        yield positions[start : start + count]


def _by_size(masks: list[Tensor]) -> dict[tuple[int, int], list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for index, mask in enumerate(masks):
        groups.setdefault((mask.shape[0], mask.shape[1]), []).append(index)
    return groups
