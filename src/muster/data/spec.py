"""What a dataset is: a description, two splits, and a way to read one image.

Axis names: ``h`` and ``w`` are the rows and columns of one image, each image having its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import torch
from torch import Tensor

from muster.data.published import Published
from muster.data.sequences import take_sequences
from muster.errors import DatasetError

VOID = 255
"""The mask value of pixels that are never scored, sampled or learned."""

RGB = 3
"""Channels of images unless a dataset says otherwise."""

TEXTS = "texts"
"""What a dataset holds whose samples are texts."""

FIRST_TASK = "segmentation"
"""What a dataset is for that does not say it, and what records are of from the time when there was no other task."""

PROBE_IMAGES = 150
"""Target training images that a selection looks at, unless the dataset's description says otherwise (A22 4.1)."""

MAX_CLASSES = 255
"""Masks are 8-bit and 255 is void, so a label space has at most this many classes."""


def all_held(kinds: Iterable[str]) -> str:
    """What several datasets hold together: images, texts, or images and texts; images where there is none."""
    return " and ".join(dict.fromkeys(kinds)) or "images"


class Sample(NamedTuple):
    """One image with its ground truth, as stored: not resized, not normalised.

    Attributes:
        identifier: Name of the image within its split.
        image: ``[channels, h, w]``: uint8 RGB, or what the dataset says; float32 in 0..1 for more than 8 bits. A text
            is int32 ``[1, 1, characters]``, see :mod:`muster.data.texts`.
        mask: The truth, as its task has it. Segmentation: uint8 ``[h, w]``, class indices, :data:`VOID` where nothing
            is known. Depth: float32 ``[h, w]``, metres, NaN where nothing is known. Objects: float32, see
            :mod:`muster.data.boxes`. Where a class is of the whole image, int64 ``[1, 1]``, and nothing is void
            (:func:`labelled`); as a selection sees it, also ``[k, 1]`` for an image with k classes.
    """

    identifier: str
    image: Tensor
    mask: Tensor

    def with_map(self) -> Sample:
        """The same with a mask of the image's size, to be shown: a class of the whole image is everywhere in it.

        Such classes are uint8 then, so that there may be at most :data:`MAX_CLASSES`. Of several the first is shown,
        and an image that has none is void.
        """
        if is_of_pixels(self.mask):
            return self
        shown = self.mask.to(torch.uint8) if self.mask.numel() else torch.full((1, 1), VOID, dtype=torch.uint8)
        return self._replace(mask=shown[:1, :1].expand(self.image.shape[1:]))


def is_of_pixels(mask: Tensor) -> bool:
    """Whether a truth is of the pixels of an image, and not of the whole image, as a selection sees it.

    Args:
        mask: Of :class:`Sample`.
    """
    return mask.dtype == torch.uint8


def labelled(mask: Tensor) -> Tensor:
    """Where something is known: a truth of 8 bits has void, one of more bits has none.

    Args:
        mask: Of :class:`Sample`.

    Returns:
        bool, of its shape.
    """
    return mask != VOID if is_of_pixels(mask) else torch.ones_like(mask, dtype=torch.bool)


def as_numbers(truth: Tensor) -> Tensor:
    """A truth as losses take it: classes as int64, whatever they are stored as; other numbers as they are."""
    return truth if truth.is_floating_point() else truth.long()


def units_of(mask: Tensor, wanted: int) -> int:
    """How many units of an image are looked at if so many are wanted: a whole image is one for each of its classes.

    Args:
        mask: Of :class:`Sample`.
        wanted: For images whose every pixel is one, which are drawn with replacement.
    """
    return wanted if is_of_pixels(mask) else min(wanted, mask.numel())


@dataclass(frozen=True)
class DatasetSpec:
    """What one should know of a dataset before using it.

    Attributes:
        name: Short name; a member trained on it says so on its card.
        domain: Visual domain, free text.
        classes: Class names in index order: the label space.
        source: Where it comes from.
        licence: Terms of use.
        citation: What to cite.
        probe_images: How many of its training images a selection looks at, where nobody says otherwise.
        ignore_index: Stored mask value that means void; ``None`` where ``mask_values`` say what each value means.
        channels: Channels of its images.
        task: What is to be predicted, see :mod:`muster.tasks.task`.
        sequences: Tells which images belong together, see :mod:`muster.data.sequences`; nothing if each is by itself.
        holds: What its samples are: images, or :data:`TEXTS`.
    """

    name: str
    domain: str
    classes: tuple[str, ...]
    source: str = ""
    licence: str = ""
    citation: str = ""
    probe_images: int = PROBE_IMAGES
    ignore_index: int | None = VOID
    channels: int = RGB
    task: str = FIRST_TASK
    sequences: str = ""
    holds: str = "images"

    @property
    def has_texts(self) -> bool:
        """Whether its samples are texts, and not images."""
        return self.holds == TEXTS

    @property
    def num_classes(self) -> int:
        """Number of classes, void not counted."""
        return len(self.classes)


@dataclass(frozen=True)
class Split:
    """An ordered set of images of one dataset, read when asked for.

    Attributes:
        spec: The dataset.
        name: ``"train"`` or ``"test"``, or what a subset was made from.
        identifiers: Names of the images, in order.
        read: Reads the image of one identifier. Must survive pickling (data loader workers).
        read_mask: Reads the mask alone, if that takes less time; likewise.
        read_numbers: Reads what classes stand for of the image of one identifier, where they were made of numbers
            (:meth:`muster.tasks.task.Task.in_classes`): float32, of the shape of the mask, NaN where it is void.
        content: Gives the content prefix of one identifier, see :mod:`muster.data.content`; ``None`` if it is not
            known, and then datasets are told apart by their names.
        read_shares: Gives which part of the image of one identifier each class has, float64 ``[classes]``, where it
            is not the part of the labelled units.
    """

    spec: DatasetSpec
    name: str
    identifiers: tuple[str, ...]
    read: Callable[[str], Sample]
    read_mask: Callable[[str], Tensor] | None = None
    content: Callable[[str], str] | None = None
    read_numbers: Callable[[str], Tensor] | None = None
    read_shares: Callable[[str], Tensor] | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.identifiers)

    def __iter__(self) -> Iterator[Sample]:
        """Read one image after the other."""
        return map(self.read, self.identifiers)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Split: ...
    def __getitem__(self, index: int | slice) -> Sample | Split:
        """Read one image, or name a run of them."""
        if isinstance(index, slice):
            return replace(self, identifiers=self.identifiers[index])
        return self.read(self.identifiers[index])

    def mask(self, index: int) -> Tensor:
        """The mask of one image, as in :class:`Sample`."""
        return self.mask_of(self.identifiers[index])

    def mask_of(self, identifier: str) -> Tensor:
        """:meth:`mask`, of the image with this identifier."""
        return self.read(identifier).mask if self.read_mask is None else self.read_mask(identifier)

    def with_truths(self, spec: DatasetSpec, change: Callable[[Tensor], Tensor]) -> Split:
        """The same images with other truths.

        Args:
            spec: What the dataset is then.
            change: Makes a truth of the present one. Must survive pickling (data loader workers).

        Returns:
            Its masks alone are read as fast as those of this one.
        """
        reader = _WithTruths(self, change)
        return replace(self, spec=spec, read=reader, read_mask=reader.mask)

    def subset(self, count: int | None, seed: int) -> Split:
        """The same ``count`` images for the same seed, in the order of the whole split.

        Args:
            count: How many; ``None``, or more than there are, means all.
            seed: Which ones.

        Returns:
            A split whose ``identifiers`` say what was picked.

        Raises:
            DatasetError: If ``count`` is not positive.
        """
        if count is not None and count < 1:
            raise DatasetError(f"Expected at least 1 image of dataset {self.spec.name!r}, but {count} were asked for.")
        if count is None or count >= len(self):
            return self
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        kept = sorted(order[:count].tolist())
        return replace(self, identifiers=tuple(self.identifiers[i] for i in kept))

    def hold_out(self, fraction: float, seed: int) -> tuple[Split, Split]:
        """Split off a seeded share, e.g. to choose a learning rate without touching the test split.

        Sequences stay whole (:func:`muster.data.sequences.take_sequences`).

        Args:
            fraction: Share held out, at least one image and never all of them.
            seed: Which ones.

        Returns:
            What is kept, and what is held out.

        Raises:
            DatasetError: If there are fewer than two images.

        Warns:
            UserWarning: If all images are of one sequence, which has to be cut then.
        """
        if len(self) < 2:
            raise DatasetError(
                f"Expected at least 2 images in split {self.name!r} of dataset {self.spec.name!r} to hold some out, "
                f"but it has {len(self)}."
            )
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        held = self._held(count, seed)
        kept = tuple(name for name in self.identifiers if name not in held)
        rest = tuple(name for name in self.identifiers if name in held)
        return replace(self, identifiers=kept), replace(self, identifiers=rest)

    def _held(self, count: int, seed: int) -> set[str]:
        generator = torch.Generator().manual_seed(seed)
        if self.spec.sequences:
            held = take_sequences(
                self.identifiers,
                self.spec.sequences,
                count,
                lambda names: (names[place] for place in torch.randperm(len(names), generator=generator).tolist()),
            )
            if held:
                return held
            warnings.warn(
                f"All {len(self)} images of split {self.name!r} of dataset {self.spec.name!r} are of one sequence: "
                "those that are held out are like those that are not.",
                stacklevel=3,
            )
        return set(self.subset(count, seed).identifiers)


@dataclass(frozen=True, eq=False)
class _WithTruths:
    """Reads the images of a split with changed truths."""

    split: Split
    change: Callable[[Tensor], Tensor]

    def __call__(self, identifier: str) -> Sample:
        sample = self.split.read(identifier)
        return sample._replace(mask=self.change(sample.mask))

    def mask(self, identifier: str) -> Tensor:
        return self.change(self.split.mask_of(identifier))


@dataclass(frozen=True)
class Dataset:
    """A described dataset with its training and test images.

    Attributes:
        spec: The description.
        train: Training images.
        test: Images on which results are reported.
        reference: What opens it again, with :func:`muster.data.open_dataset`.
        published: What is known of the published dataset that it is a copy of, if it is one.
    """

    spec: DatasetSpec
    train: Split
    test: Split
    reference: str
    published: Published | None = None


def split_record(dataset: Dataset) -> dict[str, list[str]]:
    """Say which images are in which split, to be kept beside a run.

    Args:
        dataset: Any dataset.

    Returns:
        ``{"train": identifiers, "test": identifiers}``: written as YAML, a valid ``splits.yaml``.
    """
    return {"train": list(dataset.train.identifiers), "test": list(dataset.test.identifiers)}
