"""A store: every member's predictions at every probe pixel, in memory or on disk, read in blocks of pixels.

Every ensemble metric is a sum over pixels, so the pixels may be taken in any order and a part at a time. A store fixes
one order for all who read it. The pixels are dealt at random into chunks, so that any number of first chunks is a
random sample of the probe pixels; inside a chunk they are sorted by label, so that what belongs to one class lies
together. Axis names as in :mod:`muster.arrays`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import (
    EnsemblePredictions,
    Labels,
    NumpyArray,
)
from muster.errors import SelectionError
from muster.metrics.ensemble_block import Members, members_of
from muster.records import read_record
from muster.scoring._store_folder import (
    FORMAT_VERSION,
    HEADER,
    LABELS,
    ORDER,
    Header,
    fill,
    load_array,
    predictions_file,
    require_size,
    true_class_file,
)

Backend: TypeAlias = Literal["numba", "torch"]
"""Who scores ensembles: loops compiled for the processor, or torch on the device of the predictions."""

CHUNK_PIXELS = 8192
"""Most pixels in a chunk."""

_DTYPES: dict[str, np.dtype[np.floating]] = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}


class PredictionStore(ABC):
    """Predictions of all members on the probe pixels. Made by :meth:`of` from arrays, or by :meth:`open` from a folder.

    Attributes:
        num_members: How many members there are.
        num_pixels: How many probe pixels.
        num_classes: How many target classes.
        dtype: float32 or float64, of all predictions.
        labels: int64 ``[pixels]``, the true classes, in the store's order.
        order: int64 ``[pixels]``, where each pixel was in the arrays that the store was made from.
        chunks: The pixels of each chunk, one after the other, in the store's order.
        backend: Who scores ensembles: ``torch`` where the predictions are on another device, unless asked otherwise.
    """

    def __init__(
        self,
        num_members: int,
        num_classes: int,
        dtype: np.dtype[np.floating],
        labels: Int[NumpyArray, " pixels"],
        order: Int[NumpyArray, " pixels"],
        chunk_pixels: int,
    ) -> None:
        """Labels and order are both in the store's order."""
        self.num_members, self.num_pixels, self.num_classes = num_members, len(labels), num_classes
        self.dtype = dtype
        self.labels, self.order = labels, order
        self.chunks = chunks_of(len(labels), chunk_pixels)
        self.backend: Backend = "numba"

    @classmethod
    def of(
        cls,
        eeps: EnsemblePredictions,
        labels: Labels,
        seed: int = 0,
        chunk_pixels: int = CHUNK_PIXELS,
        backend: Backend | None = None,
    ) -> PredictionStore:
        """A store over arrays that are in memory; they are neither copied nor changed.

        Args:
            eeps: The members' target predictions, ``[members, pixels, classes]`` or a sequence of
                ``[pixels, classes]``, between 0 and 1.
            labels: Target classes, ``[pixels]``, integers in 0..classes-1.
            seed: The seed of the order of the pixels.
            chunk_pixels: Most pixels in a chunk, at least 1.
            backend: Who scores ensembles; by default ``numba`` on the processor and ``torch`` on other devices.

        Returns:
            The store.

        Raises:
            ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
            ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..classes-1 (void included).
            ValueError: If ``chunk_pixels`` is not positive.

        Example:
            >>> store = PredictionStore.of(np.array([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]]), np.array([1, 0, 1]))
            >>> store.labels.tolist(), store.true_class_probabilities().tolist()
            ([0, 1, 1], [[0.2, 0.1, 0.5]])
        """
        store = InMemoryStore(members_of(eeps, labels), seed, chunk_pixels)
        store.backend = backend or store.backend
        return store

    @classmethod
    def open(cls, folder: Path | str, backend: Backend = "numba") -> PredictionStore:
        """A store that :class:`muster.scoring.store_writer.StoreWriter` wrote.

        Args:
            folder: Where.
            backend: Who scores ensembles.

        Returns:
            The store; the predictions stay on disk.

        Raises:
            SelectionError: If the folder is not a whole store.
        """
        store = OnDiskStore(Path(folder))
        store.backend = backend
        return store

    @property
    def device(self) -> torch.device:
        """Where :meth:`tensors` are."""
        return torch.device("cpu")

    def block(self, pixels: slice) -> Float[NumpyArray, "members pixels classes"]:
        """A copy of all members' predictions at some pixels.

        Args:
            pixels: Which, in the store's order; without a step. The copy takes ``itemsize * classes * members`` bytes
                a pixel.

        Returns:
            Of the store's type.

        Raises:
            ValueError: If the slice has a step.
            SelectionError: If the store is on disk and cannot be read.
        """
        start, stop, step = pixels.indices(self.num_pixels)
        if step != 1:
            raise ValueError(f"Expected `pixels` to be a slice without a step, but got {pixels}.")
        block = np.empty((self.num_members, max(stop - start, 0), self.num_classes), dtype=self.dtype)
        for member in range(self.num_members):
            self._read(member, start, block[member])
        return block

    def tensors(self, members: Sequence[int], pixels: slice) -> list[Float[Tensor, "pixels classes"]]:
        """Some members' predictions at some pixels, on the store's :attr:`device`.

        Args:
            members: Which.
            pixels: Which, in the store's order; with a start and a stop.

        Returns:
            Copies, one tensor per member.

        Raises:
            SelectionError: If the store is on disk and cannot be read.
        """
        block = np.empty((len(members), pixels.stop - pixels.start, self.num_classes), dtype=self.dtype)
        for member, into in zip(members, block, strict=True):
            self._read(member, pixels.start, into)
        return list(torch.from_numpy(block))

    def predictions(self, member: int) -> Float[Tensor, "pixels classes"]:
        """All predictions of one member, in the order of the arrays that the store was made from.

        Args:
            member: Its index.

        Returns:
            A copy, on the CPU.

        Raises:
            SelectionError: If the store is on disk and cannot be read.
        """
        ordered = np.empty((self.num_pixels, self.num_classes), dtype=self.dtype)
        self._read(member, 0, ordered)
        given = np.empty_like(ordered)
        given[self.order] = ordered
        return torch.from_numpy(given)

    def true_class_probabilities(self) -> Float[NumpyArray, "members pixels"]:
        """Each member's probability of the true class of each pixel, in the store's order and type; kept once made."""
        return self._true_class_probabilities

    @cached_property
    def _true_class_probabilities(self) -> NumpyArray:
        probabilities = np.empty((self.num_members, self.num_pixels), dtype=self.dtype)
        for member in range(self.num_members):
            self._read_true_class(member, probabilities[member])
        return probabilities

    @abstractmethod
    def in_memory(self) -> Members:
        """All predictions at once, in the order of the arrays that the store was made from."""

    @abstractmethod
    def _read(self, member: int, start: int, into: Float[NumpyArray, "pixels classes"]) -> None:
        """Fill an array with one member's predictions from pixel ``start`` on."""

    @abstractmethod
    def _read_true_class(self, member: int, into: Float[NumpyArray, " pixels"]) -> None:
        """Fill an array with what one member gives to the true classes."""


class InMemoryStore(PredictionStore):
    """A store over tensors on any device."""

    def __init__(self, members: Members, seed: int = 0, chunk_pixels: int = CHUNK_PIXELS) -> None:
        """Takes what :func:`muster.metrics.ensemble_block.members_of` has checked."""
        labels = members.labels.cpu().numpy()
        order = draw_order(labels, seed, chunk_pixels)
        dtype = torch.empty(0, dtype=members.predictions[0].dtype).numpy().dtype
        super().__init__(len(members.predictions), members.num_classes, dtype, labels[order], order, chunk_pixels)
        self._members = members
        self.backend = "numba" if self.device.type == "cpu" else "torch"

    @property
    def device(self) -> torch.device:
        """Where the predictions are."""
        return self._members.labels.device

    def in_memory(self) -> Members:
        """See :meth:`PredictionStore.in_memory`."""
        return self._members

    def tensors(self, members: Sequence[int], pixels: slice) -> list[Float[Tensor, "pixels classes"]]:
        """See :meth:`PredictionStore.tensors`."""
        rows = torch.from_numpy(self.order[pixels]).to(self.device)
        return [self._members.predictions[member][rows] for member in members]

    def _read(self, member: int, start: int, into: Float[NumpyArray, "pixels classes"]) -> None:
        rows, prediction = self.order[start : start + len(into)], self._members.predictions[member]
        if prediction.device.type == "cpu":
            np.take(prediction.numpy(), rows, axis=0, out=into, mode="clip")  # other modes go through a buffer
        else:
            into[:] = prediction[torch.from_numpy(rows).to(prediction.device)].cpu().numpy()

    def _read_true_class(self, member: int, into: Float[NumpyArray, " pixels"]) -> None:
        labels = self._members.labels[:, None]
        into[:] = self._members.predictions[member].gather(1, labels)[:, 0].cpu().numpy()[self.order]


class OnDiskStore(PredictionStore):
    """A store in a folder: for each member one file of all its predictions, in the store's order.

    Files are read, not mapped, so the memory that a reader holds is the blocks that it asked for.
    """

    def __init__(self, folder: Path) -> None:
        """Reads everything but the predictions."""
        header = read_record(folder / HEADER, Header, FORMAT_VERSION, SelectionError)
        labels, order = load_array(folder / LABELS), load_array(folder / ORDER)
        if header.dtype not in _DTYPES or labels.shape != (header.num_pixels,) or order.shape != labels.shape:
            raise SelectionError(f"{folder}: the labels do not go with {HEADER}. Write the store anew.")
        dtype = _DTYPES[header.dtype]
        super().__init__(header.num_members, header.num_classes, dtype, labels, order, header.chunk_pixels)
        self.folder = folder
        pixel_bytes = header.num_pixels * self.dtype.itemsize
        for member in range(header.num_members):
            require_size(predictions_file(folder, member), pixel_bytes * header.num_classes)
            require_size(true_class_file(folder, member), pixel_bytes)

    def in_memory(self) -> Members:
        """See :meth:`PredictionStore.in_memory`; this is the whole store, whatever its size."""
        back = np.argsort(self.order)
        predictions = []
        for member in range(self.num_members):
            prediction = np.empty((self.num_pixels, self.num_classes), dtype=self.dtype)
            self._read(member, 0, prediction)
            predictions.append(torch.from_numpy(prediction[back]))
        return Members(predictions, torch.from_numpy(self.labels[back]), self.num_classes)

    def _read(self, member: int, start: int, into: Float[NumpyArray, "pixels classes"]) -> None:
        fill(predictions_file(self.folder, member), start * self.num_classes * self.dtype.itemsize, into)

    def _read_true_class(self, member: int, into: Float[NumpyArray, " pixels"]) -> None:
        fill(true_class_file(self.folder, member), 0, into)


def draw_order(labels: Int[NumpyArray, " pixels"], seed: int, chunk_pixels: int) -> Int[NumpyArray, " pixels"]:
    """The order of a store: pixels dealt at random into chunks, sorted by label inside each.

    Args:
        labels: True classes.
        seed: The seed of the dealing.
        chunk_pixels: Most pixels in a chunk.

    Returns:
        int64 ``[pixels]``: which pixel comes at each place.

    Raises:
        ValueError: If ``chunk_pixels`` is not positive.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    for chunk in chunks_of(len(labels), chunk_pixels):
        dealt = np.sort(order[chunk])
        order[chunk] = dealt[np.argsort(labels[dealt], kind="stable")]
    return order


def chunks_of(num_pixels: int, chunk_pixels: int) -> tuple[slice, ...]:
    """Cut pixels into chunks of one size, up to one pixel.

    Raises:
        ValueError: If ``chunk_pixels`` is not positive.
    """
    if chunk_pixels < 1:
        raise ValueError(f"Expected `chunk_pixels` to be at least 1, but got {chunk_pixels}.")
    count = -(-num_pixels // chunk_pixels)
    bounds = [num_pixels * index // count for index in range(count + 1)]
    return tuple(slice(start, stop) for start, stop in pairwise(bounds))
