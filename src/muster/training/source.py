"""Train one member of a pool, from reading its dataset to the finished folder."""

from __future__ import annotations

from collections.abc import Sequence

from muster.data import open_dataset
from muster.models import build_model
from muster.tasks.task import task_of
from muster.tracking import tracked
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import model_predictor
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.member_job import MemberJob
from muster.training.modules import EnsembleTraining
from muster.training.rates import Trials, choose_rates
from muster.training.settings import TrainingSettings
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
    settings = job.settings
    dataset = open_dataset(job.dataset)
    source = SourceImages.of(job, dataset)
    seen = seen_in(job, [source])
    task = task_of(dataset.spec)
    model = task.fitted(build_model(job.architecture, dataset.spec.num_classes, job.start, settings.seed))
    model.adapt_channels(dataset.spec.channels)
    module = EnsembleTraining(settings, dataset.spec.num_classes, (job.name,), (model,))
    workers = job.hardware.resolved_num_workers()
    data = FitData(source.train, source.preprocessing, settings, workers, source.held, settings.validate_every)
    clock = Clock(progress)
    with tracked(job.logger, run_of(job, dataset.spec.name)) as loggers:
        if settings.tried_rates:
            _choose_rate(job, module, data, clock)
        keep_checkpoint_of(job.work, job.recipe)
        trainer = fit(module, data, job.work, job.hardware, [clock], loggers)
        predictors = [model_predictor(model, task)]
        finish_member(job, [source], seen, module, predictors, clock.seconds, trainer.is_global_zero, loggers)


def _choose_rate(job: MemberJob, module: EnsembleTraining, data: FitData, clock: Clock) -> None:
    """Find the rate that is best on held-out training images, by fits of their own."""

    def trial(settings: TrainingSettings, names: Sequence[str]) -> EnsembleTraining:  # noqa: ARG001 (there is one)
        fresh = build_model(job.architecture, module.num_classes, job.start, settings.seed)
        model = task_of(data.train.spec).fitted(fresh)
        model.adapt_channels(len(data.preprocessing.statistics.mean))
        return EnsembleTraining(settings, module.num_classes, module.names, (model,), trial=True)

    trials = Trials(job.settings, data.train, data.preprocessing, data.num_workers, job.work, {"recipe": job.recipe})
    choice, _ = choose_rates(trials, trial, job.hardware, [clock])
    module.rates, module.stops = choice.chosen, choice.stops
