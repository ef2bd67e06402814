"""Parts of large images: where they lie, and the whole that was read last.

Tiles of an image lie on a grid whose steps are the size of a tile less the overlap; the last one of a row or column is
moved back so that it ends where the image ends. A side of an image that is shorter than a tile is not cut.

Axis names: ``h`` and ``w`` are the rows and columns of one image.

Source: M21, table 1, note c, cuts ISPRS and iSAID so: 800 x 800 pixels that overlap by 200, as the devkit of iSAID
does. (It leaves an image whole of which only one side is shorter than a tile; here the other side is cut.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from muster.data.orientation import Pixels
from muster.data.yaml_checks import is_whole, wrong
from muster.errors import DatasetError, unknown_name

Whole = TypeVar("Whole")


class Latest(Generic[Whole]):
    """Keeps what was made last, e.g. a whole image whose parts are asked for one after the other."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: tuple[str, Whole] | None = None

    def __call__(self, name: str, make: Callable[[], Whole]) -> Whole:
        """What has a name: as it was kept, or made anew."""
        kept = self._kept  # once: another thread may put something else there
        if kept is None or kept[0] != name:
            kept = self._kept = (name, make())
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: nothing that was made."""
        return {"_kept": None}


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        top: Its first row.
        left: Its first column.
        height: Its rows.
        width: Its columns.
    """

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: Tensor) -> Tensor:
        """The same part of an image ``[channels, h, w]`` or of a mask ``[h, w]``, as a copy."""
        return pixels[..., self.top : self.top + self.height, self.left : self.left + self.width].clone()

    def of_rows(self, values: Pixels) -> Pixels:
        """The same part of stored values ``[h, w]`` or colours ``[h, w, 3]``, as a view."""
        part: Pixels = values[self.top : self.top + self.height, self.left : self.left + self.width]
        return part


@dataclass(frozen=True)
class Tiling:
    """How images are cut.

    Attributes:
        height: Rows of a tile.
        width: Columns of a tile.
        overlap: Rows and columns that neighbours have in common.

    Example:
        >>> [window.left for window in Tiling(800, 800, 200).windows(700, 1500)]
        [0, 600, 700]
    """

    height: int
    width: int
    overlap: int = 0

    def windows(self, height: int, width: int) -> list[Window]:
        """The tiles of an image, row by row.

        Args:
            height: Rows of the image.
            width: Its columns.
        """
        tops, lefts = (_starts(*each, self.overlap) for each in ((height, self.height), (width, self.width)))
        high, wide = min(height, self.height), min(width, self.width)
        return [Window(top, left, high, wide) for top in tops for left in lefts]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    last = max(0, length - size)
    return [*range(0, last, size - overlap), last]


def parse_tiling(path: Path, value: object) -> Tiling | None:
    """Read the key ``tiles`` of a ``dataset.yaml``.

    Args:
        path: The file, for messages.
        value: Its value: ``size``, rows and columns, and maybe ``overlap``.

    Returns:
        How images are cut; ``None`` without a value.

    Raises:
        DatasetError: If it is no such mapping, or tiles overlap by their whole size.
    """
    if value is None:
        return None
    expected = "size: [rows, columns] of a tile and, if tiles overlap, overlap: pixels"
    if not isinstance(value, dict) or "size" not in value:
        raise wrong(path, "tiles", expected, value)
    for key in value:
        if key not in {"size", "overlap"}:
            raise DatasetError(f"{path}: key 'tiles': {unknown_name('key', str(key), ('size', 'overlap'))}")
    size, overlap = value["size"], value.get("overlap", 0)
    if not isinstance(size, list) or len(size) != 2 or not all(is_whole(side) and side > 0 for side in size):
        raise wrong(path, "tiles.size", "two numbers of pixels, rows and columns", size)
    if not is_whole(overlap) or not 0 <= overlap < min(size):
        raise wrong(path, "tiles.overlap", f"a number of pixels from 0 to {min(size) - 1}", overlap)
    return Tiling(size[0], size[1], overlap)
