"""Fine-tune the ensemble head by gradient descent on whole training images, all labelled pixels (A22 5.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from muster.data import PreparedSplit, Split, Views, map_views
from muster.data.views import bytes_of
from muster.models import ImageMap
from muster.ranks import mean_over_ranks, world_size
from muster.tasks.task import Task
from muster.training.checkpoints import keep_checkpoint_of
from muster.training.finetuned_ensemble import Ensemble, EnsembleHead
from muster.training.fitting import fit_steps
from muster.training.hardware import Hardware
from muster.training.modules import TrainingDivergedError, is_finite
from muster.training.optimizers import with_schedule
from muster.training.results import LEARNED_HEAD
from muster.training.settings import HeadSettings

CURVE = f"loss/{LEARNED_HEAD}"

HISTORY_EVERY = 10
"""Steps between two points of the curve."""

KEPT_BYTES = 1 << 30
"""Scores of the frozen members are kept for the next time an image comes, up to this much memory."""

_Item = tuple[int, Views, Tensor]
"""Place of an image in the split, the image as each member wants it, its mask as stored."""


class HeadTraining(pl.LightningModule):
    """The head of an ensemble as what is trained; the members are frozen, and no part of a checkpoint.

    Attributes:
        head: What is trained.
        settings: How.
        history: Points of the curve: ``step``, counted on from the fine-tuning of the members, and the loss.
    """

    def __init__(self, ensemble: Ensemble, settings: HeadSettings, steps_before: int = 0) -> None:
        """Take an ensemble, whose head is changed.

        Args:
            ensemble: In evaluation mode, on the device of the fit.
            settings: See the class.
            steps_before: Steps that its members were fine-tuned for: the curve begins there.
        """
        super().__init__()
        self.task = ensemble.task
        self.head: EnsembleHead = ensemble.head.train()  # Lightning warns of what it finds in evaluation mode
        self.settings, self.steps_before = settings, steps_before
        self.history: list[dict[str, float]] = []
        self._scores = _FrozenScores(ensemble)  # no module, so that Lightning neither moves nor saves the members

    def training_step(self, batch: list[_Item]) -> Tensor:
        """Cross-entropy of the ensemble at all labelled pixels of some images, and the penalty.

        A distributed fit averages gradients over its processes, so each divides by the mean of their pixels.
        """
        total = torch.zeros((), device=self.device)
        for index, image, mask in batch:
            total = total + head_loss(self.task, self.head, self._scores(index, image), mask.to(self.device))
        known = torch.tensor(sum(len(self.task.known_units(mask)[0]) for _, _, mask in batch))
        everywhere = mean_over_ranks(known, self.device).item()
        loss = total / max(1 / world_size(), everywhere)
        if self.global_step % HISTORY_EVERY == 0 or self.global_step + 1 == self.settings.steps:
            self._record(mean_over_ranks(loss.detach().cpu(), self.device).item())
        return loss + self.settings.penalty * distance_from_mean(self.head)

    def _record(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise TrainingDivergedError(
                f"The loss of the ensemble head is {loss} at step {self.global_step}. "
                f"A smaller head.learning_rate than {self.settings.learning_rate} usually helps."
            )
        step = float(self.steps_before + self.global_step)
        self.history.append({"step": step, CURVE: loss})
        self.log_dict({CURVE: loss, "step": step})  # Lightning takes "step" for the place on the axis

    def on_train_end(self) -> None:
        """Refuse weights that the very last step spoilt: no loss was computed with them."""
        if not is_finite(self.head):
            self._record(float("nan"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curve, as plain values."""
        checkpoint["muster_history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curve up again."""
        self.history = list(checkpoint["muster_history"])

    def configure_optimizers(self) -> Any:
        """SGD with momentum, and the schedule of the settings, step by step."""
        chosen = self.settings
        optimizer = torch.optim.SGD(self.head.parameters(), chosen.learning_rate, chosen.momentum)
        return with_schedule(optimizer, chosen.schedule, chosen.steps)


def head_loss(task: Task, head: EnsembleHead, scores: Sequence[ImageMap], truth: Tensor) -> Float[Tensor, ""]:
    """The loss of the ensemble's predictions, summed over the units of an image that have a truth.

    Args:
        task: Says what the loss is; where the truth is a class, minus the logarithm of its probability.
        head: Combines the members.
        scores: The scores of each member, at its own resolution.
        truth: Of the image.

    Returns:
        The sum; 0 if no unit has a truth.
    """
    size = task.places_of(truth)
    maps = [task.predictions(head.adjust(s, each), size, part) for s, (each, part) in enumerate(scores)]
    places, known = task.known_units(truth)
    predictions = torch.stack(maps).mean(dim=0)[0].flatten(1)[:, places]
    return task.unit_losses(task.about_truth(predictions, known), known).sum()


def distance_from_mean(head: EnsembleHead) -> Float[Tensor, ""]:
    """Squared distance of weights and biases from those of the plain mean."""
    return (head.weights - 1).square().sum() + head.biases.square().sum()


def fit_head(
    ensemble: Ensemble,
    train: Split,
    settings: HeadSettings,
    seed: int,
    folder: Path,
    hardware: Hardware,
    loggers: Sequence[Logger] = (),
    steps_before: int = 0,
) -> list[dict[str, float]]:
    """Fine-tune the head of an ensemble; taken up again if it was interrupted.

    The processes of a distributed run share the images of each step. The members look at each image once, as long as
    their scores fit into memory.

    Args:
        ensemble: Its head is changed.
        train: Target training images.
        settings: How to learn.
        seed: The seed of the order of the images.
        folder: Where checkpoints go; created if it is missing.
        hardware: What to compute on.
        loggers: For the Trainer.
        steps_before: See :class:`HeadTraining`.

    Returns:
        The points of the curve.

    Raises:
        TrainingDivergedError: If the loss became infinite or NaN.
    """
    description = {
        "head": asdict(settings),
        "seed": seed,
        "images": train.identifiers,
        "size": ensemble.preprocessing.known_size.setting,
        "members": ensemble.names,
        "weights": _digest(ensemble.members),
    }
    keep_checkpoint_of(folder, description)
    module = HeadTraining(ensemble, settings, steps_before)
    data = _HeadData(PreparedSplit(train, ensemble.preprocessing, owns=ensemble.owns), settings, seed)
    fit_steps(module, data, folder, hardware, settings.steps, loggers)
    ensemble.to(hardware.resolved_device()).eval()  # the head was in training mode
    return module.history


def _digest(members: nn.Module) -> str:
    """One word for all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(members.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _FrozenScores:
    """Scores of the members for an image, kept as long as there is room."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.kept: dict[int, list[ImageMap]] = {}
        self.room = KEPT_BYTES

    def __call__(self, index: int, image: Views) -> list[ImageMap]:
        """Scores of every member, ``[1, c, h, w]`` each, on the device of the members."""
        device = self.ensemble.head.weights.device
        if index in self.kept:
            return [ImageMap(values.to(device), part) for values, part in self.kept[index]]
        maps = self.ensemble.member_maps(map_views(image, lambda view: view[None].to(device)))
        size = sum(each.values.nbytes for each in maps)
        if size <= self.room:
            self.kept[index] = [ImageMap(values.cpu(), part) for values, part in maps]
            self.room -= size
        return maps


class _HeadData(pl.LightningDataModule):
    """Whole images, each once before any comes again; the batch of a step depends on the seed and the step alone."""

    def __init__(self, images: PreparedSplit, settings: HeadSettings, seed: int) -> None:
        super().__init__()
        self.images: Dataset[_Item] = _Kept(images)
        self.settings, self.seed, self.count = settings, seed, len(images)

    def train_dataloader(self) -> DataLoader[list[_Item]]:
        """The steps that are left."""
        trainer = self.trainer
        assert trainer is not None  # Lightning sets it before it asks for loaders
        share = slice(trainer.global_rank, None, trainer.world_size)
        sampler = _WholeImages(self.count, self.settings, self.seed, trainer.global_step, share)
        return DataLoader(self.images, batch_sampler=sampler, collate_fn=_as_they_are)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: list[_Item], device: torch.device, dataloader_idx: int) -> list[_Item]:  # noqa: ARG002
        """Leave images where they are: of most, the members' scores are known already."""
        return batch


class _Kept(Dataset[_Item]):
    """Prepared images, read once."""

    def __init__(self, images: PreparedSplit) -> None:
        self.images = images
        self.kept: dict[int, _Item] = {}
        self.room = KEPT_BYTES

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> _Item:
        item = self.kept.get(position)
        if item is None:
            item = self.images[position]
            size = bytes_of(item[1]) + item[2].nbytes
            if size <= self.room:
                self.kept[position] = item
                self.room -= size
        return item


class _WholeImages(Sampler[list[int]]):
    """Places of this process's images of each step that is left; a step may have none."""

    def __init__(self, count: int, settings: HeadSettings, seed: int, start: int, share: slice) -> None:
        self.count, self.settings, self.seed, self.start, self.share = count, settings, seed, start, share

    def __len__(self) -> int:
        return self.settings.steps  # Lightning counts the steps before an interruption in

    def __iter__(self) -> Iterator[list[int]]:
        batch = self.settings.batch_size
        for step in range(self.start, self.settings.steps):
            yield [self._place(number) for number in range(step * batch, (step + 1) * batch)[self.share]]

    def _place(self, number: int) -> int:
        epoch, position = divmod(number, self.count)
        return int(np.random.default_rng((self.seed % 2**64, epoch)).permutation(self.count)[position])


def _as_they_are(items: list[_Item]) -> list[_Item]:
    return items
