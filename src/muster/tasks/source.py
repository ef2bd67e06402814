"""Train one member of a pool, from reading its dataset to the finished folder."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from muster.data import (
    ChannelStatistics,
    Dataset,
    Split,
    cached,
    channel_statistics,
    class_pixel_counts,
    open_dataset,
    split_record,
)
from muster.files import as_file_name, plain, write_yaml
from muster.models import Segmenter, build_model
from muster.pool import MEMBERS, Card, software_versions, write_member
from muster.report.tracking import LoggerKind, close_loggers, make_logger
from muster.tasks.clock import Clock, Progress
from muster.tasks.evaluation import class_ious, confusion_matrices, majority_miou, mean_iou, model_predictor
from muster.tasks.fitting import CHECKPOINT, FitData, Hardware, fit, keep_checkpoint_of
from muster.tasks.settings import SourceSettings
from muster.tasks.source_sample import sample_source
from muster.tasks.training import EnsembleTraining, TrainingDivergedError

WORK = "work"
"""The folder of a pool below which unfinished members lie."""

SPLITS = "splits"
"""The folder of a pool that says, dataset by dataset, which images were for training and which for testing."""

LOGS = "logs"
"""The folder of a pool that loggers write to."""


@dataclass(frozen=True)
class MemberJob:
    """Everything a worker process must know to train one member.

    Attributes:
        name: Of the member.
        pool: Folder of the pool.
        dataset: What :func:`muster.data.open_dataset` opens.
        architecture: What :func:`muster.models.build_model` builds.
        pretraining: What to start from.
        settings: How to train.
        hardware: What to compute on.
        logger: Where curves go besides the member's ``history.csv``.
    """

    name: str
    pool: Path
    dataset: str
    architecture: str
    pretraining: str
    settings: SourceSettings
    hardware: Hardware
    logger: LoggerKind = "csv"

    @property
    def work(self) -> Path:
        """Where the member lies while it is being trained."""
        return self.pool / WORK / self.name

    @property
    def folder(self) -> Path:
        """Where it lies when it is done."""
        return self.pool / MEMBERS / self.name


def train_member(job: MemberJob, progress: Progress) -> None:
    """Train a member, evaluate it, and put it on disk; an interrupted training goes on from its last checkpoint.

    Args:
        job: What to train.
        progress: Told about the course of training.

    Raises:
        TrainingDivergedError: If the loss became infinite or NaN; the checkpoint is deleted, as it may be spoilt.
        MusterError: If the dataset or the weights to start from cannot be read.
    """
    settings = job.settings
    dataset = open_dataset(job.dataset)
    train = cached(dataset.train.subset(settings.train_images, settings.seed))
    statistics = channel_statistics(train)
    model = build_model(job.architecture, dataset.spec.num_classes, job.pretraining, settings.seed)
    result_depends_on = {key: value for key, value in asdict(job).items() if key not in {"hardware", "logger", "pool"}}
    keep_checkpoint_of(job.work, plain(result_depends_on))
    module = EnsembleTraining(settings, dataset.spec.num_classes, (job.name,), (model,))
    kept, held = _hold_out(train, settings)
    data = FitData(
        kept, statistics, settings.image_size, settings, job.hardware.num_workers, held, settings.validate_every
    )
    loggers = make_logger(job.logger, job.pool / LOGS / job.name, "muster", job.pool.name, job.name, plain(asdict(job)))
    clock = Clock(progress)
    succeeded = False
    try:
        trainer = fit(module, data, job.work, job.hardware, [clock], loggers)
        succeeded = True
    except TrainingDivergedError:
        (job.work / CHECKPOINT).unlink(missing_ok=True)
        raise
    finally:
        close_loggers(loggers, succeeded)
    if trainer.is_global_zero:
        _finish(job, dataset, train, statistics, module, clock.seconds)


def _hold_out(train: Split, settings: SourceSettings) -> tuple[Split, Split | None]:
    if settings.validation_fraction == 0:
        return train, None
    return train.hold_out(settings.validation_fraction, settings.seed)


def _finish(
    job: MemberJob,
    dataset: Dataset,
    train: Split,
    statistics: ChannelStatistics,
    module: EnsembleTraining,
    seconds: float,
) -> None:
    """Evaluate a trained member, write its folder, and delete what was kept for going on."""
    (model,) = module.members
    assert isinstance(model, Segmenter)
    device = job.hardware.resolved_device()
    model.to(device).eval()
    image_size = job.settings.image_size
    confusion = confusion_matrices(model_predictor(model), dataset.test, statistics, image_size, device)["prediction"]
    card = _card(job, dataset, train, statistics, model, confusion, seconds)
    sample = sample_source(model, train, statistics, image_size, job.settings.seed, device)
    history = pd.DataFrame(module.history)
    write_yaml(job.pool / SPLITS / f"{as_file_name(dataset.spec.name)}.yaml", split_record(dataset))
    write_member(job.folder, model, card, sample, lambda path: history.to_csv(path, index=False))
    shutil.rmtree(job.work)


def _card(
    job: MemberJob,
    dataset: Dataset,
    train: Split,
    statistics: ChannelStatistics,
    model: Segmenter,
    confusion: Tensor,
    seconds: float,
) -> Card:
    spec, settings = dataset.spec, job.settings
    return Card(
        name=job.name,
        dataset=spec.name,
        domain=spec.domain,
        classes=spec.classes,
        seen_datasets=(spec.name,),
        architecture=job.architecture,
        pretraining=job.pretraining,
        mean=statistics.mean,
        std=statistics.std,
        image_size=settings.image_size,
        crop_size=settings.crop_size,
        parameters=model.num_parameters,
        depth=model.depth,
        train_images=len(train),
        test_images=len(dataset.test),
        test_miou=mean_iou(confusion),
        test_ious=class_ious(confusion),
        majority_miou=majority_miou(class_pixel_counts(train, spec.num_classes), confusion),
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        seed=settings.seed,
        training_seconds=round(seconds, 1),
        precision=job.hardware.resolved_precision(),
        licence=spec.licence,
        citation=spec.citation,
        versions=software_versions(),
        checksum="",  # write_member knows it
    )
