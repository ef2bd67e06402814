"""Images for the report of a fine-tuning: what each fine-tuned member and the ensemble predict."""

from __future__ import annotations

import torch

from muster.data import MAX_CLASSES
from muster.report.images import choose_images, class_counts, make_report_image, shrink
from muster.report.records import ReportImage
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import TargetData

SURVEYED_IMAGES = 100
"""Images are chosen from so many, so that a large test split is not read for the sake of four of them."""


@torch.no_grad()
def finetuned_images(ensemble: Ensemble, target: TargetData, count: int = 4) -> list[ReportImage]:
    """A few test images with the predictions of each member and of the ensemble.

    Args:
        ensemble: Fine-tuned, in evaluation mode; the images go to its device.
        target: What it was fine-tuned on.
        count: How many images.

    Returns:
        The images; fewer if the test split has not so many.
    """
    # There are not so many colours, or none; and texts are shown otherwise.
    if len(ensemble.classes) > MAX_CLASSES or not ensemble.task.has_classes or target.dataset.spec.has_texts:
        return []
    some = target.dataset.test.subset(SURVEYED_IMAGES, seed=0)
    places = choose_images(class_counts(some, len(ensemble.classes)), count, seed=0)
    report_images = []
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
