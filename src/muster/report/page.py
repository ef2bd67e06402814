"""From plain values to one self-contained HTML file: records that the templates draw, and the writer."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from muster.arrays import NumpyArray
from muster.data.spec import VOID
from muster.files import write_text
from muster.image_files import encoded
from muster.outputs import has_sign, require_our_file
from muster.report.palette import (
    class_colours,
    confidence_colours,
    confidence_gradient,
    hex_colour,
    label_colours,
)
from muster.report.records import AnyImage, DrawnImage, ReportImage
from muster.report.tables import number
from muster.tasks.task import Task

NO_VALUE = "var(--soft)"
"""Behind a cell without a number."""

PIXELATED_SIDE = 200
"""Smaller images are enlarged pixel by pixel, not blurred."""


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart.

    Attributes:
        label: What it is about.
        fraction: Length, 0..1 of the chart's width; ``None`` draws no bar.
        text: The value in figures.
        colour: As ``#rrggbb``.
        strong: Whether it stands out.
        note: A few words below the label.
        tag: A word in a box beside the label.
        tick: Where on the bar's scale a comparison lies, 0..1.
        whisker: An interval on the bar's scale, 0..1.
        range_text: That interval in figures.
    """

    label: str
    fraction: float | None
    text: str
    colour: str
    strong: bool = False
    note: str = ""
    tag: str = ""
    tick: float | None = None
    whisker: tuple[float, float] | None = None
    range_text: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of a heat map: what it says and the colour behind it."""

    text: str
    background: str


@dataclass(frozen=True)
class Tile:
    """One map of an image.

    Attributes:
        caption: Whose it is.
        note: A few words below.
        source: The image as a data address.
        kind: ``"image"``, ``"truth"``, ``"prediction"`` or ``"confidence"``.
    """

    caption: str
    note: str
    source: str
    kind: str


@dataclass(frozen=True)
class Strip:
    """All maps of one image."""

    identifier: str
    tiles: tuple[Tile, ...]
    pixelated: bool


@dataclass(frozen=True)
class Swatch:
    """One entry of a colour legend."""

    label: str
    colour: str


def heat(value: float | None, scale: float = 1.0, digits: int = 2, text: str | None = None) -> Cell:
    """A cell coloured from nothing (0) to blue (``scale``), below zero towards orange; ``text`` replaces its figure."""
    if value is None or np.isnan(value):
        return Cell(number(None), NO_VALUE)
    share = min(abs(value) / scale, 1.0) if scale > 0 else 0.0
    red, green, blue = (0, 114, 178) if value >= 0 else (230, 129, 0)
    # Never so strong that text on it would be hard to read, on a light page or on a dark one.
    return Cell(number(value, digits) if text is None else text, f"rgba({red}, {green}, {blue}, {0.62 * share:.3f})")


def legend(classes: Sequence[str]) -> list[Swatch]:
    """The colour of each class."""
    return [Swatch(label, hex_colour(index)) for index, label in enumerate(classes)]


def drawn_legend(classes: Sequence[str], task: Task) -> list[Swatch]:
    """What colours stand for in pictures of predictions: classes, or what the task draws where it has none."""
    if task.has_classes:
        return legend(classes)
    colours = task.drawn_colours(classes)
    return [Swatch(label, f"rgb({red}, {green}, {blue})") for label, (red, green, blue) in colours.items()]


def strips(report_images: Sequence[AnyImage], classes: Sequence[str] = ()) -> list[Strip]:
    """What the templates draw of an image: itself, ground truth, every prediction in order, confidence.

    Args:
        report_images: The images.
        classes: Names of the classes, if each image has one as a whole: it is named then.
    """
    return [_drawn_strip(image) if isinstance(image, DrawnImage) else _strip(image, classes) for image in report_images]


def _drawn_strip(drawn: DrawnImage) -> Strip:
    shown = {name: picture.permute(1, 2, 0).contiguous().numpy() for name, picture in drawn.pictures.items()}
    tiles = [Tile(name, "", jpeg_address(pixels), "prediction") for name, pixels in shown.items()]
    return Strip(drawn.identifier, tuple(tiles), max(next(iter(shown.values())).shape[:2]) < PIXELATED_SIDE)


def _strip(report_image: ReportImage, classes: Sequence[str]) -> Strip:
    truth = report_image.truth.numpy()
    known = truth != VOID
    image = report_image.image.permute(1, 2, 0).contiguous().numpy()
    tiles = [Tile("image", "", jpeg_address(image), "image")]
    tiles.append(
        Tile("ground truth", _class_of(truth, classes), png_address(label_colours(report_image.truth)), "truth")
    )
    for name, prediction in report_image.predictions.items():
        right = (prediction.numpy() == truth)[known].mean() if known.any() else np.nan
        note = _class_of(prediction.numpy(), classes)
        if not classes and not np.isnan(right):
            note = f"{100 * right:.0f} % of pixels right"
        tiles.append(Tile(name, note, png_address(label_colours(prediction)), "prediction"))
    confidence = report_image.confidence.numpy()[known]
    average = "" if classes else " on average"
    note = f"{number(float(confidence.mean()), 2)}{average}" if known.any() else ""
    map_address = png_address(confidence_colours(report_image.confidence))
    tiles.append(Tile("confidence in the truth", note, map_address, "confidence"))
    return Strip(report_image.identifier, tuple(tiles), max(truth.shape) < PIXELATED_SIDE)


def _class_of(labels: NumpyArray, classes: Sequence[str]) -> str:
    """The name of the class that an image has as a whole; empty without names."""
    return classes[int(labels.flat[0])] if classes else ""


def jpeg_address(pixels: NumpyArray) -> str:
    """A photograph, uint8 ``[h, w, 3]``, as a data address; small ones are kept exactly."""
    if max(pixels.shape[:2]) < PIXELATED_SIDE:
        return png_address(pixels)
    return _address("image/jpeg", encoded(Image.fromarray(pixels), "JPEG", quality=86))


def png_address(pixels: NumpyArray) -> str:
    """A map of few colours, uint8 ``[h, w, 3]``, as a data address, exactly."""
    codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    colours, places = np.unique(codes, return_inverse=True)
    image = Image.fromarray(pixels)
    if len(colours) <= 256:  # a palette makes the file a third of the size
        image = Image.fromarray(places.reshape(codes.shape).astype(np.uint8))
        image.putpalette(b"".join(int(colour).to_bytes(3) for colour in colours))
    return _address("image/png", encoded(image, "PNG", optimize=True))


def svg_address(svg: str) -> str:
    """A figure as a data address."""
    return _address("image/svg+xml", svg.encode())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("muster.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {"number": number, "percent": _percent, "score": _score, "soft": _soft}
    environment.filters.update(filters)
    environment.globals.update(gradient=confidence_gradient(), void_colour=hex_colour(VOID))
    return environment


def _percent(fraction: float) -> str:
    """A CSS length, kept inside its box."""
    return f"{100 * min(max(fraction, 0.0), 1.0):.2f}%"


def _score(value: float | None) -> str:
    """A score in a table: the fourth digit tells neighbours apart, except where scores are large."""
    return number(value, 4 if value is None or abs(value) < 100 else 0)


def _soft(name: str) -> Markup:
    """A name that may be broken after a full stop, dash, underscore, slash or colon."""
    parts = re.split(r"(?<=[._/:-])(?=\w)", name)
    return Markup("<wbr>").join(parts)


_SIGN = '<meta name="generator" content="muster">'
"""Line of the template that shows whose page it is."""


def write_page(template: str, path: Path, context: Mapping[str, object]) -> Path:
    """Fill a template and put the page on disk, whole or not at all.

    Args:
        template: Its file name in this package.
        path: The file to write.
        context: What the template asks for.

    Returns:
        ``path``.

    Raises:
        OutputError: If there is a file that is no such page, or the page cannot be written.
    """
    require_our_file(path, partial(has_sign, sign=_SIGN))
    html = _environment().get_template(template).render(**context)
    write_text(path, html)
    return path


def distinct_colours(keys: Sequence[str]) -> dict[str, str]:
    """A colour for each key, in the order in which they first come."""
    colours = class_colours()
    return {key: hex_colour(place % len(colours)) for place, key in enumerate(dict.fromkeys(keys))}
