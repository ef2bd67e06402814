"""Train one member of a pool, from reading its dataset to the finished folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from muster.data import DatasetSpec, open_dataset
from muster.models import SourceModel, build_model
from muster.tasks.task import task_of
from muster.tracking import tracked
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import model_predictor
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.rates import RateChoice, Trials, choose_rates
from muster.training.settings import SourceSettings, TrainingSettings
from muster.training.source_images import SourceImages
from muster.training.trained_member import finish_member, run_of, seen_in


def train_member(job: MemberJob, progress: Progress) -> None:
    """Train a member, evaluate it, and put it on disk; an interrupted training goes on from its last checkpoint.

    Args:
        job: What to train.
        progress: Told about the course of training.

    Raises:
        TrainingDivergedError: If the loss became infinite or NaN.
        MusterError: If the dataset or the weights to start from cannot be read.
    """
    dataset = open_dataset(job.dataset)
    source = SourceImages.of(job, dataset)
    seen = seen_in(job, [source])
    task = task_of(dataset.spec)
    clock = Clock(progress)
    with tracked(job.logger, run_of(job, dataset.spec.name)) as loggers:
        chosen = _choose(job, source, clock) if job.settings.tried_rates else _nothing_to_choose(job.settings)
        model = _fresh(job, dataset.spec)
        module = EnsembleTraining(chosen.settings, dataset.spec.num_classes, (job.name,), (model,))
        module.rates, module.stops = chosen.rates, chosen.stops
        keep_checkpoint_of(job.work, job.recipe)
        trainer = fit(module, _data(job, source, chosen.settings), job.work, job.hardware, [clock], loggers)
        predictors = [model_predictor(model, task)]
        finish_member(job, [source], seen, module, predictors, clock.seconds, trainer.is_global_zero, loggers)


class _Chosen(NamedTuple):
    """How the last fit of a member is done.

    Attributes:
        settings: With one number of steps.
        rates: The member's rate, if it was chosen.
        stops: After how many of the steps it ends, likewise.
    """

    settings: SourceSettings
    rates: dict[str, float]
    stops: dict[str, int]


def _nothing_to_choose(settings: SourceSettings) -> _Chosen:
    return _Chosen(settings.of_steps(settings.all_step_counts[0]), {}, {})


def _fresh(job: MemberJob, spec: DatasetSpec) -> SourceModel:
    """The member before its training."""
    seed = job.settings.seed
    model = task_of(spec).fitted(build_model(job.architecture, spec.num_classes, job.start, seed), seed)
    model.adapt_channels(spec.channels)
    return model


def _data(job: MemberJob, source: SourceImages, settings: SourceSettings) -> FitData:
    workers = job.hardware.resolved_num_workers()
    return FitData(source.train, source.preprocessing, settings, workers, source.held, settings.validate_every)


def _choose(job: MemberJob, source: SourceImages, clock: Clock) -> _Chosen:
    """Find the number of steps and the rate that are best on held-out training images, by fits of their own.

    Of equally good numbers of steps the first is taken.
    """
    spec = source.dataset.spec

    def trial(settings: TrainingSettings, names: Sequence[str]) -> EnsembleTraining:  # noqa: ARG001 (there is one)
        return EnsembleTraining(settings, spec.num_classes, (job.name,), (_fresh(job, spec),), trial=True)

    choices: dict[int, RateChoice] = {}
    before, diverged = 0, None
    for trials in _trials_of(job, source):
        try:
            choices[trials.settings.steps], _ = choose_rates(
                replace(trials, steps_before=before), trial, job.hardware, [clock]
            )
        except TrainingDivergedError as error:  # another number of steps may do
            diverged = error
        before += trials.settings.steps * len(trials.all_rates)
    if diverged is not None and not choices:
        raise diverged
    best = max(choices, key=lambda steps: choices[steps].best_of(job.name))
    return _Chosen(job.settings.of_steps(best), choices[best].chosen, choices[best].stops)


def _trials_of(job: MemberJob, source: SourceImages) -> Iterator[Trials]:
    """The fits with each number of steps; where there are several, those of each keep a folder of their own."""
    counts, workers, rates = job.settings.all_step_counts, job.hardware.resolved_num_workers(), job.settings.tried_rates
    for steps in counts:
        one = len(counts) == 1
        folder = job.work if one else job.work / f"steps-{steps}"
        described = {"recipe": job.recipe} | ({} if one else {"steps": steps})
        settings = job.settings.of_steps(steps)
        yield Trials(settings, source.train, source.preprocessing, workers, folder, described, rates=rates)
