"""Choose each member's learning rate on images held out from training (A22 B and M21: the best of three).

Members share no parameter, so one fit tries a rate for all of them, and each takes the rate that was best for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from muster.data import Preprocessing, Split, prepared_images, view_for
from muster.errors import DatasetError
from muster.files import to_builtin_types
from muster.models import upsample_probabilities
from muster.ranks import rank, sum_over_ranks, world_size
from muster.tasks.segmentation import confusion_of, mean_iou
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.clock import Clock
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining, TrainingDivergedError, is_finite
from muster.training.settings import TrainingSettings


@dataclass(frozen=True)
class RateChoice:
    """Which rate each member is trained with, and why.

    Attributes:
        chosen: By member.
        held_out: By member, the mIoU of each rate on the held-out images, ``None`` where the member diverged.
        images: Number of held-out images.
    """

    chosen: dict[str, float]
    held_out: dict[str, dict[float, float | None]]
    images: int


@dataclass(frozen=True)
class Trials:
    """What the fits of a search have in common.

    Attributes:
        settings: With the rates to choose from.
        train: Training images, of which some are held out.
        preprocessing: How images are shown.
        num_workers: Processes that read and augment.
        folder: The fit of each rate keeps its checkpoint in a folder of its own below.
        depends_on: What the results depend on besides, in plain values, so that a checkpoint of another run is not
            taken up.
    """

    settings: TrainingSettings
    train: Split
    preprocessing: Preprocessing
    num_workers: int
    folder: Path
    depends_on: Mapping[str, Any]


def choose_rates(
    trials: Trials,
    make_module: Callable[[TrainingSettings, Sequence[str]], EnsembleTraining],
    hardware: Hardware,
    callbacks: Sequence[Callback] = (),
) -> tuple[RateChoice, tuple[str, ...]]:
    """Fit once with each rate on the images that are kept, and compare on those held out.

    Every process of a distributed run takes part, and chooses the same. Interrupted, it goes on from the last
    checkpoint of the rate at hand; the fits before it are looked at again, not done again.

    Args:
        trials: What to fit, and on what.
        make_module: Makes a module with fresh members for a trial, given its settings and the members' names; without
            names, one without members is wanted if a callback is to choose them.
        hardware: What to compute on.
        callbacks: For each fit.

    Returns:
        The choice, and the members' names. Of rates that reach the same the smallest is taken.

    Raises:
        TrainingDivergedError: If a member diverged at every rate.
        DatasetError: If too few images are there to hold some out, or the held-out ones have no labelled pixel.
    """
    settings = trials.settings
    kept, held = trials.train.hold_out(settings.held_out_fraction, settings.seed)
    names: tuple[str, ...] = ()
    mious: dict[str, dict[float, float | None]] = {}
    for number, rate in enumerate(settings.learning_rates):
        with_rate = _with_rate(settings, rate)
        module = make_module(with_rate, names)
        folder = trial_folder(trials.folder, rate)
        described = {**trials.depends_on, "rate": rate, "kept": kept.identifiers, "held_out": held.identifiers}
        keep_checkpoint_of(folder, to_builtin_types(described))
        data = FitData(kept, trials.preprocessing, with_rate, trials.num_workers)
        begin_fit(callbacks, number * settings.steps)
        fit(module, data, folder, hardware, callbacks)
        names = module.names
        with hardware.autocast():
            found = held_out_mious(module, held, trials, hardware.resolved_device())
        for name, value in found.items():
            mious.setdefault(name, {})[rate] = value
    begin_fit(callbacks, len(settings.learning_rates) * settings.steps)
    chosen = {name: _best(name, values) for name, values in mious.items()}
    return RateChoice(chosen, mious, len(held)), names


def trial_folder(parent: Path, rate: float) -> Path:
    """Where the fit that tries a rate keeps its checkpoint."""
    return parent / f"rate-{rate!r}"


def _with_rate(settings: TrainingSettings, rate: float) -> TrainingSettings:
    known = {name: getattr(settings, name) for name in TrainingSettings.__dataclass_fields__}
    return TrainingSettings(**{**known, "learning_rate": rate, "learning_rates": ()})


def begin_fit(callbacks: Sequence[Callback], steps_before: int) -> None:
    """Tell the clocks among the callbacks that the next of several fits begins.

    Args:
        callbacks: The callbacks of all these fits.
        steps_before: Steps of the fits before.
    """
    for callback in callbacks:
        if isinstance(callback, Clock):
            callback.begin_fit(steps_before)


@torch.no_grad()
def held_out_mious(
    module: EnsembleTraining, held: Split, trials: Trials, device: torch.device | str
) -> dict[str, float | None]:
    """Evaluate every member on held-out images; the processes of a distributed run share them, and all know the result.

    Args:
        module: Fitted.
        held: The images.
        trials: Says how they are prepared.
        device: Where to compute.

    Returns:
        mIoU by member, ``None`` for one that diverged.

    Raises:
        DatasetError: If the images have no labelled pixel.
    """
    module.to(device).eval()
    classes = held.spec.num_classes
    matrices = torch.zeros(len(module.names), classes, classes, dtype=torch.int64)
    share = range(rank(), len(held), world_size())  # which may be empty
    owns = [model.preprocessing for model in module.models.values()]
    for batch in prepared_images(held, trials.preprocessing, indices=share, owns=owns):
        for index, member in enumerate(module.models.values()):
            maps = member.predict(view_for(batch.images, member.preprocessing).to(device))
            for place, mask in enumerate(batch.masks):
                full = upsample_probabilities(maps[place : place + 1], (mask.shape[0], mask.shape[1]))[0]
                matrices[index] += confusion_of(full.argmax(dim=0).cpu(), mask, classes)
    matrices = sum_over_ranks(matrices, torch.device(device))
    if matrices.sum() == 0:
        raise DatasetError(
            f"The {len(held)} training images of dataset {held.spec.name!r} held out to choose a learning rate by "
            "have no labelled pixel. Give a larger held_out_fraction, another seed, or a single learning_rate."
        )
    module.train()
    # The checkpoint of a finished trial does not say which members diverged.
    return {
        name: None if name in module.diverged or not is_finite(member) else mean_iou(matrix)
        for name, member, matrix in zip(module.names, module.members, matrices, strict=True)
    }


def _best(name: str, mious: Mapping[float, float | None]) -> float:
    """The rate with the largest mIoU."""
    sound = {rate: value for rate, value in mious.items() if value is not None}
    if not sound:
        tried = ", ".join(f"{rate:g}" for rate in mious)
        raise TrainingDivergedError(f"{name!r} diverged at every rate ({tried}). Give smaller learning_rates.")
    return max(sound, key=lambda rate: (sound[rate], -rate))
