"""Images for the report of a fine-tuning: what each fine-tuned member and the ensemble predict."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import UInt8
from torch import Tensor

from muster.data import MAX_CLASSES, Split
from muster.report.display import as_rgb
from muster.report.images import ENSEMBLE, LONGEST_SIDE, choose_images, class_counts, make_report_image, shrink
from muster.report.records import AnyImage, DrawnImage
from muster.training.finetuned_ensemble import Ensemble
from muster.training.target_data import TargetData

SURVEYED_IMAGES = 100
"""Images are chosen from so many, so that a large test split is not read for the sake of four of them."""


@torch.no_grad()
def finetuned_images(ensemble: Ensemble, target: TargetData, count: int = 4) -> list[AnyImage]:
    """A few test images with the predictions of each member and of the ensemble.

    Args:
        ensemble: Fine-tuned, in evaluation mode; the images go to its device.
        target: What it was fine-tuned on.
        count: How many images.

    Returns:
        The images; fewer if the test split has not so many.
    """
    if target.dataset.spec.has_texts:  # they are shown otherwise
        return []
    if not ensemble.task.has_classes:
        return list(_drawn(ensemble, ensemble.task.subset(target.dataset.test, count, seed=0)))
    if len(ensemble.classes) > MAX_CLASSES:  # there are not so many colours
        return []
    some = target.dataset.test.subset(SURVEYED_IMAGES, seed=0)
    places = choose_images(class_counts(some, len(ensemble.classes)), count, seed=0)
    report_images = list[AnyImage]()
    for place in places:
        sample = shrink(some[place])
        size = (sample.mask.shape[0], sample.mask.shape[1])
        images = ensemble.prepare(some[place].image[None])
        maps = ensemble.member_maps(images)
        alone = {
            name: ensemble.task.predictions(scores, size, part)[0]
            for name, (scores, part) in zip(ensemble.names, maps, strict=True)
        }
        report_images.append(make_report_image(sample, alone, ensemble(images, size)[0]))
    return report_images


def _drawn(ensemble: Ensemble, some: Split) -> Iterator[DrawnImage]:
    """Images as their task draws them; none if it draws nothing."""
    task = ensemble.task
    for sample in some:
        images, size = ensemble.prepare(sample.image[None]), task.places_of(sample.mask)
        maps = zip(ensemble.names, ensemble.member_maps(images), strict=True)
        said = {name: task.predictions(scores, size, part)[0].cpu() for name, (scores, part) in maps}
        if not task.finds_objects:  # of which there is one network, and no ensemble
            said[ENSEMBLE] = ensemble(images, size)[0].cpu()
        pictures = task.pictures(as_rgb(sample.image), sample.mask, said)
        if not pictures:
            return
        yield DrawnImage(sample.identifier, {name: _small(each) for name, each in pictures.items()})


def _small(picture: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "3 y x"]:
    step = -(-max(picture.shape[1:]) // LONGEST_SIDE)
    return picture[:, ::step, ::step]
