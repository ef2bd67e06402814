"""Where the members' predictions go as they are made: they stay on their device, or go to the host, or onto disk.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.machine import free_bytes
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.store_writer import StoreWriter

_PREFIX = "muster-store-"
_STALE_AFTER = 7 * 24 * 60 * 60
"""Seconds; reading does not make a folder younger, and no search takes a week."""

_GIGABYTE = 1e9
_FLOAT32_BYTES = 4

_PART_OF_FREE = 0.5
"""Share of a GPU's free memory that predictions may take: networks and scores need room too."""


class PredictionWriter:
    """Takes the predictions of one member after the other, and makes a store of them.

    They stay on a GPU where all of them take at most half of the memory that is free there. What fits neither there nor
    into the memory of the host goes into a temporary folder, which is gone when the ``with`` block ends.
    """

    def __init__(
        self,
        labels: Int[Tensor, " pixels"],
        num_classes: int,
        num_members: int,
        memory_gb: float,
        folder: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Nothing is written before the ``with`` block is entered.

        Args:
            labels: Target classes of the probe pixels.
            num_classes: Number of target classes.
            num_members: How many members will come at most.
            memory_gb: Most that predictions may take in the memory of the host, in units of 10^9 bytes.
            folder: Where to make the temporary folder; where the system puts such by default, or if nothing can be
                written there. Those of runs that were killed are removed from there after a week.
            device: Where predictions are made.
        """
        self._labels, self._num_classes, self._num_members = labels, num_classes, num_members
        needed = num_members * len(labels) * num_classes * _FLOAT32_BYTES
        made_on = torch.device(device)
        stay = made_on.type != "cpu" and needed <= _PART_OF_FREE * free_bytes(made_on)
        self._device = made_on if stay else torch.device("cpu")
        self._on_disk, self._folder = not stay and needed > memory_gb * _GIGABYTE, folder
        self._kept: list[Tensor] = []
        self._temporary, self._writing = ExitStack(), ExitStack()
        self._writer: StoreWriter | None = None
        self._written: Path | None = None

    def __enter__(self) -> PredictionWriter:
        if self._on_disk:
            self._written = Path(self._temporary.enter_context(_temporary_folder(self._folder))) / "store"
            writer = StoreWriter(self._written, self._labels, self._num_classes, self._num_members)
            self._writer = self._writing.enter_context(writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writing.__exit__(kind, error, trace)
        finally:
            self._temporary.__exit__(kind, error, trace)

    def add(self, predictions: Float[Tensor, "pixels classes"]) -> None:
        """Take the predictions of the next member.

        Raises:
            SelectionError: If the disk is full.
        """
        if self._writer is None:
            self._kept.append(predictions.to(self._device))
        else:
            self._writer.add(predictions)

    def store(self) -> PredictionStore:
        """All that was taken; nothing can be added after that."""
        if self._writer is None or self._written is None:
            return PredictionStore.of(self._kept, self._labels)
        self._writing.close()
        return PredictionStore.open(self._written)


def _temporary_folder(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    if folder is None:
        return tempfile.TemporaryDirectory(prefix=_PREFIX)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        return tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder)
    except OSError as problem:
        elsewhere = tempfile.TemporaryDirectory(prefix=_PREFIX)
        warnings.warn(f"Predictions go to {elsewhere.name}, because {folder} cannot be used: {problem}", stacklevel=4)
        return elsewhere


def _remove_stale(folder: Path) -> None:
    """Remove what killed runs left behind."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process may remove it at the same time
            newest = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
            if newest < time.time() - _STALE_AFTER:
                shutil.rmtree(left, ignore_errors=True)
