"""How the truth of a training crop is made of that of its image.

Axis names: ``h`` and ``w`` are the rows and columns of the stored image, ``rows`` and ``columns`` those of the crop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from muster.data.resizing import resized
from muster.data.spec import VOID

Span: TypeAlias = tuple[float, float]
"""From where to where along one side of the stored image, in its pixels."""


@dataclass(frozen=True)
class Placement:
    """Along one side: stored pixels ``start`` to ``stop`` become ``shown`` pixels from ``offset`` on in the crop."""

    start: int
    stop: int
    shown: int
    offset: int

    @property
    def scale(self) -> float:
        """Pixels of the crop for a stored one."""
        return self.shown / (self.stop - self.start)


class Cut(NamedTuple):
    """Which part of an image a crop shows, and where in it.

    Attributes:
        rows: Down.
        columns: Across, before anything is mirrored.
        shape: Rows and columns of the crop.
        is_mirrored: Whether left and right of the whole crop are exchanged.
    """

    rows: Placement
    columns: Placement
    shape: tuple[int, int]
    is_mirrored: bool

    @property
    def left(self) -> int:
        """First column of the crop that shows the image."""
        at = self.columns
        return self.shape[1] - at.offset - at.shown if self.is_mirrored else at.offset

    @property
    def source(self) -> tuple[object, ...]:
        """Index of the part of the stored image."""
        return (..., slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop))

    @property
    def target(self) -> tuple[object, ...]:
        """Index of the part of the crop."""
        top = self.rows.offset
        return (..., slice(top, top + self.rows.shown), slice(self.left, self.left + self.columns.shown))


class TruthCut(ABC):
    """A way to make it."""

    def focus(
        self,
        truth: Tensor,  # noqa: ARG002 (for those who look for something)
        taken: tuple[int, int],  # noqa: ARG002
        generator: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Span, Span] | None:
        """What a crop of an image should show, if it cannot be any part of it.

        Args:
            truth: Of the image.
            taken: Rows and columns of the stored image that the crop has room for.
            generator: Where the randomness comes from.

        Returns:
            Rows and columns; ``None`` where any part will do, and then nothing is drawn.
        """
        return None

    @abstractmethod
    def __call__(self, truth: Tensor, cut: Cut) -> Tensor:
        """The truth of the crop; of one shape for all crops of a size, so that they go into one batch."""


class MapCut(TruthCut):
    """A truth for every pixel is cut as the image is, and not known in the padding: void, or NaN in other numbers."""

    def __call__(self, truth: Num[Tensor, "h w"], cut: Cut) -> Num[Tensor, "rows columns"]:
        """See :class:`TruthCut`; values are those of the nearest stored pixel."""
        shown = (cut.rows.shown, cut.columns.shown)
        part = resized(truth[cut.source][None], shown, "nearest")[0]  # type: ignore[index]
        unknown = torch.nan if truth.is_floating_point() else VOID
        found = torch.full(cut.shape, unknown, dtype=truth.dtype)
        found[cut.target] = part.flip(-1) if cut.is_mirrored else part  # type: ignore[index]
        return found


class NoCut(TruthCut):
    """A truth of the whole image stays as it is, whatever part of it a crop shows."""

    def __call__(self, truth: Num[Tensor, "_ _"], cut: Cut) -> Num[Tensor, "_ _"]:  # noqa: ARG002
        """See :class:`TruthCut`."""
        return truth


OF_PIXELS: TruthCut = MapCut()
OF_THE_IMAGE: TruthCut = NoCut()
