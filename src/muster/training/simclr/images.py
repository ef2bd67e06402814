"""The union of the training images of several datasets, without their labels, as pairs of views.

Axis names: ``side`` rows and columns of a view.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pytorch_lightning as pl
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from muster.data import (
    IMAGE_SUFFIXES,
    VOID,
    DatasetSpec,
    ExampleStream,
    Sample,
    Split,
    cached,
    channel_statistics,
    list_images,
    make_loader,
    open_dataset,
    preload,
    read_image,
)
from muster.data.content import FileContents
from muster.data.spec import RGB
from muster.data.stream import example_generator, place_of_example
from muster.errors import ConfigError, DatasetError
from muster.training.simclr.settings import SimCLRSettings
from muster.training.source_images import MOST_KEPT_BYTES


def open_unlabelled(datasets: Sequence[str], images: Sequence[Path], data_root: Path | None = None) -> list[Split]:
    """The images to pre-train on.

    Args:
        datasets: What :func:`muster.data.open_dataset` opens; their training images are taken, their test images never.
        images: Folders of image files without labels.
        data_root: Where datasets lie.

    Returns:
        One split for each, in this order.

    Raises:
        ConfigError: If there are none at all, or one is named twice.
        DatasetError: If one cannot be opened, has no image, or has others than red, green and blue.
    """
    named = [*datasets, *(str(folder.expanduser().absolute()) for folder in images)]
    if not named:
        raise ConfigError("Expected at least one dataset (--datasets) or folder of images (--images), but got none.")
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ConfigError(f"--datasets and --images: {', '.join(twice)} is named twice. Name each once.")
    splits = [open_dataset(reference, data_root).train for reference in datasets]
    splits += [folder_of_images(folder) for folder in images]
    for split in splits:
        if split.spec.channels != RGB:
            raise DatasetError(
                f"Networks are pre-trained on red, green and blue, but images of {split.spec.name} have "
                f"{split.spec.channels} channel(s). Leave it out."
            )
    return splits


def folder_of_images(folder: Path) -> Split:
    """Image files that lie directly in a folder.

    Args:
        folder: The folder.

    Returns:
        A split whose masks are void.

    Raises:
        DatasetError: If it holds no image.
    """
    files = list_images(folder, IMAGE_SUFFIXES)
    if not files:
        raise DatasetError(f"--images: {folder} holds no image directly in it. Give a folder of image files.")
    spec = DatasetSpec(folder.resolve().name, "images without labels", ("nothing",))
    return Split(spec, "train", tuple(files), _Files(files), content=FileContents(files))


@dataclass(frozen=True)
class _Files:
    files: dict[str, Path]

    def __call__(self, identifier: str) -> Sample:
        image = read_image(self.files[identifier])
        return Sample(identifier, image, torch.full(image.shape[1:], VOID, dtype=torch.uint8))


def view_transform(settings: SimCLRSettings) -> v2.Transform:
    """What makes a view of an image: the paper's A, with a kernel of a tenth of the side for the blur.

    These are torchvision's transforms in place of lightly's, which draw from NumPy's global state too: here all that a
    view depends on is torch's, which a stream seeds anew for each.

    Args:
        settings: How strongly.
    """
    strength, kernel = settings.colour_strength, max(3, settings.view_size // 10 | 1)
    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, min(0.5, 0.2 * strength))
    return v2.Compose(
        [
            v2.RandomResizedCrop(settings.view_size, scale=(settings.smallest_crop, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([jitter], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.GaussianBlur(kernel, sigma=(0.1, 2.0))], p=settings.blur),
            v2.ToDtype(torch.uint8, scale=True),
        ]
    )


class ViewPairs(ExampleStream):
    """Two views of an image for every example; every image is seen once before any is seen again.

    Attributes:
        splits: Where images come from.
        settings: Steps, batches, views, and the seed that order and views depend on alone.
    """

    def __init__(self, splits: Sequence[Split], settings: SimCLRSettings) -> None:
        """Read every image once, for the channel statistics of its dataset: members are normalised by them, too.

        Args:
            splits: At least one image in all.
            settings: See the class.
        """
        self.splits = [cached(split, MOST_KEPT_BYTES // len(splits)) for split in splits]
        self.settings, self.steps, self.batch_size = settings, settings.steps, settings.batch_size
        self._ends = list(accumulate(map(len, self.splits)))
        self._statistics = [_mean_and_std(split) for split in self.splits]
        self._transform = view_transform(settings)

    @property
    def images(self) -> int:
        """How many there are."""
        return self._ends[-1]

    def __getitem__(
        self, index: int
    ) -> tuple[UInt8[Tensor, "2 3 side side"], Float32[Tensor, "3 1 1"], Float32[Tensor, "3 1 1"]]:
        """Two views of an image, and the mean and deviation of the channels of its dataset."""
        self.require(index)
        seed = self.settings.seed
        place = place_of_example(seed, index, self.images)
        which = bisect_right(self._ends, place)
        split = self.splits[which]
        image = split[place - self._ends[which] + len(split)].image
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(example_generator(seed, index).integers(2**63)))
            views = torch.stack([self._transform(image) for _ in range(2)])
        return views, *self._statistics[which]

    def preload(self) -> None:
        """Read what there is room for in memory, before loader workers copy this process."""
        for split in self.splits:
            preload(split)


def _mean_and_std(split: Split) -> tuple[Tensor, Tensor]:
    found = channel_statistics(split)
    return torch.tensor(found.mean).view(-1, 1, 1), torch.tensor(found.std).view(-1, 1, 1)


class ViewData(pl.LightningDataModule):
    """The steps of a stream that are left, this process's share of each."""

    def __init__(self, stream: ViewPairs, num_workers: int) -> None:
        """Keep what the loader is made of."""
        super().__init__()
        self.stream, self.num_workers = stream, num_workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Views as whole numbers; they are normalised on the device of the fit."""
        trainer = self.trainer
        assert trainer is not None  # Lightning sets it before it asks for loaders
        if self.num_workers and trainer.global_step < self.stream.steps:
            self.stream.preload()
        return make_loader(
            self.stream,
            self.stream.batch_size,
            trainer.global_step,
            trainer.global_rank,
            trainer.world_size,
            self.num_workers,
            pin_memory=trainer.strategy.root_device.type == "cuda",
        )
