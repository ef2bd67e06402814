"""One network taught by an ensemble: it learns the ensemble's probabilities beside the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from muster.data import (
    IMAGE_SUFFIXES,
    Preprocessing,
    Sample,
    Split,
    Views,
    encode_text,
    list_images,
    read_image,
    view_for,
)
from muster.data.plain_texts import listed_texts
from muster.data.spec import RGB
from muster.errors import DatasetError
from muster.models import ImageMap, SourceModel, upsample_probabilities
from muster.tasks.task import task_of
from muster.training.finetuned_ensemble import Ensemble
from muster.training.modules import HISTORY_EVERY, EnsembleTraining
from muster.training.settings import TrainingSettings

UNLABELLED = "unlabelled: "
"""What names of samples without labels begin with, so that they are no names of training samples."""

OPTION = "--unlabelled"
"""What names their place, for messages."""


class Distillation(EnsembleTraining):
    """A network that learns from labels and from what an ensemble says of the same crops.

    The loss is ``label_weight`` times that of the settings against the labels, plus the rest times
    :meth:`muster.tasks.task.Task.soft_loss` against the ensemble's predictions: for classes, the cross-entropy between
    the ensemble's probabilities and the network's. A batch without a labelled unit has the second part only.

    Attributes:
        label_weight: From 0, the ensemble's probabilities alone, to 1, the labels alone.

    Source:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, https://arxiv.org/abs/1503.02531, at
        temperature 1: the probabilities of an ensemble are soft already.
    """

    def __init__(
        self, settings: TrainingSettings, teacher: Ensemble, name: str, student: SourceModel, label_weight: float = 0.5
    ) -> None:
        """Take a network as it is, with a head for the ensemble's classes.

        Args:
            settings: How to train.
            teacher: The ensemble; it is frozen.
            name: What to call the network.
            student: The network.
            label_weight: See the class.
        """
        super().__init__(settings, len(teacher.classes), (name,), (student.train(),))
        self.label_weight = label_weight
        self._teachers = [teacher.requires_grad_(False).eval()]  # in a list, so that no checkpoint holds its weights

    @property
    def owns(self) -> tuple[Preprocessing | None, ...]:
        """How the network and the ensemble's members want their images."""
        return (*super().owns, *self._teachers[0].owns)

    def on_fit_start(self) -> None:
        """Bring the ensemble where the network is."""
        self._teachers[0].to(self.device)

    def training_step(self, batch: tuple[Views, Tensor]) -> Tensor:  # type: ignore[override]  # of no frozen member
        """Loss against labels and ensemble."""
        images, masks = batch
        ((_, student),) = self.models.items()
        view = view_for(images, student.preprocessing)
        maps = ImageMap(student(view), student.part_of(view))
        places = self.of_task.places_of(masks)
        wanted = self._teachers[0](images, places)
        loss = self.of_task.soft_loss(upsample_probabilities(maps.values.float(), places, maps.part), wanted)
        if bool(self.of_task.is_known(masks).any()):
            loss = self.label_weight * self._loss_of(maps, masks) + (1 - self.label_weight) * loss
        if self.global_step % HISTORY_EVERY == 0 or self.global_step + 1 == self.last_step:
            self._record([loss])
        return loss


@dataclass(frozen=True)
class _WithUnlabelled:
    """Reads labelled samples as ever, and others as samples of which nothing is known: image files, and texts."""

    labelled: Split
    others: Mapping[str, Path | str]

    def __call__(self, identifier: str) -> Sample:
        if identifier not in self.others:
            return self.labelled.read(identifier)
        other, task = self.others[identifier], task_of(self.labelled.spec)
        image = encode_text(other, identifier) if isinstance(other, str) else read_image(other)
        if task.is_pooled:
            return Sample(identifier, image, task.without_truth(self.labelled.mask(0)))
        return Sample(identifier, image, task.without_truth(torch.zeros(image.shape[1:], dtype=torch.uint8)))


def with_unlabelled(train: Split, place: Path) -> Split:
    """Training samples and samples without labels, as one split.

    Args:
        train: The labelled ones.
        place: A folder of image files; for texts what :func:`muster.data.plain_texts.listed_texts` takes.

    Returns:
        The labelled ones first.

    Raises:
        DatasetError: If there is nothing in the place, or the training images are not RGB.
    """
    found: Mapping[str, Path | str] = listed_texts(place, OPTION) if train.spec.has_texts else _images(train, place)
    others = {f"{UNLABELLED}{name}": other for name, other in found.items()}
    read = _WithUnlabelled(train, others)
    return replace(train, identifiers=(*train.identifiers, *others), read=read, read_mask=None, content=None)


def _images(train: Split, folder: Path) -> dict[str, Path]:
    if train.spec.channels != RGB:
        raise DatasetError(
            f"{OPTION}: its images are read as RGB, but those of {train.spec.name} have {train.spec.channels} "
            "channel(s). Leave it out."
        )
    found = list_images(folder, IMAGE_SUFFIXES)
    if not found:
        raise DatasetError(f"{OPTION}: {folder} holds no image. Give a folder of image files.")
    return found
