"""Train one member of a pool, from reading its dataset to the finished folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning.loggers import Logger
from torch import Tensor

from muster.data import (
    ChannelStatistics,
    ContentSketch,
    Dataset,
    ImageSize,
    Preprocessing,
    Split,
    cached,
    channel_statistics,
    class_pixel_counts,
    content_prefixes,
    open_dataset,
    require_usable,
    split_record,
)
from muster.files import sha256_once, to_builtin_types, write_yaml
from muster.models import Segmenter, build_model, pretraining_statistics, weights_file
from muster.pool import CARD, HISTORY, MEMBERS, Card, Member, software_versions, write_member
from muster.tasks.segmentation import class_ious, majority_miou, mean_iou
from muster.tasks.source_sample import sample_source
from muster.tracking import LOGS, Content, Run, send, tracked
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import confusion_matrices, model_predictor
from muster.training.finished import digest_of
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.rates import Trials, choose_rates
from muster.training.settings import SourceSettings, TrainingSettings

WORK = "work"
"""The folder of a pool below which unfinished members lie."""

SPLITS = "splits"
"""The folder of a pool that says, member by member, which images were used for what."""


_LATER = {
    "learning_rates": (),
    "held_out_fraction": 0.2,
    "tried_stops": 1,
    "loss": "scores",
    "sample_images": None,
    "normalisation": "source",
    "optimizer": "sgd",
    "warmup_steps": 0,
    "layer_decay": 1.0,
    "clip_norm": None,
    "ema_decay": None,
    "added_loss": "none",
    "added_loss_weight": 1.0,
    "label_smoothing": 0.0,
    "class_weighting": "none",
    "colour_jitter": 0.0,
    "adapt": "full",
    "lora_rank": 8,
}
"""Settings that recipes have been given since the first release: the usual values leave a recipe what it was."""


_NO_RECIPE = {"hardware", "logger", "pool", "weights"}
"""What the weights of a member do not depend on; of a file that it starts from the content counts, not the place."""


@dataclass(frozen=True)
class MemberJob:
    """Everything a worker process must know to train one member.

    Attributes:
        name: The name of the member.
        pool: Folder of the pool.
        dataset: What :func:`muster.data.open_dataset` opens.
        architecture: What :func:`muster.models.build_model` builds.
        pretraining: What to start from; with ``weights`` a word for what they have learned.
        settings: How to train.
        hardware: What to compute on.
        logger: Kinds of loggers that curves go to besides the member's ``history.csv``.
        weights: The file that the pre-training is in, where a plan names one for an architecture.
    """

    name: str
    pool: Path
    dataset: str
    architecture: str
    pretraining: str
    settings: SourceSettings
    hardware: Hardware
    logger: tuple[str, ...] = ("csv",)
    weights: Path | None = None

    @property
    def start(self) -> str:
        """The pre-training as :func:`muster.models.build_model` takes it."""
        return self.pretraining if self.weights is None else str(self.weights)

    @property
    def recipe(self) -> dict[str, Any]:
        """What the member's weights depend on, in plain values, the weights that it starts from included."""
        asked = {key: value for key, value in asdict(self).items() if key not in _NO_RECIPE}
        path = weights_file(self.architecture, self.start)
        asked["settings"] = {key: value for key, value in asked["settings"].items() if _LATER.get(key, ...) != value}
        mapping: dict[str, Any] = to_builtin_types(asked | ({} if path is None else {"starts_from": sha256_once(path)}))
        return mapping

    @property
    def recipe_hash(self) -> str:
        """One word for the recipe."""
        return digest_of(self.recipe)

    @property
    def verb(self) -> str:
        """What is done to have the member."""
        return "train"

    def other_way(self, card: Card) -> str:
        """How a member of this name was trained, if not as is now asked for.

        Args:
            card: The member's.

        Returns:
            The end of the sentence "kept the member, ..."; empty if nothing is known to differ.
        """
        names = ("batch_size", "schedule", "seed")
        asked: dict[str, object] = {name: getattr(self.settings, name) for name in names}
        asked |= {"architecture": self.architecture, "image_size": ImageSize.of(self.settings.image_size).setting}
        if not self.settings.tried_rates:  # otherwise the card has the one that was chosen
            asked["learning_rate"] = self.settings.initial_rate
        if self.settings.tried_stops == 1:  # likewise
            asked["steps"] = self.settings.steps
        other = {name: getattr(card, name) for name, value in asked.items() if getattr(card, name) != value}
        if other:
            return "trained with " + ", ".join(f"{name} {value} (now {asked[name]})" for name, value in other.items())
        return "trained in another way" if card.recipe and card.recipe != self.recipe_hash else ""

    def own_statistics(self) -> ChannelStatistics | None:
        """What the member's images are always normalised with; ``None`` for the statistics of each dataset.

        Raises:
            ConfigError: If those of its pre-training are asked for, but are not known.
        """
        if self.settings.normalisation == "source":
            return None
        return pretraining_statistics(self.architecture, self.start)

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
        TrainingDivergedError: If the loss became infinite or NaN.
        MusterError: If the dataset or the weights to start from cannot be read.
    """
    settings = job.settings
    dataset = open_dataset(job.dataset)
    require_usable(dataset.test)
    train, held = _hold_out(cached(dataset.train.subset(settings.train_images, settings.seed)), settings)
    require_usable(train, masks_only=True)
    seen = _seen(job, train)
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
    with tracked(job.logger, _run(job, dataset)) as loggers:
        if settings.tried_rates:
            _choose_rate(job, module, data, clock)
        keep_checkpoint_of(job.work, job.recipe)
        trainer = fit(module, data, job.work, job.hardware, [clock], loggers)
        _finish(job, dataset, seen, data, module, clock.seconds, trainer.is_global_zero, loggers)


def _run(job: MemberJob, dataset: Dataset) -> Run:
    """What trackers are told of the training."""
    folder = job.pool / LOGS / job.name
    return Run(folder, "train", job.name, job.pool.name, dataset.spec.name, to_builtin_types(asdict(job)))


def _choose_rate(job: MemberJob, module: EnsembleTraining, data: FitData, clock: Clock) -> None:
    """Find the rate that is best on held-out training images, by fits of their own."""

    def trial(settings: TrainingSettings, names: Sequence[str]) -> EnsembleTraining:  # noqa: ARG001 (there is one)
        model = build_model(job.architecture, module.num_classes, job.start, settings.seed)
        model.adapt_channels(len(data.preprocessing.statistics.mean))
        return EnsembleTraining(settings, module.num_classes, module.names, (model,), trial=True)

    trials = Trials(job.settings, data.train, data.preprocessing, data.num_workers, job.work, {"recipe": job.recipe})
    choice, _ = choose_rates(trials, trial, job.hardware, [clock])
    module.rates, module.stops = choice.chosen, choice.stops


def _hold_out(train: Split, settings: SourceSettings) -> tuple[Split, Split | None]:
    if settings.validation_fraction == 0:
        return train, None
    return train.hold_out(settings.validation_fraction, settings.seed)


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
    card = _card(job, dataset, seen, data, model, confusions["prediction"], rate, seconds)
    card = replace(card, steps=module.last_step_of(job.name))
    history = pd.DataFrame(module.history)
    held = [] if data.validation is None else list(data.validation.identifiers)
    record = {**split_record(dataset), "train": list(data.train.identifiers), "validation": held}
    write_yaml(job.pool / SPLITS / f"{job.name}.yaml", record)
    write_member(job.folder, model, card, sample, lambda path: history.to_csv(path, index=False))
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


def _seen(job: MemberJob, train: Split) -> tuple[ContentSketch, ...]:
    """The source, and what the member that training started from had seen: its card lies beside its weights."""
    source = ContentSketch.of(train.spec.name, content_prefixes(train))
    path = weights_file(job.architecture, job.start)
    if path is None or not (path.parent / CARD).is_file():
        return (source,)
    return tuple(dict.fromkeys((source, *Member.open(path.parent).card.seen)))


def _card(
    job: MemberJob,
    dataset: Dataset,
    seen: tuple[ContentSketch, ...],
    data: FitData,
    model: Segmenter,
    confusion: Tensor,
    learning_rate: float,
    seconds: float,
) -> Card:
    spec, settings, train = dataset.spec, job.settings, data.train
    rows, columns = settings.crop_for(data.preprocessing.known_size)
    own = job.own_statistics()
    return Card(
        name=job.name,
        dataset=spec.name,
        domain=spec.domain,
        classes=spec.classes,
        seen_datasets=tuple(dict.fromkeys(sketch.dataset for sketch in seen)),
        architecture=job.architecture,
        pretraining=job.pretraining,
        mean=data.preprocessing.statistics.mean,
        std=data.preprocessing.statistics.std,
        image_size=data.preprocessing.known_size.setting,
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
