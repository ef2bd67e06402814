"""What reports show besides plain values: a few images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True)
class ReportImage:
    """One image with what was predicted for it.

    Attributes:
        identifier: Name of the image in its split.
        image: uint8 ``[3, h, w]``, RGB.
        truth: uint8 ``[h, w]``, class indices, 255 where void.
        predictions: uint8 ``[h, w]`` by the name of the model.
        confidence: float32 ``[h, w]``, the probability that the ensemble gives to the true class; NaN where void.
    """

    identifier: str
    image: Tensor
    truth: Tensor
    predictions: Mapping[str, Tensor]
    confidence: Tensor


@dataclass(frozen=True)
class DrawnImage:
    """One image as its task draws it, where predictions are no classes, see :meth:`muster.tasks.task.Task.pictures`.

    Attributes:
        identifier: Name of the image in its split.
        pictures: uint8 ``[3, h, w]``, RGB, by what to call each; the image itself is first.
    """

    identifier: str
    pictures: Mapping[str, Tensor]


AnyImage: TypeAlias = ReportImage | DrawnImage
"""What a report shows of an image."""
