"""The reference model that RSA and DDS compare with: a network trained on the images that members look at."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from muster.data import Preprocessing, Split
from muster.errors import ConfigError, PretrainingError
from muster.files import sha256_once
from muster.models import SourceModel, build_model, weights_file
from muster.models.pretraining.scheme import SCHEMES
from muster.pool import Member
from muster.probe import ProbeCache
from muster.ranks import world_size
from muster.tasks.task import task_of
from muster.training.clock import Clock, Progress
from muster.training.finished import digest_of
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings

NAME = "reference"

_FORMAT_VERSION = 1
"""Part of every key: raise it when the same inputs are to give another model."""

_PASSES, _FEWEST_STEPS, _MOST_STEPS, _BATCH = 40, 100, 1000, 16


def steps_for(images: int) -> int:
    """Steps of the training on so many images."""
    return min(_MOST_STEPS, max(_FEWEST_STEPS, math.ceil(_PASSES * images / _BATCH)))


def training_for(images: int, seed: int, loss: str) -> TrainingSettings:
    """How a reference model is trained: AdamW for 40 passes over the images, at least 100 and at most 1000 steps.

    Args:
        images: How many there are.
        seed: Of the head, the order and the augmentation.
        loss: Name of the loss.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", 2021, section 3.2, has a
        model trained on all of the target, by a recipe that it does not tell; this one is chosen.
    """
    steps = steps_for(images)
    return TrainingSettings(
        steps=steps, batch_size=_BATCH, learning_rate=1e-3, optimizer="adamw", weight_decay=0.01, warmup_steps=0.05,
        schedule="cosine", clip_norm=1.0, loss=loss, checkpoint_every=steps, seed=seed,
    )  # fmt: skip


def starting_member(members: Sequence[Member]) -> Member:
    """The member whose network the reference has: the deepest, of equals the largest, of these the first.

    Args:
        members: Candidates, at least one.

    Source:
        Bolya et al. (2021), table 1: ResNet-50 as reference agrees far better with results than AlexNet.
    """
    return max(members, key=lambda member: (member.card.depth, member.card.parameters))


def starts_afresh(member: Member) -> bool:
    """Whether the reference starts where the training of a member started, and not from the member's own weights.

    So it does for a network of muster's own whose pre-training is at hand, the very file where it was one: no source is
    then nearer to it than another.
    """
    card = member.card
    if card.is_adopted or card.blueprint is not None or not any(each.takes(card.pretraining) for each in SCHEMES):
        return False
    if card.pretraining == "none":
        return True
    try:
        file = weights_file(card.architecture, card.pretraining)
    except PretrainingError:  # it was there when the member was trained
        return False
    return file is not None and card.started_from.get("sha256") in {None, sha256_once(file)}


def reference_model(
    start: Member,
    train: Split,
    preprocessing: Preprocessing,
    hardware: Hardware,
    seed: int = 0,
    cache: ProbeCache | None = None,
    progress: Progress | None = None,
    training: Callable[[int, int, str], TrainingSettings] = training_for,
) -> SourceModel:
    """Train the reference model, or take it from the cache.

    Args:
        start: Says which network, see :func:`starting_member`; used for the target.
        train: The target images that metrics look at, with their truths.
        preprocessing: How images are shown to networks without a preprocessing of their own.
        hardware: What to compute on.
        seed: Of the head, the order and the augmentation.
        cache: Where the weights are kept, by all that they depend on.
        progress: Told the number of steps done and the latest loss.
        training: How to train, of images, seed and loss.

    Returns:
        The network in evaluation mode, on the hardware's device.

    Raises:
        ConfigError: In a distributed run.
        TrainingDivergedError: If the loss became infinite or NaN.
    """
    task = task_of(train.spec)
    settings = training(len(train), seed, "scores" if "scores" in task.losses else task.losses[0])
    model = _network(start, train, seed)
    key = _key(start, train, preprocessing, hardware, settings)
    found = None if cache is None else cache.get_tensors(key)
    if found is None or not _fits(model, found):
        _train(model, train, preprocessing, hardware, settings, progress)
        if cache is not None:
            cache.put_tensors(key, model.state_dict())
    else:
        model.load_state_dict(dict(found))
    return model.to(hardware.resolved_device()).eval()


def _network(start: Member, train: Split, seed: int) -> SourceModel:
    """The network with a new head, before it is trained."""
    card, classes = start.card, train.spec.num_classes
    if not starts_afresh(start):
        model = start.used_for(train.spec).load_model()  # the target's own task, not as a selection sees it
        model.replace_head(classes, seed)
        return model
    fresh = build_model(card.architecture, classes, card.pretraining, seed)
    fresh.preprocessing = card.preprocessing
    fresh.adapt_channels(train.spec.channels)
    return task_of(train.spec).fitted(fresh)


def _train(
    model: SourceModel,
    train: Split,
    preprocessing: Preprocessing,
    hardware: Hardware,
    settings: TrainingSettings,
    progress: Progress | None,
) -> None:
    if world_size() > 1:
        raise ConfigError(
            "reference: a reference model is trained by one process, and this run has several. Give the folder of a "
            "member that was trained on the target, or run one process."
        )
    module = EnsembleTraining(settings, train.spec.num_classes, (NAME,), (model,))
    data = FitData(train, preprocessing, settings, hardware.resolved_num_workers())
    with TemporaryDirectory(prefix="muster-") as folder, torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model.train()  # a pool hands its models over in evaluation mode
        fit(module, data, Path(folder), hardware, [Clock(progress or _nothing)])


def _fits(model: SourceModel, tensors: Mapping[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == tensors.keys() and all(own[name].shape == value.shape for name, value in tensors.items())


def _key(
    start: Member, train: Split, preprocessing: Preprocessing, hardware: Hardware, settings: TrainingSettings
) -> str:
    """A name for everything that the weights depend on."""
    card, images = start.card, hashlib.sha256()
    for sample in train:
        for values in (sample.image, sample.mask):
            images.update(repr((values.dtype, tuple(values.shape))).encode() + values.contiguous().numpy().tobytes())
    begins: dict[str, Any] = {"architecture": card.architecture}
    if starts_afresh(start):
        file = weights_file(card.architecture, card.pretraining)
        begins |= {"pretraining": card.pretraining, "started_from": card.started_from, "file": str(file or "")}
    else:
        begins["weights"] = start.verified_checksum()
    return digest_of(
        {
            "reference": _FORMAT_VERSION,
            "begins": begins,
            "task": train.spec.task,
            "classes": train.spec.classes,
            "images": images.hexdigest(),
            "preprocessing": asdict(preprocessing.seen_by(card.preprocessing)),
            "settings": asdict(settings),
            "device": hardware.resolved_device(),
            "precision": hardware.resolved_precision(),
        }
    )


def _nothing(done: int, loss: float) -> None:
    """Tell nobody how far the training is."""
