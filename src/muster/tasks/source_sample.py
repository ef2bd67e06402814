"""A small sample of a member's own source images as the member sees them, for metrics that compare domains.

Kept with the member so that nobody needs the source data again: the mean unit embedding of each stage over images, and
features and labels of a few thousand pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional

from muster.data import VOID, Preprocessing, Split, labelled, prepared_images, view_for
from muster.models import SourceModel
from muster.probe import read_pixels
from muster.tasks.task import task_of
from muster.tasks.units import draw_units

MOST_IMAGES = 1000
"""Embeddings are averaged over all images up to so many, and beyond that over a tenth: "Towards Estimating
Transferability using Hard Subsets" (HASTE), 2022, appendix A.2, took a tenth of ImageNet."""

PIXEL_IMAGES = 100
PIXELS_PER_IMAGE = 40


@torch.no_grad()
def sample_source(
    model: SourceModel,
    train: Split,
    preprocessing: Preprocessing,
    seed: int,
    device: torch.device | str = "cpu",
    images: int | None = None,
) -> dict[str, Tensor]:
    """Look at training images with the finished model.

    Args:
        model: In evaluation mode, on ``device``.
        train: Its training images.
        preprocessing: How images are shown to models without a preprocessing of their own.
        seed: Which images and pixels.
        device: Where the model is.
        images: How many images embeddings are averaged over, see :func:`draw_balanced`; by default all up to 1000, and
            of more a tenth.

    Returns:
        ``stage_K`` float32 ``[c_K]``: the mean over images of the unit-length spatial mean of stage K;
        ``features`` float32 ``[pixels, d]``: the map before the classifier at labelled pixels drawn uniformly from a
        seeded choice of at most 100 images;
        ``labels`` int64 ``[pixels]``: their source classes.
    """
    return sample_sources(model, [(train, preprocessing)], seed, device, images)


@torch.no_grad()
def sample_sources(
    model: SourceModel,
    sources: Sequence[tuple[Split, Preprocessing]],
    seed: int,
    device: torch.device | str = "cpu",
    images: int | None = None,
) -> dict[str, Tensor]:
    """The same for a model with several sources, each of which counts alike, as each does in training.

    Args:
        model: In evaluation mode, on ``device``.
        sources: Training images of each source in the order of the model's label space, with how they are shown.
        seed: Which images and pixels.
        device: Where the model is.
        images: How many images of all sources together embeddings are averaged over; the same number of each source,
            as far as it has them.

    Returns:
        As :func:`sample_source`: means of embeddings are means over the sources of each one's mean, at most 100 images
        have pixels in all, and labels are places in the concatenation of the sources' label spaces (and from 255 on
        the number after the place, as 255 is void wherever labels are read).
    """
    total = number_of_images(sum(len(train) for train, _ in sources)) if images is None else images
    stages: list[list[Tensor]] = []
    features, labels, first = list[Tensor](), list[Tensor](), 0
    for train, preprocessing in sources:
        shown = preprocessing.seen_by(model.preprocessing)
        chosen = draw_balanced(train, -(-total // len(sources)), seed)
        stages.append(_mean_embeddings(model, chosen, shown, device))
        some = train.subset(max(1, PIXEL_IMAGES // len(sources)), seed)
        of_pixels, classes = _sample_pixels(model, some, shown, seed, device)
        features.append(of_pixels)
        labels.append(_past_void(classes + first))
        first += train.spec.num_classes
    means = {f"stage_{k}": torch.stack(stage).mean(dim=0) for k, stage in enumerate(zip(*stages, strict=True))}
    return {**means, "features": torch.cat(features), "labels": torch.cat(labels)}


def _past_void(places: Int64[Tensor, " pixels"]) -> Int64[Tensor, " pixels"]:
    return places + (places >= VOID)


def _mean_embeddings(
    model: SourceModel, chosen: Split, shown: Preprocessing, device: torch.device | str
) -> list[Tensor]:
    """Of each stage, the mean over images of its unit embedding."""
    stages = []
    for batch in prepared_images(chosen, shown):
        _, embeddings = model.features_and_embeddings(view_for(batch.images, None).to(device))
        stages.append([functional.normalize(stage.float(), dim=1).cpu() for stage in embeddings])
    return [torch.cat(stage).mean(dim=0) for stage in zip(*stages, strict=True)]


def number_of_images(available: int) -> int:
    """How many images embeddings are averaged over: all up to 1000, and of more a tenth, rounded up."""
    return available if available <= MOST_IMAGES else -(-available // 10)


def draw_balanced(split: Split, count: int, seed: int) -> Split:
    """A seeded choice of images in which rare classes come up as well as frequent ones.

    Images are drawn without replacement, each with a probability that is proportional to the sum, over the classes that
    it shows, of one over the number of images that show the class. So every class has the same weight, as if the same
    number of images were drawn for each.

    Args:
        split: The images; masks are read only if some have to be left out.
        count: How many, at least 1.
        seed: Which ones.

    Returns:
        That many images, or all there are, in the order of the split; fewer if the others are all void.

    Source:
        HASTE, 2022, appendix A.2, draws uniformly from each class of ImageNet. An image of a segmentation dataset shows
        several classes: the weights are our reading.
    """
    if count >= len(split):
        return split
    classes = split.spec.num_classes
    masks = [split.mask(index) for index in range(len(split))]
    shown = np.stack([np.bincount(mask[labelled(mask)].numpy(), minlength=classes) > 0 for mask in masks])
    images_with = shown.sum(axis=0)
    weights = shown @ np.divide(1.0, images_with, out=np.zeros(len(images_with)), where=images_with > 0)
    if not weights.any():
        return split.subset(count, seed)
    usable = int((weights > 0).sum())
    generator = np.random.default_rng(seed % 2**64)
    drawn = generator.choice(len(split), min(count, usable), replace=False, p=weights / weights.sum())
    return replace(split, identifiers=tuple(split.identifiers[index] for index in np.sort(drawn).tolist()))


def _sample_pixels(
    model: SourceModel,
    chosen: Split,
    shown: Preprocessing,
    seed: int,
    device: torch.device | str,
) -> tuple[Tensor, Tensor]:
    """Features and labels of pixels of these images."""
    task, features, labels = task_of(chosen.spec), list[Tensor](), list[Tensor]()
    for batch in prepared_images(chosen, shown):
        images = view_for(batch.images, None).to(device)
        maps, part = model.features(images).float(), model.part_of(images)
        for index, mask, values in zip(batch.indices, batch.masks, maps, strict=True):
            drawn, classes = draw_units(task, mask, PIXELS_PER_IMAGE, seed, index)
            size = (mask.shape[0], mask.shape[1])  # of an image with several classes one place for each
            rows, columns = drawn.to(device) // size[1], drawn.to(device) % size[1]
            features.append(read_pixels(values, rows, columns, size, part).cpu())
            labels.append(classes)
    return torch.cat(features), torch.cat(labels)
