"""A few images for reports, with the predictions of each member and of the ensemble.

Axis names: ``images`` are those of a split, ``classes`` the target's classes, ``h`` and ``w`` one image's sides.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.resizing import resized
from muster.data.spec import MAX_CLASSES, VOID, Dataset, Sample, Split, labelled
from muster.data.transforms import prepare_image
from muster.models import SourceModel
from muster.pool import Pool
from muster.report.display import as_rgb
from muster.report.records import ReportImage
from muster.selection.record import Selection
from muster.tasks.task import in_classes

LONGEST_SIDE = 480
"""Images in reports are shrunk to this many pixels."""

SURVEYED_IMAGES = 150
"""Images are chosen from this many, so that a large dataset is not read for the sake of four of them."""

OCCURS_FRACTION = 0.005
"""A class counts as shown in an image if it covers this share of the labelled pixels."""

ENSEMBLE = "ensemble"


def class_counts(split: Split, num_classes: int) -> Int64[NumpyArray, "images classes"]:
    """Pixels of each class in each image of a split, void not counted.

    Args:
        split: Its masks are read, all of them.
        num_classes: Size of the label space.

    Returns:
        Counts in the order of the split.
    """
    masks = [split.mask(index) for index in range(len(split))]
    counts = [torch.bincount(mask[labelled(mask)], minlength=num_classes)[:num_classes] for mask in masks]
    return torch.stack(counts).numpy() if counts else np.zeros((0, num_classes), dtype=np.int64)


def choose_images(counts: Int64[NumpyArray, "images classes"], count: int, seed: int) -> list[int]:
    """Choose images that show many classes, each adding what the ones before it do not show.

    Args:
        counts: See :func:`class_counts`.
        count: How many; fewer come back if there are not so many.
        seed: Decides among equally good ones.

    Returns:
        Places in the split, ascending.
    """
    occurs = counts > OCCURS_FRACTION * np.maximum(counts.sum(axis=1, keepdims=True), 1)
    chance = np.random.default_rng(seed).random(len(counts))
    shown = np.zeros(counts.shape[1], dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(counts))):
        # A class that was not shown yet counts like three that were.
        merit = occurs.sum(axis=1) + 2 * (occurs & ~shown).sum(axis=1) + chance
        merit[chosen] = -1
        best = int(merit.argmax())
        chosen.append(best)
        shown |= occurs[best]
    return sorted(chosen)


def shrink(sample: Sample, longest_side: int = LONGEST_SIDE) -> Sample:
    """An image small enough for a report; one that is small already comes back as it is.

    Args:
        sample: As stored.
        longest_side: In pixels.

    Returns:
        The image, smoothly shrunk, and its mask, whose values are kept; a class of the whole image becomes a mask that
        has it everywhere.
    """
    sample = sample.with_map()
    height, width = sample.mask.shape
    if max(height, width) <= longest_side and sample.image.shape[1:] == sample.mask.shape:
        return sample
    scale = min(1.0, longest_side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = resized(sample.image, size, "bilinear")
    mask = resized(sample.mask[None], size, "nearest")[0]
    return Sample(sample.identifier, image, mask)


def make_report_image(
    sample: Sample,
    members: Mapping[str, Float[Tensor, "classes h w"]],
    ensemble: Float[Tensor, "classes h w"],
    ensemble_name: str = ENSEMBLE,
) -> ReportImage:
    """Turn probabilities into what a report shows.

    Args:
        sample: Image and mask, of the size of the probabilities.
        members: The predictions of each member, by its name.
        ensemble: What they say together; the confidence is read off this.
        ensemble_name: What to call it.

    Returns:
        The image, on the CPU.
    """
    predictions = {**members, ensemble_name: ensemble}
    mask = sample.mask.to(ensemble.device).long()
    void = mask == VOID
    confidence = ensemble.float().gather(0, mask.masked_fill(void, 0)[None])[0].clamp(0, 1).masked_fill(void, torch.nan)
    labels = {name: values.argmax(dim=0).to(torch.uint8).cpu() for name, values in predictions.items()}
    return ReportImage(sample.identifier, as_rgb(sample.image.cpu()), sample.mask.cpu(), labels, confidence.cpu())


def selection_images(
    selection: Selection,
    pool: Pool,
    target: Dataset,
    count: int = 4,
    device: torch.device | str = "cpu",
    counts: Int64[NumpyArray, "images classes"] | None = None,
) -> list[ReportImage]:
    """What the chosen members say about a few target training images, before any fine-tuning.

    Args:
        selection: With the predictors of its chosen members.
        pool: Holds them.
        target: The target dataset.
        count: How many images.
        device: Where the members run.
        counts: The :func:`class_counts` of :func:`surveyed`, if it is known already.

    Returns:
        The images; none if the selection has no predictors, as one that was read from disk.
    """
    # There are not so many colours; and texts are shown otherwise.
    if not selection.on_images or len(selection.classes) > MAX_CLASSES or target.spec.has_texts:
        return []
    split = surveyed(selection, target)
    if counts is None:
        counts = class_counts(split, len(selection.classes))
    adapted = pool.used_for(split.spec)
    models = {name: adapted[name].load_model(device) for name in selection.members}
    chosen = choose_images(counts, count, selection.probe.seed)
    return [_selection_image(selection, split[index], models, device) for index in chosen]


def surveyed(selection: Selection, target: Dataset) -> Split:
    """The target training images among which a selection's images are chosen."""
    images = Split(target.spec, target.train.name, tuple(selection.train_images), target.train.read)
    return in_classes(images).subset(SURVEYED_IMAGES, selection.probe.seed)


def _selection_image(
    selection: Selection, sample: Sample, models: Mapping[str, SourceModel], device: torch.device | str
) -> ReportImage:
    """One image, every member in turn."""
    small = shrink(sample)
    size = (small.mask.shape[0], small.mask.shape[1])
    place = selection.train_images.index(sample.identifier)
    members = {}
    for name, model in models.items():
        image = prepare_image(sample.image, selection.preprocessing.seen_by(model.preprocessing))[None].to(device)
        members[name] = selection.on_images[name].predict(model, image, place, size)
    ensemble = torch.stack(list(members.values())).mean(dim=0)
    return make_report_image(small, members, ensemble)
