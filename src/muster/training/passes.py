"""How often, and at which sizes, a model looks at an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muster.data import Preprocessing
from muster.models import SourceModel, Variant


@dataclass(frozen=True, eq=False)
class SeveralPasses:
    """A model that looks at an image several times.

    Attributes:
        model: The model.
        sizes: Rows and columns of what it sees each time.
    """

    model: SourceModel
    sizes: Sequence[tuple[int, int]]

    @classmethod
    def of(
        cls, model: SourceModel, shown: Preprocessing, variants: Sequence[Variant], stored: tuple[int, int]
    ) -> SeveralPasses:
        """What a model sees of an image.

        Args:
            model: The model.
            shown: How the image is shown to models without a preprocessing of their own.
            variants: The ways in which it is shown.
            stored: Its rows and columns, as stored.
        """
        shape = shown.seen_by(model.preprocessing).shape_of(*stored)
        return cls(model, [variant.shape_of(*shape) for variant in variants])
