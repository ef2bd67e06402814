"""Train one multi-source member of a pool, from reading its datasets to the finished folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from muster.data import (
    ChannelStatistics,
    Dataset,
    ImageSize,
    Preprocessing,
    Views,
    channel_statistics,
    open_dataset,
    require_usable,
    view_for,
)
from muster.models import Segmenter, build_model, put_source_heads, source_heads, upsample_probabilities
from muster.models.prediction import probabilities_of
from muster.pool import Card, SourceRecord
from muster.tasks.source_sample import sample_sources
from muster.tracking import tracked
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import Predictor, confusion_matrices
from muster.training.fitting import fit
from muster.training.member_job import MemberJob
from muster.training.multi_source_fit import InterleavedData, MultiSourceTraining, SourceImages
from muster.training.source import MOST_KEPT_BYTES, run_of, training_images
from muster.training.trained_member import images_of, seen_in, source_card, write_trained

SEVERAL_DOMAINS = "several domains"
"""The visual domain of a member whose sources do not share one."""


def train_multi_source(job: MemberJob, progress: Progress) -> None:
    """Train a member with a head for each of several datasets; it goes on from its last checkpoint like any other.

    Args:
        job: What to train, with ``datasets``.
        progress: Told about the course of training.

    Raises:
        TrainingDivergedError: If the loss became infinite or NaN.
        MusterError: If a dataset or the weights to start from cannot be read.
    """
    settings = job.settings
    datasets = [open_dataset(reference) for reference in job.datasets]
    sources = [_images(job, dataset) for dataset in datasets]
    model = build_model(job.architecture, 1, job.start, settings.seed)
    model.adapt_channels(datasets[0].spec.channels)
    put_source_heads(model, [dataset.spec.num_classes for dataset in datasets], settings.seed)
    module = MultiSourceTraining(settings, job.name, model, [dataset.spec.name for dataset in datasets])
    data = InterleavedData(sources, settings, job.hardware.resolved_num_workers())
    clock = Clock(progress)
    with tracked(job.logger, run_of(job, joined_name(datasets))) as loggers:
        keep_checkpoint_of(job.work, job.recipe)
        trainer = fit(module, data, job.work, job.hardware, [clock], loggers)
        _finish(job, datasets, data, module, clock.seconds, trainer.is_global_zero, loggers)


def joined_name(datasets: Sequence[Dataset]) -> str:
    """What several datasets are called together.

    Args:
        datasets: In the order of the heads.
    """
    return " + ".join(dataset.spec.name for dataset in datasets)


def _images(job: MemberJob, dataset: Dataset) -> SourceImages:
    """The images of one source, normalised with its own statistics."""
    require_usable(dataset.test)
    train, held = training_images(dataset, job.settings, MOST_KEPT_BYTES // len(job.datasets))
    statistics = job.own_statistics() or channel_statistics(train)
    return SourceImages(train, held, Preprocessing(statistics, ImageSize.of(job.settings.image_size)))


def _finish(
    job: MemberJob,
    datasets: Sequence[Dataset],
    data: InterleavedData,
    module: MultiSourceTraining,
    seconds: float,
    writes: bool,
    loggers: Sequence[Logger],
) -> None:
    """Evaluate each head on its test split in all processes; in one write the member's folder."""
    model, device = module.model, job.hardware.resolved_device()
    model.to(device).eval()
    with job.hardware.autocast():
        confusions = [
            confusion_matrices(
                head_predictor(model, place), dataset.test, source.preprocessing, device, num_workers=data.num_workers
            )["prediction"]
            for place, (dataset, source) in enumerate(zip(datasets, data.sources, strict=True))
        ]
        if not writes:
            return
        shown = [(source.train, source.preprocessing) for source in data.sources]
        sample = sample_sources(model, shown, job.settings.seed, device, job.settings.sample_images)
    card = _card(job, datasets, data, module, confusions, seconds)
    images = {
        dataset.spec.name: images_of(dataset, source.train, source.held)
        for dataset, source in zip(datasets, data.sources, strict=True)
    }
    write_trained(job, module, card, sample, images, loggers)


def head_predictor(model: Segmenter, source: int) -> Predictor:
    """Predict the classes of one source, with its head alone; the only name is ``"prediction"``.

    Args:
        model: With a head for each source, in evaluation mode.
        source: Place of the source.
    """
    heads = source_heads(model)

    @torch.no_grad()
    def predict(views: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        images = view_for(views, model.preprocessing)
        maps = probabilities_of(heads.scores_of(source, model.features(images)))
        return {"prediction": upsample_probabilities(maps, size, model.part_of(images)).argmax(dim=1)}

    return predict


def _card(
    job: MemberJob,
    datasets: Sequence[Dataset],
    data: InterleavedData,
    module: MultiSourceTraining,
    confusions: Sequence[Tensor],
    seconds: float,
) -> Card:
    """One card of what would be one a source."""
    seen = seen_in(job, [source.train for source in data.sources])
    rate = module.rate_of(job.name)
    cards = [
        source_card(job, dataset, source.train, source.preprocessing, seen, module.model, confusion, rate, seconds)
        for dataset, source, confusion in zip(datasets, data.sources, confusions, strict=True)
    ]
    records = tuple(map(_record, cards))
    together = mixed_statistics([source.preprocessing.statistics for source in data.sources])
    domains = {record.domain for record in records}
    return replace(
        cards[0],
        dataset=joined_name(datasets),
        domain=records[0].domain if len(domains) == 1 else SEVERAL_DOMAINS,
        classes=tuple(f"{card.dataset}/{name}" for card in cards for name in card.classes),
        mean=together.mean,
        std=together.std,
        train_images=sum(record.train_images for record in records),
        test_images=sum(record.test_images for record in records),
        test_miou=fmean(record.test_miou for record in records),
        test_ious=tuple(iou for card in cards for iou in card.test_ious),
        majority_miou=fmean(record.majority_miou for record in records),
        licence="",
        citation="",
        sources=records,
    )


def _record(card: Card) -> SourceRecord:
    """What a card says of its source."""
    assert card.train_images is not None  # all of these are known of what muster trains
    assert card.test_images is not None
    assert card.test_miou is not None
    assert card.majority_miou is not None
    return SourceRecord(
        dataset=card.dataset,
        domain=card.domain,
        classes=len(card.classes),
        train_images=card.train_images,
        test_images=card.test_images,
        test_miou=card.test_miou,
        majority_miou=card.majority_miou,
        mean=card.mean,
        std=card.std,
        licence=card.licence,
        citation=card.citation,
    )


def mixed_statistics(statistics: Sequence[ChannelStatistics]) -> ChannelStatistics:
    """Channel means and deviations of several datasets together, each counting alike, as in training.

    Args:
        statistics: Of each.

    Returns:
        Of a pixel of a dataset that is drawn at random; those of the only one as they are.
    """
    if len(statistics) == 1:
        return statistics[0]
    mean = torch.tensor([each.mean for each in statistics], dtype=torch.float64)
    std = torch.tensor([each.std for each in statistics], dtype=torch.float64)
    variance = (std.square() + mean.square()).mean(dim=0) - mean.mean(dim=0).square()
    return ChannelStatistics(tuple(mean.mean(dim=0).tolist()), tuple(variance.sqrt().tolist()))
