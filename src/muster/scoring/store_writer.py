"""Writes a store of predictions to a folder, one member after the other."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from jaxtyping import Float

from muster.arrays import Labels, NumpyArray, Predictions, as_labels, as_probabilities
from muster.errors import SelectionError
from muster.output_kinds import STORE
from muster.outputs import replaced
from muster.records import write_record
from muster.scoring._store_folder import (
    FORMAT_VERSION,
    HEADER,
    LABELS,
    ORDER,
    Header,
    predictions_file,
    true_class_file,
)
from muster.scoring.prediction_store import CHUNK_PIXELS, chunks_of, draw_order


class StoreWriter:
    """Writes a store member by member; the folder appears when the ``with`` block ends well, or not at all.

    Example:
        >>> import tempfile
        >>> from muster.scoring import PredictionStore
        >>> with tempfile.TemporaryDirectory() as temporary:
        ...     folder = Path(temporary) / "store"
        ...     with StoreWriter(folder, np.array([1, 0, 1]), num_classes=2) as writer:
        ...         writer.add(np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
        ...     PredictionStore.open(folder).true_class_probabilities().tolist()
        [[0.2, 0.1, 0.5]]
    """

    def __init__(
        self,
        folder: Path | str,
        labels: Labels,
        num_classes: int,
        num_members: int | None = None,
        seed: int = 0,
        chunk_pixels: int = CHUNK_PIXELS,
    ) -> None:
        """Nothing is written before the ``with`` block is entered.

        Args:
            folder: Where; what is there already is replaced.
            labels: Target classes, ``[pixels]``, integers in 0..classes-1.
            num_classes: Number of target classes.
            num_members: How many members will come, if known: the space for all is then asked for at the start. Fewer
                or more may come.
            seed: The seed of the order of the pixels, as for :meth:`PredictionStore.of`.
            chunk_pixels: As for :meth:`PredictionStore.of`.

        Raises:
            ValueError: If ``labels`` are not integers, empty, or outside 0..classes-1.
            ValueError: If ``chunk_pixels`` is not positive.
        """
        if len(labels) == 0:
            raise ValueError("Expected `labels` to hold at least one pixel, but got none.")
        checked, _ = as_labels(labels, len(labels), num_classes, torch.device("cpu"))
        self._folder, self._num_classes, self._expected = Path(folder), num_classes, num_members
        self._given = checked.numpy()
        self._order = draw_order(self._given, seed, chunk_pixels)
        self._chunk_pixels = chunk_pixels
        self._dtype: np.dtype[np.floating] | None = None
        self._written = 0
        self._stack = ExitStack()
        self._partial: Path | None = None

    def __enter__(self) -> StoreWriter:
        self._partial = self._stack.enter_context(replaced(self._folder, STORE, SelectionError))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with self._stack:
                self._finish()
        else:
            self._stack.__exit__(kind, error, trace)
        self._partial = None

    def add(self, eep: Predictions) -> None:
        """Write the next member.

        Args:
            eep: Its target predictions, ``[pixels, classes]``, between 0 and 1; half precision is written as float32.
                The first member decides whether the store is float32 or float64.

        Raises:
            ValueError: If ``eep`` is no array of probabilities, or of another shape or type than the store.
            SelectionError: If the disk is full.
        """
        if self._partial is None:
            raise ValueError("Expected `add` to be called inside the `with` block of the writer.")
        name = f"eeps[{self._written}]"
        values = as_probabilities(name, eep).cpu().numpy()
        shape = (len(self._given), self._num_classes)
        if values.shape != shape:
            raise ValueError(f"Expected `{name}` to have shape {list(shape)}, but got {list(values.shape)}.")
        if self._dtype is None:
            self._dtype = values.dtype
            self._require_space(self._expected or 1)
        if values.dtype != self._dtype:
            raise ValueError(f"Expected `{name}` to be {self._dtype} as the first member, but got {values.dtype}.")
        self._require_space(1)
        try:
            self._write(self._partial, values)
        except OSError as problem:
            raise SelectionError(f"Cannot write predictions to {self._folder} ({problem.strerror}).") from problem
        self._written += 1

    def _write(self, folder: Path, values: Float[NumpyArray, "pixels classes"]) -> None:
        values[self._order, self._given[self._order]].tofile(true_class_file(folder, self._written))
        with predictions_file(folder, self._written).open("wb") as file:
            for chunk in chunks_of(len(self._order), self._chunk_pixels):  # no second copy of it all
                file.write(values[self._order[chunk]].data)

    def _finish(self) -> None:
        if self._partial is None or self._dtype is None:
            raise ValueError("Expected at least one member to be written, but got none.")
        np.save(self._partial / LABELS, self._given[self._order])
        np.save(self._partial / ORDER, self._order)
        header = Header(
            self._written, len(self._given), self._num_classes, self._dtype.name, chunk_pixels=self._chunk_pixels
        )
        write_record(self._partial / HEADER, header, FORMAT_VERSION)

    def _require_space(self, members: int) -> None:
        assert self._dtype is not None
        assert self._partial is not None
        needed = members * len(self._given) * (self._num_classes + 1) * self._dtype.itemsize
        free = shutil.disk_usage(self._partial).free
        if needed > free:
            raise SelectionError(
                f"{self._folder}: the predictions of {members} more member(s) take {needed / 1e9:.1f} GB, but only "
                f"{free / 1e9:.1f} GB are free there. Free some, name another folder, or probe fewer pixels."
            )
