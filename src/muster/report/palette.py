"""Colours: of classes, of what a label map shows, of confidence.

Axis names: ``h`` and ``w`` are the rows and columns of one image, ``colours`` counts label colours.
"""

from __future__ import annotations

from functools import lru_cache

import matplotlib
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.spec import MAX_CLASSES, VOID

VOID_COLOUR = (38, 38, 42)
"""Near black, and hatched in reports: nothing is known there."""

HATCH_COLOUR = (96, 96, 104)

CONFIDENCE_MAP = "viridis"
"""Perceptually uniform, and as readable with impaired colour vision as without."""

# Okabe and Ito, "Color universal design" (2008): eight colours that people with impaired colour vision can tell apart.
# Their black is left out, it would read as void.
_FIRST_COLOURS = ("0072b2", "e69f00", "009e73", "cc79a7", "56b4e9", "d55e00", "f0e442")

# Machado, Oliveira, Fernandes (2009), table 1, severity 1: how protanopes and deuteranopes see linear RGB.
_VISIONS = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
)

# Ottosson (2020), OKLab: a colour space in which distance is about what the eye makes of it.
_TO_CONES = ((0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566),
             (0.0883024619, 0.2817188376, 0.6299787005))  # fmt: skip
_TO_LAB = ((0.2104542553, 0.7936177850, -0.0040720468), (1.9779984951, -2.4285922050, 0.4505937099),
           (0.0259040371, 0.7827717662, -0.8086757660))  # fmt: skip


def _seen(colours: UInt8[NumpyArray, "colours 3"]) -> NumpyArray:
    """OKLab coordinates under each kind of vision, ``[colours, 9]``."""
    scaled = colours / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    views = [np.cbrt(np.clip(linear @ np.array(vision).T, 0, 1) @ np.array(_TO_CONES).T) for vision in _VISIONS]
    return np.concatenate([view @ np.array(_TO_LAB).T for view in views], axis=1)


def _nearest(points: NumpyArray, point: NumpyArray) -> NumpyArray:
    """Distance under the kind of vision that confuses the two colours most."""
    offsets = (points - point).reshape(len(points), len(_VISIONS), 3)
    distance: NumpyArray = np.sqrt((offsets**2).sum(axis=2)).min(axis=1)
    return distance


@lru_cache(maxsize=1)
def class_colours() -> UInt8[NumpyArray, "colours 3"]:
    """The colour of every class index, the same in every image, figure and mask.

    The first seven are a published colour-blind safe set. Each further one is, of a grid over all colours, the one
    farthest from all before it, seen with normal, protanopic or deuteranopic eyes, whichever confuses them most. So a
    class keeps its colour however many classes there are.

    Returns:
        RGB of 255 classes, read-only.
    """
    steps = np.linspace(0, 255, 13).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = _seen(grid)
    chroma = np.hypot(seen[:, 1], seen[:, 2])
    usable = (seen[:, 0] > 0.38) & (seen[:, 0] < 0.93) & (chroma < 0.24)  # not like void, not like paper, not glaring
    grid, seen = grid[usable], seen[usable]
    first = np.array([tuple(bytes.fromhex(code)) for code in _FIRST_COLOURS], dtype=np.uint8)
    distance = np.full(len(grid), np.inf)
    for known in _seen(np.concatenate([first, np.array([VOID_COLOUR, (255, 255, 255)], dtype=np.uint8)])):
        distance = np.minimum(distance, _nearest(seen, known))
    more = []
    for _ in range(MAX_CLASSES - len(first)):
        best = int(distance.argmax())
        more.append(grid[best])
        distance = np.minimum(distance, _nearest(seen, seen[best]))
    colours = np.concatenate([first, np.stack(more)])
    colours.flags.writeable = False
    return colours


def hex_colour(index: int) -> str:
    """The colour of a class as ``#rrggbb``; of void for 255."""
    red, green, blue = VOID_COLOUR if index == VOID else class_colours()[index].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _hatch(height: int, width: int) -> NumpyArray:
    """Where diagonal stripes run."""
    stripes: NumpyArray = (np.add.outer(np.arange(height), np.arange(width)) % 8) < 2
    return stripes


def _with_void(colours: NumpyArray, void: NumpyArray) -> NumpyArray:
    hatched = np.where(_hatch(*void.shape)[..., None], HATCH_COLOUR, VOID_COLOUR)
    shown: NumpyArray = np.where(void[..., None], hatched, colours).astype(np.uint8)
    return shown


def label_colours(mask: UInt8[Tensor, "h w"]) -> UInt8[NumpyArray, "h w 3"]:
    """A label map in colour, void hatched.

    Args:
        mask: Class indices, 255 where void.

    Returns:
        RGB.
    """
    indices = mask.cpu().numpy()
    table = np.concatenate([class_colours(), np.array([VOID_COLOUR], dtype=np.uint8)])
    return _with_void(table[indices], indices == VOID)


def mask_image(mask: UInt8[Tensor, "h w"]) -> Image.Image:
    """A label map to be stored: a palette PNG whose pixel values are the class indices.

    Args:
        mask: Class indices, 255 where void.

    Returns:
        An image of mode ``P``, which reads back as the same indices and shows in the colours of the reports.
    """
    image = Image.fromarray(mask.cpu().numpy())
    image.putpalette(class_colours().tobytes() + bytes(VOID_COLOUR))
    return image


def overlay(image: UInt8[Tensor, "3 h w"], mask: UInt8[Tensor, "h w"], strength: float = 0.5) -> Image.Image:
    """An image tinted with its label map, each region outlined; void stays as it is.

    Args:
        image: RGB.
        mask: Class indices of the same size, 255 where void.
        strength: 0 shows the image alone, 1 the label map alone.

    Returns:
        An RGB image.
    """
    base = image.permute(1, 2, 0).cpu().numpy().astype(np.float32)
    indices = mask.cpu().numpy()
    edge = np.zeros(indices.shape, dtype=bool)
    edge[:, 1:] |= indices[:, 1:] != indices[:, :-1]
    edge[1:] |= indices[1:] != indices[:-1]
    share = np.where(edge, max(strength, 0.9), strength) * (indices != VOID)
    mixed = base + share[..., None] * (label_colours(mask) - base)
    return Image.fromarray(mixed.round().astype(np.uint8))


def confidence_colours(confidence: Float32[Tensor, "h w"]) -> UInt8[NumpyArray, "h w 3"]:
    """A map of probabilities in colour.

    Args:
        confidence: 0..1; NaN where void.

    Returns:
        RGB, void hatched.
    """
    values = confidence.cpu().numpy()
    void = np.isnan(values)
    steps = (np.where(void, 0, values) * 200).round() / 200  # so few colours that a palette PNG holds them exactly
    colours = matplotlib.colormaps[CONFIDENCE_MAP](steps, bytes=True)[..., :3]
    return _with_void(colours, void)


def confidence_gradient(stops: int = 13) -> str:
    """The colours of :func:`confidence_colours` from 0 to 1, as a CSS gradient from left to right."""
    colours = matplotlib.colormaps[CONFIDENCE_MAP](np.linspace(0, 1, stops), bytes=True)[:, :3]
    return "linear-gradient(to right, " + ", ".join("rgb({}, {}, {})".format(*row) for row in colours.tolist()) + ")"
