"""Read one image with its ground truth, wherever a layout keeps them, and check that both go together.

Axis names: ``h`` and ``w`` are the rows and columns of one image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from muster.data.bands import Bands, read_band_header, read_bands
from muster.data.content import FileContents, prefix_of_text
from muster.data.dataset_yaml import Description
from muster.data.images import (
    Header,
    StoredMask,
    as_tensor,
    read_header,
    read_image,
    read_stored_mask,
    read_stored_pixels,
)
from muster.data.mask_values import MaskValues
from muster.data.matlab import MATLAB_SUFFIX, read_matlab_mask
from muster.data.orientation import UPRIGHT, Orientation, Pixels, masks_lie_as_stored, turn_upright
from muster.data.rasters import read_tiff_part
from muster.data.spec import DatasetSpec, Sample, Split
from muster.data.splits import unknown_image
from muster.data.windows import Latest, Window
from muster.errors import DatasetError

FIRST_CHANNEL = "_0000"
"""Ends the name of the first file of an image whose channels are files of their own."""


class ImageSource(ABC):
    """The images of one split. Must survive pickling (data loader workers)."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Their identifiers, in order."""

    @abstractmethod
    def __contains__(self, identifier: object) -> bool:
        """Whether there is such an image."""

    @abstractmethod
    def called(self, identifier: str) -> str:
        """What messages call an image, such as its path."""

    @abstractmethod
    def header(self, identifier: str) -> Header:
        """Size and orientation of an image, without its pixels."""

    @abstractmethod
    def read(self, identifier: str, as_stored: bool) -> Tensor:
        """The pixels of an image, see :func:`muster.data.read_image`."""

    @abstractmethod
    def content(self, identifier: str) -> str:
        """The content prefix of an image, see :mod:`muster.data.content`."""


class MaskSource(ABC):
    """The ground truth of one split. Must survive pickling."""

    @abstractmethod
    def called(self, identifier: str) -> str:
        """What messages call the mask of an image, such as its path."""

    @abstractmethod
    def read(self, identifier: str) -> StoredMask:
        """Class indices and void, or float32 numbers such as depths, not turned.

        Raises:
            DatasetError: If it cannot be read, or holds what has no meaning.
        """

    def read_part(self, identifier: str, window: Window) -> tuple[Pixels, tuple[int, int]]:
        """A part of a mask, not turned.

        Args:
            identifier: Of the whole mask.
            window: Which part.

        Returns:
            uint8 ``[h, w]``, class indices and void; and rows and columns of the whole mask.

        Raises:
            DatasetError: As :meth:`read`.
        """
        whole = self.read(identifier).values
        return window.of_rows(whole), (whole.shape[0], whole.shape[1])


class FileImages(ImageSource):
    """Images that are files."""

    def __init__(self, spec: DatasetSpec, files: Mapping[str, Path], bands: Bands | None = None) -> None:
        """Remember where they lie.

        Args:
            spec: Their dataset.
            files: Identifier -> image.
            bands: What is read of them, unless they are RGB of 8 bits.
        """
        self.spec, self.files, self.bands = spec, files, bands
        self.contents = FileContents(files)
        self._latest: Latest[Pixels] = Latest()
        self._latest_bands: Latest[Tensor] = Latest()

    def __iter__(self) -> Iterator[str]:
        """See :class:`ImageSource`."""
        return iter(self.files)

    def __contains__(self, identifier: object) -> bool:
        """See :class:`ImageSource`."""
        return identifier in self.files

    def called(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return str(self.files[identifier])

    def header(self, identifier: str) -> Header:
        """See :class:`ImageSource`."""
        path = self.files[identifier]
        return read_header(path, self.spec.name) if self.bands is None else read_band_header(path, self.spec)

    def read(self, identifier: str, as_stored: bool) -> Tensor:
        """See :class:`ImageSource`."""
        path = self.files[identifier]
        if self.bands is None:
            return read_image(path, self.spec.name, as_stored)
        return read_bands(path, self.bands, self.spec)

    def read_part(self, identifier: str, window: Window) -> Tensor:
        """A part of an image, as stored. The last whole image is kept, since neighbours are often asked for next.

        Args:
            identifier: Of the whole image.
            window: Which part.
        """
        path = self.files[identifier]
        if self.bands is not None:
            return window.of(self._latest_bands(identifier, lambda: self.read(identifier, as_stored=True)))
        part = read_tiff_part(path, window)
        if part is None:
            whole = self._latest(identifier, lambda: read_stored_pixels(path, self.spec.name))
            return as_tensor(window.of_rows(whole))
        return as_tensor(part[0])

    def content(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return self.contents(identifier)


class ChannelFiles(FileImages):
    """Images each of whose channels is a file of its own, whose name ends in ``_0000``, ``_0001``, ..."""

    def channel_files(self, identifier: str) -> list[Path]:
        """The files of an image, in the order of its channels."""
        assert self.bands is not None  # such images say how many channels they have
        first = self.files[identifier]
        stem = first.stem[: -len(FIRST_CHANNEL)]
        numbers = self.bands.chosen or range(1, self.bands.channels + 1)
        return [first.with_name(f"{stem}_{number - 1:04d}{first.suffix}") for number in numbers]

    def read(self, identifier: str, as_stored: bool) -> Tensor:  # noqa: ARG002 (files of bands have no orientation)
        """See :class:`ImageSource`."""
        assert self.bands is not None
        one, files = replace(self.bands, channels=1, chosen=()), self.channel_files(identifier)
        channels = [read_bands(file, one, self.spec) for file in files]
        for file, channel in zip(files, channels, strict=True):
            if channel.shape != channels[0].shape:
                raise DatasetError(
                    f"Expected the channels of an image of dataset {self.spec.name!r} to have the same size, but "
                    f"{files[0]} has {_in_words(channels[0])} and {file} has {_in_words(channel)} (width x height)."
                )
        if any(channel.is_floating_point() for channel in channels):
            channels = [each if each.is_floating_point() else each.float() / 255 for each in channels]
        return torch.cat(channels)

    def content(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        files = self.channel_files(identifier)
        return prefix_of_text(" ".join(map(FileContents({str(file): file for file in files}), map(str, files))))


def _in_words(channel: Tensor) -> str:
    return f"{channel.shape[-1]} x {channel.shape[-2]}"


class FileMasks(MaskSource):
    """Masks that are files whose values, or colours, have a meaning."""

    def __init__(self, spec: DatasetSpec, files: Mapping[str, Path], values: MaskValues, variable: str = "") -> None:
        """Remember where they lie.

        Args:
            spec: Their dataset.
            files: Identifier -> mask.
            values: What the stored values mean.
            variable: Which variable of a MATLAB file is the mask, see :func:`muster.data.matlab.read_matlab_mask`.
        """
        self.spec, self.files, self.values, self.variable = spec, files, values, variable
        self._latest: Latest[StoredMask] = Latest()

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return str(self.files[identifier])

    def read(self, identifier: str) -> StoredMask:
        """See :class:`MaskSource`."""
        stored = self._stored(identifier)
        return stored._replace(values=self._meant(identifier, stored.values))

    def read_part(self, identifier: str, window: Window) -> tuple[Pixels, tuple[int, int]]:
        """See :class:`MaskSource`; the rest of a mask is not looked at, and the last whole one is kept."""
        found = read_tiff_part(self.files[identifier], window, exactly=True) if self.values.colours else None
        if found is None:
            stored = self._latest(identifier, lambda: self._stored(identifier)).values
            found = (np.ascontiguousarray(window.of_rows(stored)), (stored.shape[0], stored.shape[1]))
        return self._meant(identifier, found[0]), found[1]

    def _stored(self, identifier: str) -> StoredMask:
        path = self.files[identifier]
        if path.suffix.lower() == MATLAB_SUFFIX:
            return StoredMask(read_matlab_mask(path, self.variable), None)
        return read_stored_mask(path, self.spec.name, self.values.colours)

    def _meant(self, identifier: str, stored: Pixels) -> Pixels:
        return self.values.to_indices(stored, self.files[identifier], self.spec.name)


@dataclass(frozen=True, eq=False)
class SampleReader:
    """Reads the images of one split.

    Attributes:
        spec: The dataset.
        images: Its images.
        masks: Their ground truth.
        orientation: How masks lie where images have an EXIF orientation, if that is known.
        cut_masks: Whether rows and columns of a mask that its image has not are cut off, at the bottom and the right.
    """

    spec: DatasetSpec
    images: ImageSource
    masks: MaskSource
    orientation: Orientation | None
    cut_masks: bool = False

    def __call__(self, identifier: str) -> Sample:
        """Read one image and check its mask.

        Args:
            identifier: Its name within the split.

        Returns:
            The image; void is :data:`muster.data.VOID` whatever value the file uses.

        Raises:
            DatasetError: If a file is missing or damaged, if image and mask differ in size, if it is not clear how the
                mask lies on the image, or if the mask holds a value that is neither a class nor void.
        """
        mask, as_stored = self._mask(identifier)
        return Sample(identifier, self.images.read(identifier, as_stored), mask)

    def mask(self, identifier: str) -> Num[Tensor, "h w"]:
        """The mask alone, checked in the same way; of the image only the header is read.

        Args:
            identifier: Name of the image within the split.

        Returns:
            As :attr:`masks` has it: uint8, class indices and void, or float32.

        Raises:
            DatasetError: As for the whole image, but for damaged pixels of the image.
        """
        return self._mask(identifier)[0]

    def _mask(self, identifier: str) -> tuple[Num[Tensor, "h w"], bool]:
        """The mask, and whether the image goes with it as stored, not upright."""
        if identifier not in self.images:
            raise DatasetError(f"Dataset {self.spec.name!r}: {unknown_image(identifier, self.images)}")
        header, stored = self.images.header(identifier), self.masks.read(identifier)
        as_stored = self._lies_as_stored(identifier, header, stored)
        indices, size = stored.values, header.size
        if not as_stored:
            indices = turn_upright(indices, stored.tag or UPRIGHT)
            size = size[::-1] if (header.tag or UPRIGHT) > 4 else size
        if self.cut_masks:
            indices = indices[: size[0], : size[1]]
        if indices.shape != size:
            raise DatasetError(sizes_differ(self.spec, self.images, self.masks, identifier, size, indices.shape))
        return torch.from_numpy(np.ascontiguousarray(indices)), as_stored

    def _lies_as_stored(self, identifier: str, header: Header, stored: StoredMask) -> bool:
        size = (stored.values.shape[0], stored.values.shape[1])
        as_stored = masks_lie_as_stored(header.tag, stored.tag, header.size, size, self.orientation)
        if as_stored is None:
            of_image = header.tag not in {None, UPRIGHT}
            image, mask = self.images.called(identifier), self.masks.called(identifier)
            turned, other = (image, mask) if of_image else (mask, image)
            raise DatasetError(
                f"{turned} of dataset {self.spec.name!r} has an EXIF orientation "
                f"({header.tag if of_image else stored.tag}) and {other} has none, and their sizes do "
                "not tell which belongs to which. Say it in dataset.yaml: "
                "'orientation: apply' if masks were drawn on the upright images, as viewers show them (the usual "
                "case), or 'orientation: ignore' if they were drawn on the pixels as stored."
            )
        return as_stored


def sizes_differ(
    spec: DatasetSpec,
    images: ImageSource,
    masks: MaskSource,
    identifier: str,
    size: tuple[int, ...],
    mask_size: tuple[int, ...],
) -> str:
    """A sentence for an image and a mask that do not lie on each other.

    Args:
        spec: Their dataset.
        images: Calls the image by its name.
        masks: Calls the mask so.
        identifier: Of both.
        size: Rows and columns of the image.
        mask_size: Those of the mask.
    """
    (height, width), (rows, columns) = size, mask_size
    turned = " Was one of them turned, by its EXIF orientation or otherwise?" if mask_size == (width, height) else ""
    return (
        f"Expected image and mask of dataset {spec.name!r} to have the same size, but {images.called(identifier)} is "
        f"{width} x {height} and {masks.called(identifier)} is {columns} x {rows} (width x height).{turned}"
    )


MaskReader: TypeAlias = Callable[[DatasetSpec, Mapping[str, Path], MaskValues], MaskSource]
"""Makes the ground truth of a split: of its dataset, the files by identifier, and what stored values mean."""


def make_split(description: Description, name: str, images: ImageSource, masks: MaskSource) -> Split:
    """One split of a described dataset.

    Args:
        description: What was read of the dataset.
        name: ``"train"`` or ``"test"``.
        images: Its images.
        masks: Their ground truth.

    Returns:
        The split; nothing of it is read yet.
    """
    cut = description.options.get("larger_masks") is not None
    reader = SampleReader(description.spec, images, masks, description.orientation, cut)
    return Split(description.spec, name, tuple(images), reader, reader.mask, images.content)
