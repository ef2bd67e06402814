"""Train one multi-source member of a pool, from reading its datasets to the finished folder."""

from __future__ import annotations

import torch
from torch import Tensor

from muster.data import Views, open_dataset, view_for
from muster.models import SourceModel, build_model, put_source_heads, source_heads
from muster.tasks.task import Task, task_of
from muster.tracking import tracked
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock, Progress
from muster.training.evaluation import Predictor
from muster.training.fitting import fit
from muster.training.member_job import MemberJob
from muster.training.multi_source_card import joined_name
from muster.training.multi_source_fit import InterleavedData, MultiSourceTraining
from muster.training.source_images import SourceImages
from muster.training.trained_member import finish_member, run_of, seen_in


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
    task = task_of(datasets[0].spec)
    sources = [SourceImages.of(job, dataset) for dataset in datasets]
    seen = seen_in(job, sources)
    network = build_model(job.architecture, 1, job.start, settings.seed)
    network.adapt_channels(datasets[0].spec.channels)
    put_source_heads(network, [dataset.spec.num_classes for dataset in datasets], settings.seed)
    model = task.fitted(network)
    names = [dataset.spec.name for dataset in datasets]
    module = MultiSourceTraining(settings, job.name, model, names)
    data = InterleavedData(sources, settings, job.hardware.resolved_num_workers())
    clock = Clock(progress)
    with tracked(job.logger, run_of(job, joined_name(names))) as loggers:
        keep_checkpoint_of(job.work, job.recipe)
        trainer = fit(module, data, job.work, job.hardware, [clock], loggers)
        predictors = [head_predictor(model, place, task) for place in range(len(datasets))]
        finish_member(job, sources, seen, module, predictors, clock.seconds, trainer.is_global_zero, loggers)


def head_predictor(model: SourceModel, source: int, task: Task) -> Predictor:
    """Predict the classes of one source, with its head alone; the only name is ``"prediction"``.

    Args:
        model: With a head for each source, in evaluation mode.
        source: Place of the source.
        task: Says what is made of probabilities.
    """
    heads = source_heads(model)

    @torch.no_grad()
    def predict(views: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        images = view_for(views, model.preprocessing)
        scores = heads.scores_of(source, model.features(images))
        return {"prediction": task.decide(task.predictions(scores, size, model.part_of(images)))}

    return predict
