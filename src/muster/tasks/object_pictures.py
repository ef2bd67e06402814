"""Pictures of objects: boxes in the colours of their classes, and the points of objects that have some.

Axis names: ``h`` and ``w`` rows and columns; ``n`` objects, ``columns`` as in :mod:`muster.tasks.found_objects`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from muster.data.boxes import FOUND_POINTS, LABEL, SCORE

_HUE = 0.618034
"""From class to class hues go on by the golden section, so that neighbours differ."""

LEAST_PICTURE = 384
"""Longer side in pixels at which boxes, points and names can be told apart."""

_INK = (20, 20, 24)


def draw_objects(
    image: UInt8[Tensor, "3 h w"], found: Float[Tensor, "n columns"], classes: Sequence[str] = (), points: bool = False
) -> UInt8[Tensor, "3 h w"]:
    """An image with boxes.

    Args:
        image: RGB.
        found: In its pixels.
        classes: Names to write at the boxes, with the score; nothing is written without.
        points: Whether colours tell points apart, and not classes.

    Returns:
        Of the same size.
    """
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    draw = ImageDraw.Draw(picture)
    side = max(picture.size)
    width, font = max(1, side // 256), ImageFont.load_default(max(10, side // 40))
    for row in found.flip(0).tolist():  # the best on top
        colour = colour_of(0 if points else int(row[LABEL]))
        draw.rectangle(_upright(row[:4]), outline=colour, width=width)
        for place, (x, y) in enumerate(zip(row[FOUND_POINTS::2], row[FOUND_POINTS + 1 :: 2], strict=True)):
            if x == x:  # no NaN: it is known
                radius = max(1, side // 100)
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour_of(place + 1), outline=_INK)
        if classes:
            _write(draw, row, classes, colour, font)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).contiguous()


def draw_enlarged(
    image: UInt8[Tensor, "3 h w"], found: Float[Tensor, "n columns"], classes: Sequence[str] = (), points: bool = False
) -> UInt8[Tensor, "3 y x"]:
    """The same on a small image enlarged by a whole number, to :data:`LEAST_PICTURE` pixels or more."""
    times = max(1, -(-LEAST_PICTURE // max(image.shape[1:])))
    larger = image.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    moved = found.clone()
    moved[:, :4] *= times
    moved[:, FOUND_POINTS:] *= times
    return draw_objects(larger, moved, classes, points)


def _write(
    draw: ImageDraw.ImageDraw,
    row: Sequence[float],
    classes: Sequence[str],
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    text = f"{classes[int(row[LABEL])]} {row[SCORE]:.2f}"
    left, top = row[0], max(0.0, row[1] - font.getbbox(text)[3] - 2)
    draw.rectangle(draw.textbbox((left + 1, top), text, font=font), fill=colour)
    draw.text((left + 1, top), text, fill=_INK, font=font)


def _upright(box: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left, top, max(left, right - 1), max(top, bottom - 1)


def colour_of(index: int) -> tuple[int, int, int]:
    """A bright colour for a class or a point."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + index * _HUE) % 1, 0.75, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)
