"""What a fit reads: random crops of the training images, and whole validation images."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from muster.data import (
    CropViews,
    ExampleStream,
    PreparedSplit,
    Preprocessing,
    Split,
    TrainingStream,
    Views,
    as_numbers,
    class_pixel_counts,
    make_loader,
    map_views,
    preload,
)
from muster.tasks.loss import class_weights_of
from muster.tasks.task import task_of
from muster.training.settings import TrainingSettings


class FitData(pl.LightningDataModule):
    """Random crops of the training images; whole validation images.

    The crops of step t depend on the seed and t alone, so a fit that is taken up again at step t sees what it
    would have seen. Crops are read and moved in whole numbers, and normalised on the device of the fit.

    Attributes:
        channels_last: Whether the channels of a place lie side by side in the batches; a fit sets it.
        watched: Images that the schedule plateau looks at, if there are any.
    """

    def __init__(
        self,
        train: Split,
        preprocessing: Preprocessing,
        settings: TrainingSettings,
        num_workers: int = 0,
        validation: Split | None = None,
        validate_every: int = 100,
    ) -> None:
        """Keep what the loaders are made of.

        Args:
            train: Training images.
            preprocessing: How images are shown, before random rescaling, to members without a preprocessing of their
                own.
            settings: Crops, batches and steps.
            num_workers: Processes that read and augment; 0 does it in the training process.
            validation: Images for the validation curve, if it is wanted.
            validate_every: Steps between two points of it.
        """
        super().__init__()
        self.train, self.preprocessing, self.settings = train, preprocessing, settings
        self.num_workers, self.validation, self.validate_every = num_workers, validation, validate_every
        self.channels_last = False
        self.watched = validation

    @property
    def owns(self) -> tuple[Preprocessing | None, ...]:
        """The own preprocessing of each member of the fit, ``None`` for members without."""
        module: Any = None if self.trainer is None else self.trainer.lightning_module
        return tuple(getattr(module, "owns", ()))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The steps that are left, this process's share of each."""
        trainer = self.trainer
        assert trainer is not None  # Lightning sets it before it asks for loaders
        if self.num_workers and trainer.global_step < self.settings.steps:
            self.preload()
        return make_loader(
            self.stream(),
            self.settings.batch_size,
            trainer.global_step,
            trainer.global_rank,
            trainer.world_size,
            self.num_workers,
            pin_memory=_feeds_a_gpu(trainer),
        )

    def stream(self) -> ExampleStream:
        """The crops of all steps, in order."""
        chosen = self.settings
        truth_cut = task_of(self.train.spec).truth_cut(self.train.spec)
        transform = self._crops().transform(chosen.scale_range, chosen.colour_jitter, truth_cut)
        return TrainingStream(self.train, transform.draw, chosen.steps, chosen.batch_size, chosen.seed)

    def preload(self) -> None:
        """Read what there is room for in memory, before loader workers copy this process."""
        preload(self.train)

    def class_weights(self, num_classes: int) -> Float[Tensor, " classes"] | None:
        """What the pixels of each class count in a cross-entropy, by the training images of this fit.

        Args:
            num_classes: Size of the label space.

        Returns:
            See :func:`muster.tasks.loss.class_weights_of`.
        """
        return weights_of(self.train, num_classes, self.settings)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Views, Tensor]:  # noqa: ARG002
        """Prepare crops as each member wants them, where they are now; validation images come prepared."""
        if len(batch) == 2:
            images, masks = batch
        else:
            crops, masks, boxes = batch
            images, masks = self._crops().views(crops, boxes), as_numbers(masks)
        if self.channels_last:
            images = map_views(images, lambda view: view.contiguous(memory_format=torch.channels_last))
        return images, masks

    def _crops(self) -> CropViews:
        """Of the step at hand."""
        return self._crops_of(self.preprocessing)

    def _crops_of(self, preprocessing: Preprocessing) -> CropViews:
        crop_size = self.settings.crop_for(preprocessing.known_size)
        return CropViews(preprocessing, self.owns, crop_size, lambda: self._stored_size)

    @cached_property
    def _stored_size(self) -> tuple[int, int]:
        """Of the first training image, which is read for it once: every batch asks."""
        height, width = self.train[0].image.shape[1:]
        return height, width

    def val_dataloader(self) -> DataLoader[tuple[Views, Tensor]] | list[DataLoader[tuple[Views, Tensor]]]:
        """Whole images one by one, because each has its own size; this process's share of them."""
        trainer = self.trainer
        if self.validation is None or trainer is None:
            return []
        return self.validation_loader(self.validation, self.preprocessing, trainer)

    def validation_loader(
        self, validation: Split, preprocessing: Preprocessing, trainer: pl.Trainer
    ) -> DataLoader[tuple[Views, Tensor]]:
        """Some validation images, this process's share of them.

        Args:
            validation: The images.
            preprocessing: How they are shown to members without a preprocessing of their own.
            trainer: Knows the processes.
        """
        images = _ValidationShare(validation, preprocessing, trainer.global_rank, trainer.world_size, self.owns)
        return DataLoader(
            images,
            batch_size=1,
            collate_fn=_one_image,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,  # validation comes again and again
            pin_memory=_feeds_a_gpu(trainer),
        )


def weights_of(train: Split, num_classes: int, settings: TrainingSettings) -> Float[Tensor, " classes"] | None:
    """Class weights by some training images; masks are read only if the settings ask for any.

    Args:
        train: The images, those held out left aside.
        num_classes: Size of the label space.
        settings: Say how classes are weighted.

    Returns:
        ``None`` if all count alike.
    """
    if settings.class_weighting == "none":
        return None
    return class_weights_of(class_pixel_counts(train, num_classes), settings.class_weighting)


def _feeds_a_gpu(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"


class _ValidationShare(Dataset[tuple[Views, Tensor]]):
    """One process's share of the validation images: as many items in each process, or Lightning's loops part ways.

    Where there are not enough images, the last item is an image again with nothing to be scored.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        rank: int,
        world_size: int,
        owns: tuple[Preprocessing | None, ...] = (),
    ) -> None:
        self.places = range(rank, -(-len(split) // world_size) * world_size, world_size)
        self.images, self.task = PreparedSplit(split, preprocessing, owns=owns), task_of(split.spec)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: int) -> tuple[Views, Tensor]:
        place, count = self.places[position], len(self.images)
        _, image, mask = self.images[place % count]
        return image, as_numbers(mask if place < count else self.task.without_truth(mask))


def _one_image(items: list[tuple[Views, Tensor]]) -> tuple[Views, Tensor]:
    ((image, mask),) = items
    return map_views(image, lambda view: view[None]), mask[None]
