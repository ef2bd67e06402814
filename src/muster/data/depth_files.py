"""Depth maps that are files: PNGs of 8 or 16 bits whose values are parts of a metre, or NumPy arrays.

Axis names: ``h`` and ``w`` are the rows and columns of one map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from muster.arrays import NumpyArray
from muster.data.images import StoredMask, read_stored_mask
from muster.data.sample_reader import MaskSource
from muster.data.spec import DatasetSpec
from muster.errors import DatasetError
from muster.user_files import open_regular

ARRAY_SUFFIX = ".npy"

DEPTH_SUFFIXES = frozenset({".png", ARRAY_SUFFIX})
"""File name endings of depth maps, in lower case."""


@dataclass(frozen=True, eq=False)
class FileDepths(MaskSource):
    """The depth maps of one split.

    Attributes:
        spec: Their dataset.
        files: Identifier -> map.
        scale: Units of a metre in the stored values, such as 1000 for millimetres; ``None`` if nobody says, and then
            only arrays of metres can be read.
    """

    spec: DatasetSpec
    files: Mapping[str, Path]
    scale: float | None

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return str(self.files[identifier])

    def read(self, identifier: str) -> StoredMask:
        """Metres, float32, NaN where nothing is known: where 0 or less is stored, or no finite number.

        Raises:
            DatasetError: If the file cannot be read, is no map of numbers, or nobody says what its whole numbers mean.
        """
        path = self.files[identifier]
        if path.suffix.lower() == ARRAY_SUFFIX:
            return StoredMask(in_metres(self._array(path), self.scale or 1.0), None)
        stored = read_stored_mask(path, self.spec.name)
        if self.scale is None:
            raise DatasetError(
                f"Depth map {path} of dataset {self.spec.name!r} holds whole numbers, and nothing says how many of "
                "them are a metre. Write it into dataset.yaml, e.g. 'scale: 1000' for millimetres."
            )
        return StoredMask(in_metres(stored.values, self.scale), stored.tag)

    def _array(self, path: Path) -> NumpyArray:
        called = f"Depth map {path} of dataset {self.spec.name!r}"
        try:
            with open_regular(path) as file:
                values: NumpyArray = np.load(file, allow_pickle=False)
        except OSError as error:
            raise DatasetError(f"{called} cannot be read: {error.strerror or error}.") from error
        except (ValueError, EOFError) as error:
            raise DatasetError(f"{called} is no NumPy array of numbers: {error}.") from error
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise DatasetError(
                f"{called}: expected numbers of shape [height, width], but got {values.dtype} {list(values.shape)}."
            )
        return values


def in_metres(stored: NumpyArray, scale: float) -> Float32[NumpyArray, "h w"]:
    """Stored values as depths.

    Args:
        stored: Numbers; 0 or less, and what is not finite, is not known.
        scale: So many are a metre.

    Returns:
        NaN where nothing is known.
    """
    values = stored.astype(np.float64)
    depths: NumpyArray = np.where(np.isfinite(values) & (values > 0), values / scale, np.nan).astype(np.float32)
    return depths
