"""Fits of heads alone: each image's features are computed once, and once for its mirror image, and kept.

Axis names: ``b`` images, ``channels`` of a feature map, ``y`` and ``x`` its rows and columns, ``h`` and ``w`` those of
a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from muster.data import Preprocessing, Split, TrainingStream, as_numbers, make_loader, prepare_image
from muster.data.resizing import resized
from muster.models import SourceModel
from muster.models.padding import without_padding
from muster.ranks import largest_over_ranks
from muster.tasks.task import task_of
from muster.training.fit_data import FitData
from muster.training.settings import TrainingSettings

KEPT_BYTES = 2 << 30
"""Features are kept until they fill this much memory; the others are computed each time."""

_MIRROR = 2
"""Keeps this use of a seed apart from those of :mod:`muster.data.stream`."""


class FrozenFeatures:
    """Features of frozen members for whole images as they are and mirrored, kept as long as there is room.

    They depend on the member and the image alone, so the fits of one run share them.
    """

    def __init__(self, room: int = KEPT_BYTES) -> None:
        """Keep nothing yet.

        Args:
            room: Bytes to fill.
        """
        self._kept: dict[tuple[str, str, bool], Tensor] = {}
        self._room = room

    @torch.no_grad()
    def of(
        self, name: str, model: SourceModel, split: Split, place: int, mirrored: bool, shown: Preprocessing
    ) -> Float[Tensor, "channels y x"]:
        """The map that the head of a member reads.

        Args:
            name: Of the member.
            model: It; in evaluation mode.
            split: Where the image is from.
            place: Which of its images.
            mirrored: Whether left and right are exchanged.
            shown: How images are shown to members without a preprocessing of their own.

        Returns:
            On the device of the model.
        """
        key = (name, split.identifiers[place], mirrored)
        found = self._kept.get(key)
        if found is None:
            image = split[place].image.to(model.device)
            prepared = prepare_image(image, shown.seen_by(model.preprocessing))
            shown_so = (prepared.flip(-1) if mirrored else prepared)[None]
            found = without_padding(model.features(shown_so).float(), model.part_of(shown_so))[0].cpu()
            if found.nbytes <= self._room:
                self._room -= found.nbytes
                self._kept[key] = found
        return found.to(model.device)


@dataclass(frozen=True, eq=False)
class FrozenBatch:
    """Some images by their places, whose features are looked up.

    Attributes:
        data: Where they are from.
        places: Which images of its split.
        mirrored: Whether each is mirrored.
    """

    data: FrozenData
    places: tuple[int, ...]
    mirrored: tuple[bool, ...]

    def features(self, name: str, model: SourceModel) -> Float[Tensor, "b channels y x"]:
        """Features of one member for all images; maps are brought to the size of the largest of the step.

        Args:
            name: Of the member.
            model: It.
        """
        data = self.data
        maps = [
            data.features.of(name, model, data.train, place, mirrored, data.preprocessing)
            for place, mirrored in zip(self.places, self.mirrored, strict=True)
        ]
        size = _largest([each.shape[-2:] for each in maps], maps[0].device)
        # A linear head of interpolated features gives what interpolation makes of its scores.
        return torch.cat(
            [each[None] if each.shape[-2:] == size else interpolate(each[None], size, mode="bilinear") for each in maps]
        )


class FrozenData(FitData):
    """Whole images, every other one mirrored, in the order in which crops would come; nothing else is random.

    Attributes:
        features: Of the members.
    """

    def __init__(
        self,
        train: Split,
        preprocessing: Preprocessing,
        settings: TrainingSettings,
        features: FrozenFeatures,
    ) -> None:
        """Keep what the loader is made of.

        Args:
            train: Training images.
            preprocessing: How images are shown to members without a preprocessing of their own.
            settings: Batches and steps.
            features: Shared by the fits of a run.
        """
        super().__init__(train, preprocessing, settings)
        self.features = features

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Places of the images of the steps that are left, this process's share of each."""
        chosen, trainer = self.settings, self.trainer
        assert trainer is not None  # Lightning sets it before it asks for loaders
        stream = _Places(self.train, _no_transform, chosen.steps, chosen.batch_size, chosen.seed)
        return make_loader(stream, chosen.batch_size, trainer.global_step, trainer.global_rank, trainer.world_size)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ARG002 (a hook's)
        """Features are looked up member by member; masks have the size at which images are shown.

        The truth of a whole image stays as it is.
        """
        places, mirrored = (tuple(each.tolist()) for each in batch)
        if self.preprocessing.of_text is not None:  # a text has no mirror image
            mirrored = (False,) * len(places)
        if task_of(self.train.spec).is_pooled:
            masks = [as_numbers(self.train.mask(place)) for place in places]
        else:
            shown = [self._mask(place, flip) for place, flip in zip(places, mirrored, strict=True)]
            size = _largest([mask.shape for mask in shown], batch[0].device)
            masks = [_resized(mask, size) for mask in shown]
        return FrozenBatch(self, places, mirrored), torch.stack(masks).to(batch[0].device)

    def _mask(self, place: int, mirrored: bool) -> Num[Tensor, "h w"]:
        mask = self.train.mask(place)
        shown = _resized(mask, self.preprocessing.shape_of(mask.shape[0], mask.shape[1]))
        return as_numbers(shown.flip(-1) if mirrored else shown)


class _Places(TrainingStream):
    """Places of images in place of the images."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        generator = np.random.default_rng((self.seed % 2**64, _MIRROR, index))
        return torch.tensor(self.position(index)), torch.tensor(bool(generator.random() < 0.5))


def _no_transform(image: Tensor, mask: Tensor, generator: np.random.Generator) -> tuple[Tensor, ...]:  # noqa: ARG001
    return image, mask


def _largest(shapes: Sequence[Sequence[int]], device: torch.device) -> tuple[int, int]:
    """Rows and columns that all of these have room in, and those of the other processes, which share the step."""
    height, width = largest_over_ranks(torch.tensor(shapes).amax(dim=0), device).tolist()
    return height, width


def _resized(mask: Tensor, size: tuple[int, int]) -> Tensor:
    return resized(mask[None], size, "nearest")[0]


def make_fit_data(
    train: Split,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    num_workers: int = 0,
    features: FrozenFeatures | None = None,
) -> FitData:
    """What a fit reads, by how much of the members it trains.

    Args:
        train: Training images; some of them are left aside for the schedule plateau to look at.
        preprocessing: How images are shown to members without a preprocessing of their own.
        settings: They say how much is trained.
        num_workers: Processes that read and augment crops.
        features: What was computed already, for frozen members.
    """
    watched = None
    if settings.schedule == "plateau":
        train, watched = train.hold_out(settings.held_out_fraction, settings.seed)
    if settings.adapt == "frozen":
        data: FitData = FrozenData(train, preprocessing, settings, features or FrozenFeatures())
    else:
        data = FitData(train, preprocessing, settings, num_workers)
    data.watched = watched
    return data
