"""Training crops as each of several models wants them: one is drawn for all, and resized and normalised for each.

Axis names: ``b`` images, ``channels`` of an image, ``rows`` and ``columns`` of the crop that was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int64, Num
from torch import Tensor

from muster.data.preprocessing import Preprocessing
from muster.data.resizing import resized
from muster.data.transforms import TrainingTransform, normalise_crops
from muster.data.truth_cuts import OF_PIXELS, TruthCut
from muster.data.views import Views


@dataclass(frozen=True)
class CropViews:
    """How crops are drawn and prepared for models that may differ in preprocessing.

    A crop is drawn once, at the largest scale that any model wants, and each model sees it at its own scale. A model
    whose preprocessing makes images of exact rows and columns, or cuts them out, sees crops of that size. With one that
    keeps the aspect of images, the scale is that of one image of the dataset: a batch has crops of one size.

    Attributes:
        shown: How images are shown to models without a preprocessing of their own.
        owns: The own preprocessing of each model, ``None`` for models without.
        crop_size: Rows and columns that models without one see, in pixels.
        stored_size: Gives rows and columns of an image of the dataset as stored; asked only if the scale rests on it.
    """

    shown: Preprocessing
    owns: tuple[Preprocessing | None, ...]
    crop_size: tuple[int, int]
    stored_size: Callable[[], tuple[int, int]]

    @property
    def is_alike(self) -> bool:
        """Whether no model has a preprocessing of its own."""
        return set(self.owns) <= {None}

    def size_for(self, own: Preprocessing | None) -> tuple[int, int]:
        """Rows and columns of a crop as one model sees it.

        Args:
            own: Its own preprocessing, if it has one.

        Returns:
            In pixels.
        """
        if own is None or own.size is None:
            return self.crop_size
        if own.size.fixed is not None:
            return own.size.fixed
        stored = self.stored_size()
        pairs = zip(self.crop_size, own.shape_of(*stored), self.shown.shape_of(*stored), strict=True)
        rows, columns = (max(1, round(crop * wanted / shown)) for crop, wanted, shown in pairs)
        return rows, columns

    @property
    def scale(self) -> float:
        """The largest scale that any model wants, relative to that at which images are shown."""
        if self.is_alike:
            return 1.0
        wanted = [self.size_for(own) for own in dict.fromkeys(self.owns)]
        return max(side / crop for size in wanted for side, crop in zip(size, self.crop_size, strict=True))

    def transform(
        self, scale_range: tuple[float, float], colour_jitter: float = 0.0, truth_cut: TruthCut = OF_PIXELS
    ) -> TrainingTransform:
        """What draws the crops.

        Args:
            scale_range: See :class:`TrainingTransform`.
            colour_jitter: Likewise.
            truth_cut: Likewise.

        Returns:
            It draws as if all models saw images as they are shown, at :attr:`scale`.
        """
        scale = self.scale
        rows, columns = (max(1, round(side * scale)) for side in self.crop_size)
        shape = rows, columns
        return TrainingTransform(self.shown, shape, scale_range, True, scale, colour_jitter, truth_cut)

    def views(self, crops: Num[Tensor, "b channels rows columns"], boxes: Int64[Tensor, "b 4"]) -> Views:
        """Normalise and resize crops for each model, on whatever device they are.

        Args:
            crops: Of :class:`muster.data.transforms.Crop`.
            boxes: Likewise.

        Returns:
            What each model sees; 0 in the padding.
        """
        if self.is_alike:
            return normalise_crops(crops, boxes, self.shown)
        views = {}
        for own in dict.fromkeys(self.owns):
            wanted = self.shown.seen_by(own)
            # Normalised first: at the edge of the padding, pixels are to be mixed with its 0, not with black.
            images = normalise_crops(crops, boxes, wanted)
            views[own] = resized(images, self.size_for(own), wanted.interpolation)
        return views
