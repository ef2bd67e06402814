"""What is known and written of a member once it is trained: its card, its images, its folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pytorch_lightning.loggers import Logger
from torch import Tensor

from muster.data import (
    ContentSketch,
    Dataset,
    Preprocessing,
    Split,
    class_pixel_counts,
    content_prefixes,
    split_record,
)
from muster.files import write_yaml
from muster.models import Segmenter, weights_file
from muster.pool import CARD, HISTORY, Card, Member, software_versions, write_member
from muster.tasks.segmentation import class_ious, majority_miou, mean_iou
from muster.tracking import Content, send
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining

SPLITS = "splits"
"""The folder of a pool that says, member by member, which images were used for what."""


def images_of(dataset: Dataset, train: Split, held: Split | None) -> dict[str, list[str]]:
    """Which images of a source were used for what.

    Args:
        dataset: The source.
        train: Those that were trained on.
        held: Those held out for the validation curve.
    """
    validation = [] if held is None else list(held.identifiers)
    return {**split_record(dataset), "train": list(train.identifiers), "validation": validation}


def write_trained(
    job: MemberJob,
    module: EnsembleTraining,
    card: Card,
    sample: Mapping[str, Tensor],
    images: Mapping[str, Any],
    loggers: Sequence[Logger],
) -> None:
    """Write the folder of a trained member, and delete what was kept for going on.

    Args:
        job: What was trained.
        module: With the model.
        card: Of the member.
        sample: Of its source.
        images: Which images were used for what, in plain values.
        loggers: Are told of it.
    """
    history = pd.DataFrame(module.history)
    write_yaml(job.pool / SPLITS / f"{job.name}.yaml", images)
    write_member(job.folder, module.models[job.name], card, sample, lambda path: history.to_csv(path, index=False))
    send(loggers, _content(job, card))
    shutil.rmtree(job.work)


def _content(job: MemberJob, card: Card) -> Content:
    """What trackers are told of a finished member."""
    numbers = {
        "miou/source test": card.test_miou,
        "miou/majority": card.majority_miou,
        "parameters": float(card.parameters),
        "seconds": card.training_seconds,
    }
    return Content(numbers, files=(job.folder / CARD, job.folder / HISTORY))


def seen_in(job: MemberJob, trains: Sequence[Split]) -> tuple[ContentSketch, ...]:
    """What a member has seen.

    Args:
        job: What is trained.
        trains: Its training images, source by source.

    Returns:
        The sources, and what the member that training started from had seen: its card lies beside its weights.
    """
    sources = tuple(ContentSketch.of(train.spec.name, content_prefixes(train)) for train in trains)
    path = weights_file(job.architecture, job.start)
    if path is None or not (path.parent / CARD).is_file():
        return sources
    return tuple(dict.fromkeys((*sources, *Member.open(path.parent).card.seen)))


def source_card(
    job: MemberJob,
    dataset: Dataset,
    train: Split,
    preprocessing: Preprocessing,
    seen: tuple[ContentSketch, ...],
    model: Segmenter,
    confusion: Tensor,
    learning_rate: float,
    seconds: float,
) -> Card:
    """The card of a member with respect to one source.

    Args:
        job: What was trained.
        dataset: The source.
        train: The images of it that were trained on.
        preprocessing: How they were shown.
        seen: What the member has seen.
        model: The trained model.
        confusion: Pixels of the source's test split, truth by prediction.
        learning_rate: Initial rate.
        seconds: Time spent training.

    Returns:
        The card, without the checksum.
    """
    spec, settings = dataset.spec, job.settings
    rows, columns = settings.crop_for(preprocessing.known_size)
    own = job.own_statistics()
    return Card(
        name=job.name,
        dataset=spec.name,
        domain=spec.domain,
        classes=spec.classes,
        seen_datasets=tuple(dict.fromkeys(sketch.dataset for sketch in seen)),
        architecture=job.architecture,
        pretraining=job.pretraining,
        mean=preprocessing.statistics.mean,
        std=preprocessing.statistics.std,
        image_size=preprocessing.known_size.setting,
        crop_size=rows if rows == columns else f"{rows}x{columns}",
        parameters=model.num_parameters,
        depth=model.depth,
        train_images=len(train),
        test_images=len(dataset.test),
        test_miou=mean_iou(confusion),
        test_ious=class_ious(confusion),
        majority_miou=majority_miou(class_pixel_counts(train, spec.num_classes), confusion),
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=learning_rate,
        schedule=settings.schedule,
        seed=settings.seed,
        training_seconds=round(seconds, 1),
        precision=job.hardware.resolved_precision(),
        licence=spec.licence,
        citation=spec.citation,
        versions=software_versions(),
        checksum="",  # write_member knows it
        recipe=job.recipe_hash,
        contents=seen,
        preprocessing=None if own is None else Preprocessing(own),
        started_from=model.started_from,
        blueprint=model.blueprint if model.blueprint.config else None,
    )
