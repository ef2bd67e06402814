"""What scenes are painted on: an image, its fine label map, and how far away everything is, in step.

Positions are measured in image heights: rows from 0 (top) to 1, columns from 0 to the aspect ratio ``w / h``. So one
scene can be drawn at any size. Axis names: ``h`` and ``w`` are the rows and columns of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, no_type_check

import numpy as np
from numpy.typing import NDArray

from muster.data.worlds.random_generator import Floats, Generator, noise
from muster.data.worlds.textures import TILE, texture
from muster.data.worlds.things import Things

Colour = tuple[float, float, float]
"""Red, green and blue; 1 is full scale, lamps may be brighter."""

Palette = Mapping[str, Sequence[Colour]]
"""The colours in which a thing comes."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Style:
    """What makes two datasets of one domain look different while their scenes obey the same rules.

    Attributes:
        palette: Colours that replace the domain's own.
        amounts: How many of a thing to expect, or how likely it is, where it differs from the domain's own.
        tint: Gain of red, green and blue: the colour of the light.
        light: Range of the overall gain.
        slope: Largest change of light from one side of the image to the other.
        saturation: 0 is grey, 1 leaves colours alone.
        haze: How much of the distance vanishes in ``haze_colour``.
        haze_colour: Colour of the distance.
        zoom: Size of things.
        cell: Size of texture patterns in pixels of a 64-pixel image.
        grain: Strength of textures.
        noise: Strength of the camera's noise.
    """

    palette: Palette = field(default_factory=dict)
    amounts: Mapping[str, float] = field(default_factory=dict)
    tint: Colour = (1.0, 1.0, 1.0)
    light: tuple[float, float] = (0.75, 1.15)
    slope: float = 0.3
    saturation: float = 1.0
    haze: float = 0.2
    haze_colour: Colour = (0.75, 0.78, 0.82)
    zoom: float = 1.0
    cell: float = 5.0
    grain: float = 1.0
    noise: float = 0.05


class Area(NamedTuple):
    """Part of an image: a box, and which of its pixels (all if ``inside`` is ``None``)."""

    rows: slice
    cols: slice
    inside: Bools | None = None


# Exempt from the test run's checks of every call for the reason given at Generator.
@no_type_check
class Renderer:
    """An image in the making.

    Attributes:
        generator: Source of all chance in this image.
        style: How the dataset looks.
        image: float32 ``[3, h, w]``.
        labels: uint8 ``[h, w]``, indices of ``names``.
        distance: float32 ``[h, w]``, metres from the camera to what is painted, NaN where there is no surface; ``None``
            where nobody asks for it, as it costs a third of the time.
        things: Which things there are, where somebody asks for them.
        y: float32 ``[h, 1]``, row centres.
        x: float32 ``[1, w]``, column centres.
        aspect: Width over height.
    """

    def __init__(
        self,
        generator: Generator,
        style: Style,
        size: tuple[int, int],
        names: Sequence[str],
        palette: Palette,
        measures: bool = False,
    ) -> None:
        """Start with a black image of ``size`` (h, w) whose fine classes are ``names``, measured or not."""
        self.generator, self.style = generator, style
        self.height, self.width = size
        self.aspect = self.width / self.height
        self.image: Floats = np.zeros((3, *size), np.float32)
        self.labels = np.zeros(size, np.uint8)
        self.distance: Floats | None = np.full(size, np.nan, np.float32) if measures else None
        self._away: float | Floats = np.nan
        self.y: Floats = ((np.arange(self.height, dtype=np.float32) + np.float32(0.5)) / np.float32(self.height))[
            :, None
        ]
        self.x: Floats = ((np.arange(self.width, dtype=np.float32) + np.float32(0.5)) / np.float32(self.height))[
            None, :
        ]
        self.things: Things | None = None
        self._codes = {name: code for code, name in enumerate(names)}
        self._palette = palette

    def amount(self, name: str, default: float) -> float:
        """How much of a thing this dataset has."""
        return self.style.amounts.get(name, default)

    def colour(self, name: str, spread: float = 0.05) -> Colour:
        """One of the colours of a thing, varied a little."""
        options = self.style.palette.get(name) or self._palette[name]
        red, green, blue = self.generator.pick(options)
        gain = 1.0 + self.generator.uniform(-2.0, 2.0) * spread
        shift = self.generator.uniform(-spread, spread) * 0.5
        return red * gain + shift, green * gain, blue * gain - shift

    def pattern(self, kind: str, area: Area, scale: float = 1.0) -> Floats:
        """A random window of a texture, as large as the box of ``area``."""
        cell = max(2, int(self.style.cell * scale * self.height / 64 + 0.5))
        rows, cols = area.rows, area.cols
        height, width = rows.stop - rows.start, cols.stop - cols.start
        top, left = self.generator.below(TILE - height + 1), self.generator.below(TILE - width + 1)
        return texture(kind, cell)[top : top + height, left : left + width]

    def paint(
        self, area: Area, name: str, colour: Colour, kind: str = "", amount: float = 0.1, scale: float = 1.0
    ) -> None:
        """Cover an area with a thing.

        Args:
            area: Where.
            name: Fine class of the thing.
            colour: Its colour.
            kind: Its texture; none if empty.
            amount: Strength of the texture.
            scale: Size of the texture's pattern, relative.
        """
        rows, cols, inside = area
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return
        value: Floats = np.array(colour, np.float32)[:, None, None]
        if kind:
            value = value * (
                self.pattern(kind, area, scale) * np.float32(amount * 2.2 * self.style.grain) + np.float32(1)
            )
        # Drawing costs an image's budget mostly in calls, so a plain box skips the masked copy.
        if inside is None:
            self.image[:, rows, cols] = value
            self.labels[rows, cols] = self._codes[name]
        else:
            np.copyto(self.image[:, rows, cols], value, where=inside)
            np.copyto(self.labels[rows, cols], np.uint8(self._codes[name]), where=inside)
        if self.distance is not None:
            away = self._away[rows, cols] if isinstance(self._away, np.ndarray) else self._away
            np.copyto(self.distance[rows, cols], np.float32(away), where=True if inside is None else inside)
        if self.things is not None:
            self.things.cover(area, name)

    def stand(self, distance: float | Callable[[], Floats]) -> None:
        """Say how far away from the camera is what is painted from now on.

        Args:
            distance: In metres; or what computes it where distances are asked for, ``[h, w]`` or shapes that spread to
                that. NaN where there is no surface.
        """
        if self.distance is not None:
            self._away = np.broadcast_to(distance(), self.distance.shape) if callable(distance) else distance

    def shade(self, area: Area, factor: float) -> None:
        """Darken or brighten an area without changing what is there."""
        part = self.image[:, area.rows, area.cols]
        np.multiply(part, np.float32(factor), out=part, where=True if area.inside is None else area.inside)

    def hazed(self, colour: Colour, part: float) -> Colour:
        """A colour of which a ``part`` is lost in the haze, or in the water."""
        red, green, blue = (c + part * (h - c) for c, h in zip(colour, self.style.haze_colour, strict=True))
        return red, green, blue

    def everywhere(self, inside: Bools | None = None) -> Area:
        """The whole image, or its pixels where ``inside`` bool ``[h, w]`` holds."""
        return Area(slice(0, self.height), slice(0, self.width), inside)

    def box(self, top: float, left: float, bottom: float, right: float) -> Area:
        """An upright rectangle, at least one pixel thick."""
        return Area(_span(top, bottom, self.height, self.height), _span(left, right, self.height, self.width))

    def ellipse(self, y: float, x: float, half_height: float, half_width: float) -> Area:
        """An upright ellipse around (y, x)."""
        box = self.box(y - half_height, x - half_width, y + half_height, x + half_width)
        down = (self.y[box.rows] - np.float32(y)) / np.float32(half_height)
        across = (self.x[:, box.cols] - np.float32(x)) / np.float32(half_width)
        return Area(box.rows, box.cols, down * down + across * across <= np.float32(1))

    def polygon(self, *corners: tuple[float, float]) -> Area:
        """A convex polygon with (y, x) corners in either direction around."""
        ys, xs = [c[0] for c in corners], [c[1] for c in corners]
        box = self.box(min(ys), min(xs), max(ys), max(xs))
        y, x = self.y[box.rows], self.x[:, box.cols]
        inside: Bools | None = None
        turn = _turn(corners)
        for (y0, x0), (y1, x1) in zip(corners, (*corners[1:], corners[0]), strict=True):
            # On the inner side of the edge; split into a column and a row, so that one pass over the box does.
            down, across = turn * (x1 - x0), turn * (y1 - y0)
            column = np.float32(down) * y - np.float32(down * y0 - across * x0)
            side = column >= np.float32(across) * x
            inside = side if inside is None else inside & side
        return Area(box.rows, box.cols, inside)

    def finish(self) -> NDArray[np.uint8]:
        """Apply light, colour cast and camera noise.

        Returns:
            uint8 ``[3, h, w]``.
        """
        style, generator = self.style, self.generator
        image = self.image
        if style.saturation != 1.0:
            grey = (image[0] + image[1] + image[2]) * np.float32(1 / 3)
            image = grey + (image - grey) * np.float32(style.saturation)
        down, across = generator.uniform(-1.0, 1.0) * style.slope, generator.uniform(-1.0, 1.0) * style.slope
        gain = np.float32(generator.uniform(*style.light)) * (
            np.float32(1)
            + np.float32(down) * (self.y - np.float32(0.5))
            + np.float32(across) * (self.x - np.float32(0.5))
        )
        cast = np.array([c * generator.uniform(0.94, 1.06) for c in style.tint], np.float32)[:, None, None]
        image = image * gain * cast + noise(generator.key(), *image.shape) * np.float32(style.noise * 1.5)
        result: NDArray[np.uint8] = np.clip(image * np.float32(255), 0, 255).astype(np.uint8)
        return result


def _span(low: float, high: float, unit: int, limit: int) -> slice:
    start = min(max(int(low * unit + 1000.5) - 1000, 0), limit)
    stop = min(max(int(high * unit + 1000.5) - 1000, 0), limit)
    # A thing thinner than a pixel still shows, unless it lies outside of the image.
    return slice(start, min(start + 1, limit) if stop == start and high > 0 else stop)


def _turn(corners: Sequence[tuple[float, float]]) -> float:
    """1 or -1: the direction in which the corners go round."""
    area = 0.0
    for (y0, x0), (y1, x1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        area += x0 * y1 - x1 * y0
    return 1.0 if area >= 0 else -1.0
