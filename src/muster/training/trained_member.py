"""What is known and written of a member once it is trained: its card, its images, its folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from pytorch_lightning.loggers import Logger
from torch import Tensor

from muster.data import ContentSketch, Preprocessing, content_prefixes, split_record
from muster.files import to_builtin_types, write_yaml
from muster.models import SourceModel, weights_file
from muster.pool import CARD, HISTORY, Card, software_versions, write_member
from muster.tasks.source_sample import sample_sources
from muster.tasks.task import TASKS, in_classes, task_of
from muster.tracking import LOGS, Content, Run, send
from muster.training.evaluation import Predictor, SplitCounts, count_split
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining
from muster.training.multi_source_card import joined_card
from muster.training.seen_weights import seen_by_weights
from muster.training.source_images import SourceImages

SPLITS = "splits"
"""The folder of a pool that says, member by member, which images were used for what."""


def run_of(job: MemberJob, dataset: str) -> Run:
    """What trackers are told of the training.

    Args:
        job: What is trained.
        dataset: Name of what it is trained on.
    """
    folder = job.pool / LOGS / job.name
    return Run(folder, "train", job.name, job.pool.name, dataset, to_builtin_types(asdict(job)))


def seen_in(job: MemberJob, sources: Sequence[SourceImages]) -> tuple[ContentSketch, ...]:
    """What a member has seen.

    Args:
        job: What is trained.
        sources: What it is trained on.

    Returns:
        The sources, and what the weights that training started from had seen, see :func:`seen_by_weights`.
    """
    own = tuple(ContentSketch.of(each.dataset.spec.name, content_prefixes(each.train)) for each in sources)
    return tuple(dict.fromkeys((*own, *seen_by_weights(weights_file(job.architecture, job.start)))))


def finish_member(
    job: MemberJob,
    sources: Sequence[SourceImages],
    seen: tuple[ContentSketch, ...],
    module: EnsembleTraining,
    predictors: Sequence[Predictor],
    seconds: float,
    writes: bool,
    loggers: Sequence[Logger],
) -> None:
    """Evaluate a trained member in all processes; in one write its folder, and delete what was kept for going on.

    Args:
        job: What was trained.
        sources: What it was trained on.
        seen: What the member has seen.
        module: With the model.
        predictors: For each source what predicts its classes.
        seconds: Time spent training.
        writes: Whether this is the process that writes.
        loggers: Are told of it.
    """
    model, device = module.models[job.name], job.hardware.resolved_device()
    model.to(device).eval()
    workers = job.hardware.resolved_num_workers()
    with job.hardware.autocast():
        counts = [
            count_split(predict, source.dataset.test, source.preprocessing, device, num_workers=workers)
            for predict, source in zip(predictors, sources, strict=True)
        ]
        if not writes:
            return
        shown = [(in_classes(source.train), source.preprocessing) for source in sources]
        looking = task_of(shown[0][0].spec).fitted(model)
        sample = sample_sources(looking, shown, job.settings.seed, device, job.settings.sample_images)
    cards = [
        _card(job, source, seen, module, model, found["prediction"], seconds)
        for source, found in zip(sources, counts, strict=True)
    ]
    write_yaml(job.pool / SPLITS / f"{job.name}.yaml", _images(job, sources))
    _write(job, module, joined_card(cards) if job.datasets else cards[0], sample, loggers)


def _images(job: MemberJob, sources: Sequence[SourceImages]) -> Mapping[str, Any]:
    """Which images were used for what; of a multi-source member by source."""
    images = {
        source.dataset.spec.name: {
            **split_record(source.dataset),
            "train": list(source.train.identifiers),
            "validation": [] if source.held is None else list(source.held.identifiers),
        }
        for source in sources
    }
    return images if job.datasets else images[sources[0].dataset.spec.name]


def _write(
    job: MemberJob, module: EnsembleTraining, card: Card, sample: Mapping[str, Tensor], loggers: Sequence[Logger]
) -> None:
    history = pd.DataFrame(module.history)
    write_member(job.folder, module.models[job.name], card, sample, lambda path: history.to_csv(path, index=False))
    send(loggers, _content(job, card))
    shutil.rmtree(job.work, ignore_errors=True)  # another process may look there whether it is done


def _content(job: MemberJob, card: Card) -> Content:
    """What trackers are told of a finished member."""
    key = TASKS[card.task].key
    numbers = {
        f"{key}/source test": card.test_result,
        f"{key}/majority": card.majority_result,
        "parameters": float(card.parameters),
        "seconds": card.training_seconds,
    }
    return Content(numbers, files=(job.folder / CARD, job.folder / HISTORY))


def _card(
    job: MemberJob,
    source: SourceImages,
    seen: tuple[ContentSketch, ...],
    module: EnsembleTraining,
    model: SourceModel,
    counts: SplitCounts,
    seconds: float,
) -> Card:
    """The card of a member with respect to one source, without the checksum."""
    spec, settings, preprocessing = source.dataset.spec, job.settings, source.preprocessing
    rows, columns = settings.crop_for(preprocessing.known_size)
    own = job.own_statistics()
    return Card(
        name=job.name,
        dataset=spec.name,
        task=spec.task,
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
        train_images=len(source.train),
        test_images=len(source.dataset.test),
        test_result=counts.result,
        test_error=counts.error,
        test_ious=counts.class_results,
        majority_result=counts.task.guess(source.train, counts.tally),
        steps=module.last_step_of(job.name),
        batch_size=settings.batch_size,
        learning_rate=module.rate_of(job.name),
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
