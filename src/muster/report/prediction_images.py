"""What is shown of a prediction: maps of values in colours that read back as values, and overlays with a legend.

Axis names: ``h`` and ``w`` are the rows and columns of one image, ``levels`` the values of a byte.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from muster.arrays import NumpyArray
from muster.report.palette import CONFIDENCE_MAP, class_colours, overlay

_INK, _PAPER = (30, 30, 34), (255, 255, 255)
_LEAST_TEXT, _MOST_TEXT = 11, 40  # pixels


def value_colours() -> UInt8[NumpyArray, "levels 3"]:
    """The colour of each value of a byte: dark for 0, light for 255."""
    shown: NumpyArray = matplotlib.colormaps[CONFIDENCE_MAP](np.arange(256), bytes=True)[:, :3]
    return shown


def value_image(values: UInt8[NumpyArray, "h w"]) -> Image.Image:
    """A map of values to be stored.

    Args:
        values: 0 to 255.

    Returns:
        An image of mode ``P`` that reads back as the same values and shows in colours.
    """
    image = Image.fromarray(values)
    image.putpalette(value_colours().tobytes())
    return image


def labelled_overlay(image: UInt8[Tensor, "3 h w"], mask: UInt8[Tensor, "h w"], classes: Sequence[str]) -> Image.Image:
    """An image tinted with its mask, with a legend of the classes in it below.

    Args:
        image: RGB.
        mask: Class indices of the same size.
        classes: Names of all classes.

    Returns:
        An RGB image of the same width; the legend adds rows at the bottom.
    """
    shown = overlay(image, mask)
    counts = np.bincount(mask.numpy().ravel(), minlength=len(classes))[: len(classes)]
    present = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index] > 0]
    legend = _legend(present, classes, shown.width)
    joined = Image.new("RGB", (shown.width, shown.height + legend.height), _PAPER)
    joined.paste(shown, (0, 0))
    joined.paste(legend, (0, shown.height))
    return joined


def _legend(present: Sequence[int], classes: Sequence[str], width: int) -> Image.Image:
    """Swatches with names, as many in a line as go into it; the class with most pixels first."""
    text = min(_MOST_TEXT, max(_LEAST_TEXT, width // 50))
    font, gap, line = ImageFont.load_default(text), text // 2, text * 3 // 2
    places, left, top = [], gap, gap
    for index in present:
        length = text + gap // 2 + round(font.getlength(classes[index])) + gap
        if left > gap and left + length > width:
            left, top = gap, top + line
        places.append((index, left, top))
        left += length
    legend = Image.new("RGB", (width, top + line), _PAPER)
    draw = ImageDraw.Draw(legend)
    for index, across, down in places:
        draw.rectangle((across, down, across + text, down + text), fill=tuple(class_colours()[index].tolist()))
        draw.text((across + text + gap // 2, down + text // 2), classes[index], fill=_INK, font=font, anchor="lm")
    return legend
