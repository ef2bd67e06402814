"""Train one member of a pool, from reading its dataset to the finished folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from pytorch_lightning.loggers import Logger

from muster.data import (
    ContentSketch,
    Dataset,
    ImageSize,
    Preprocessing,
    Split,
    cached,
    channel_statistics,
    open_dataset,
    require_usable,
)
from muster.files import to_builtin_types
from muster.models import Segmenter, build_model
from muster.tasks.source_sample import sample_source
from muster.tracking import LOGS, Run, tracked
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import confusion_matrices, model_predictor
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining
from muster.training.rates import Trials, choose_rates
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.trained_member import images_of, seen_in, source_card, write_trained

MOST_KEPT_BYTES = 1 << 30
"""Training images are kept in memory until they fill this much."""


def train_member(job: MemberJob, progress: Progress) -> None:
    """Train a member, evaluate it, and put it on disk; an interrupted training goes on from its last checkpoint.

    Args:
        job: What to train.
        progress: Told about the course of training.

    Raises:
        TrainingDivergedError: If the loss became infinite or NaN.
        MusterError: If the dataset or the weights to start from cannot be read.
    """
    settings = job.settings
    dataset = open_dataset(job.dataset)
    require_usable(dataset.test)
    train, held = training_images(dataset, settings)
    seen = seen_in(job, [train])
    own = job.own_statistics()
    preprocessing = Preprocessing(own or channel_statistics(train), ImageSize.of(settings.image_size))
    model = build_model(job.architecture, dataset.spec.num_classes, job.start, settings.seed)
    model.adapt_channels(dataset.spec.channels)
    module = EnsembleTraining(settings, dataset.spec.num_classes, (job.name,), (model,))
    data = FitData(
        train,
        preprocessing,
        settings,
        job.hardware.resolved_num_workers(),
        held,
        settings.validate_every,
    )
    clock = Clock(progress)
    with tracked(job.logger, run_of(job, dataset.spec.name)) as loggers:
        if settings.tried_rates:
            _choose_rate(job, module, data, clock)
        keep_checkpoint_of(job.work, job.recipe)
        trainer = fit(module, data, job.work, job.hardware, [clock], loggers)
        _finish(job, dataset, seen, data, module, clock.seconds, trainer.is_global_zero, loggers)


def run_of(job: MemberJob, dataset: str) -> Run:
    """What trackers are told of the training.

    Args:
        job: What is trained.
        dataset: Name of what it is trained on.
    """
    folder = job.pool / LOGS / job.name
    return Run(folder, "train", job.name, job.pool.name, dataset, to_builtin_types(asdict(job)))


def _choose_rate(job: MemberJob, module: EnsembleTraining, data: FitData, clock: Clock) -> None:
    """Find the rate that is best on held-out training images, by fits of their own."""

    def trial(settings: TrainingSettings, names: Sequence[str]) -> EnsembleTraining:  # noqa: ARG001 (there is one)
        model = build_model(job.architecture, module.num_classes, job.start, settings.seed)
        model.adapt_channels(len(data.preprocessing.statistics.mean))
        return EnsembleTraining(settings, module.num_classes, module.names, (model,), trial=True)

    trials = Trials(job.settings, data.train, data.preprocessing, data.num_workers, job.work, {"recipe": job.recipe})
    choice, _ = choose_rates(trials, trial, job.hardware, [clock])
    module.rates, module.stops = choice.chosen, choice.stops


def training_images(
    dataset: Dataset, settings: SourceSettings, max_bytes: int = MOST_KEPT_BYTES
) -> tuple[Split, Split | None]:
    """The images that a source model is trained on, after a look at every mask.

    Args:
        dataset: A source.
        settings: How many of its images, and which of them are held out for the validation curve.
        max_bytes: Images are kept in memory until they fill this much.

    Returns:
        Those to train on, and those held out, if any are.

    Raises:
        DatasetError: If a mask cannot be read, or fewer than two classes have a labelled pixel.
    """
    train, held = cached(dataset.train.subset(settings.train_images, settings.seed), max_bytes), None
    if settings.validation_fraction > 0:
        train, held = train.hold_out(settings.validation_fraction, settings.seed)
    require_usable(train, masks_only=True)
    return train, held


def _finish(
    job: MemberJob,
    dataset: Dataset,
    seen: tuple[ContentSketch, ...],
    data: FitData,
    module: EnsembleTraining,
    seconds: float,
    writes: bool,
    loggers: Sequence[Logger],
) -> None:
    """Evaluate a trained member in all processes; in one write its folder, and delete what was kept for going on."""
    (model,) = module.members
    assert isinstance(model, Segmenter)
    device = job.hardware.resolved_device()
    model.to(device).eval()
    with job.hardware.autocast():
        confusions = confusion_matrices(
            model_predictor(model), dataset.test, data.preprocessing, device, num_workers=data.num_workers
        )
        if not writes:
            return
        images = job.settings.sample_images
        sample = sample_source(model, data.train, data.preprocessing, job.settings.seed, device, images)
    rate = module.rate_of(job.name)
    confusion = confusions["prediction"]
    card = source_card(job, dataset, data.train, data.preprocessing, seen, model, confusion, rate, seconds)
    card = replace(card, steps=module.last_step_of(job.name))
    write_trained(job, module, card, sample, images_of(dataset, data.train, data.validation), loggers)
