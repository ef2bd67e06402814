"""Networks around another network: what both have in common is the inner one's.

Axis names: as in :mod:`muster.models.source_model`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from muster.models.source_model import SourceModel


class Wrapped(SourceModel):
    """A network around another one.

    Attributes:
        inner: The other one.
    """

    def __init__(self, inner: SourceModel) -> None:
        """Take a network as it is.

        Args:
            inner: Not wrapped in the same way itself.
        """
        super().__init__()
        self.inner = inner
        self.preprocessing, self.in_channels = inner.preprocessing, inner.in_channels
        self.started_from, self.holds = inner.started_from, inner.holds

    @abstractmethod
    def _describe(self) -> None:
        """Say anew how it is built, after the inner network was changed."""

    @property
    def minimum_side(self) -> int:
        """See :attr:`SourceModel.minimum_side`."""
        return self.inner.minimum_side

    @property
    def side_multiple(self) -> int:
        """See :attr:`SourceModel.side_multiple`."""
        return self.inner.side_multiple

    @property
    def device(self) -> torch.device:
        """See :attr:`SourceModel.device`."""
        return self.inner.device

    def blank_image(self) -> Float[Tensor, "1 bands height width"]:
        """See :meth:`SourceModel.blank_image`."""
        return self.inner.blank_image()

    def blank_images(self, count: int, height: int, width: int) -> Float[Tensor, "_ bands _ _"]:
        """See :meth:`SourceModel.blank_images`."""
        return self.inner.blank_images(count, height, width)

    def adapt_channels(self, channels: int) -> None:
        """See :meth:`SourceModel.adapt_channels`."""
        self.inner.adapt_channels(channels)
        self.in_channels = self.inner.in_channels
        self._describe()
