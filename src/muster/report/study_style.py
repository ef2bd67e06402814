"""A study's figures: how they look, and how they become SVG, PNG and a page that answers to the mouse.

Figures are as wide as a page of text (:data:`WIDTH`), so that their letters have the size of print. What a dot stands
for is in the SVG itself, as the dot's ``<title>``: every browser shows it, and the page's script shows it better.
"""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from muster.files import as_file_name, write_bytes, write_text
from muster.report.figures import BLUE, INK, ORANGE, STYLE, svg_of
from muster.report.palette import hex_colour

WIDTH = 7.0
"""Inches, of a figure that takes the width of a page."""

DOTS_PER_INCH = 220
"""Of the PNG: sharp in print."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
"""Shapes of series, so that colour is not all that tells them apart."""

GREY, PALE = "#8a94a3", "#c3cad3"

GAINS = LinearSegmentedColormap.from_list("gains", [ORANGE, "#f6c9a5", "#ffffff", "#a9d0ea", BLUE])
"""From loss (orange) over nothing (white) to gain (blue): kept apart by every kind of colour vision."""

AMOUNTS = LinearSegmentedColormap.from_list("amounts", ["#ffffff", "#a9d0ea", BLUE, "#003a5d"])
"""From nothing to much."""

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_DARK_SERIES = 6  # yellow, the seventh colour, is too pale for thin lines on white

Parameters = ParamSpec("Parameters")

_STYLE: dict[Any, Any] = {
    **STYLE,
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titlecolor": INK,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
}


@dataclass(frozen=True)
class StudyFigure:
    """A figure, ready to be written or put on a page.

    Attributes:
        name: Of its files, e.g. ``scores_camvid``; unique in a study.
        title: What it shows, for a heading.
        caption: How to read it.
        width: Inches.
        svg: With a ``<title>`` in everything that says more when pointed at; its ids begin with ``name``.
        figure: What it was drawn from.
    """

    name: str
    title: str
    caption: str
    width: float
    svg: str
    figure: Figure = field(repr=False, compare=False)

    def png(self) -> bytes:
        """The content of a PNG file, of :data:`DOTS_PER_INCH`."""
        content = BytesIO()
        with rc_context(_STYLE), _without_words_of_letters():
            self.figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        return content.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write ``NAME.svg`` and ``NAME.png``; :func:`muster.report.study_page.write_figure_page` makes the page.

        Args:
            folder: Where; made if missing.

        Returns:
            The two files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        svg, png = folder / f"{self.name}.svg", folder / f"{self.name}.png"
        write_text(svg, '<?xml version="1.0" encoding="utf-8"?>\n' + self.svg)
        write_bytes(png, self.png())
        return [svg, png]


@dataclass
class Drawing:
    """A figure in the making: its axes, and what its parts say when pointed at."""

    figure: Figure
    _texts: dict[str, Sequence[str]] = field(default_factory=dict)

    def says(self, artist: Artist, texts: Sequence[str]) -> None:
        """Let the parts of an artist say something.

        Args:
            artist: A collection of dots or cells, or a single patch or line marker.
            texts: One a part, in the order in which they were drawn.
        """
        identifier = f"says{len(self._texts)}"
        artist.set_gid(identifier)
        self._texts[identifier] = texts

    def finished(self, name: str, title: str, caption: str) -> StudyFigure:
        """Draw it; what cannot stand in the name of a file is replaced in ``name``."""
        name = as_file_name(name)
        svg = _speaking(svg_of(self.figure), self._texts, name)
        self.figure.set_layout_engine("none")  # as it was laid out for the SVG: to do it again takes half of the time
        return StudyFigure(name, title, caption, float(self.figure.get_figwidth()), svg, self.figure)


def styled(draw: Callable[Parameters, StudyFigure]) -> Callable[Parameters, StudyFigure]:
    """Draw with the style of studies, whatever matplotlib's settings are, and without a word of missing letters."""

    @wraps(draw)
    def drawn(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> StudyFigure:
        with rc_context(_STYLE), _without_words_of_letters():
            return draw(*arguments, **keywords)

    return drawn


@contextmanager
def _without_words_of_letters() -> Iterator[None]:
    """Letters that the font lacks: browsers draw the SVG with fonts of their own, and the PNG has boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def start(height: float, width: float = WIDTH) -> Drawing:
    """An empty figure.

    Args:
        height: Inches.
        width: Inches.
    """
    return Drawing(Figure(figsize=(width, height), layout="constrained"))


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each series, in order; with more than six they repeat, and :func:`series_markers` tells apart."""
    return {name: hex_colour(place % _DARK_SERIES) for place, name in enumerate(dict.fromkeys(names))}


def series_markers(names: Sequence[str]) -> dict[str, str]:
    """A shape for each series, in order: of two with one colour, the shapes differ."""
    return {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(dict.fromkeys(names))}


def legend_above(drawing: Drawing, handles: Sequence[Any] | None = None) -> None:
    """A legend above the axes, in as many columns as fit.

    Args:
        drawing: Whose.
        handles: Of the entries, with labels; by default those of all axes.
    """
    if handles is None:
        found = [axes.get_legend_handles_labels() for axes in drawing.figure.axes]
        handles = list({text: handle for entries in found for handle, text in zip(*entries, strict=True)}.values())
    texts = [str(handle.get_label()) for handle in handles]
    points = 72 * drawing.figure.get_figwidth() - 30
    fitting = max(1, int(points // (4.4 * max(map(len, texts), default=1) + 36)))
    rows = -(-len(texts) // fitting)
    drawing.figure.legend(
        handles=handles, loc="outside upper center", ncols=-(-len(texts) // max(rows, 1)) or 1, handletextpad=0.3
    )


def only_grid(axes: Axes, axis: str) -> None:
    """Lines across one axis alone: ``"x"`` or ``"y"``."""
    axes.grid(visible=False)
    axes.grid(visible=True, axis="x" if axis == "x" else "y")


def short(name: str, length: int = 24) -> str:
    """A name that is not too long for an axis."""
    return name if len(name) <= length else name[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def ensemble_text(members: str) -> str:
    """The members of an ensemble for people."""
    return " + ".join(members.split())


def note(axes: Axes, text: str) -> None:
    """A few words in the upper left corner of the axes."""
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.2}
    axes.annotate(text, (0, 1), (4, -4), xycoords="axes fraction", textcoords="offset points", ha="left", va="top",
                  fontsize=7.5, color=INK, bbox=behind)  # fmt: skip


def empty(axes: Axes) -> None:
    """Take the axes away where there is nothing to show."""
    axes.set_axis_off()


def _speaking(svg: str, texts: dict[str, Sequence[str]], name: str) -> str:
    """The SVG with titles, and with ids of its own."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(svg)  # noqa: S314 (what matplotlib wrote just now)
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    groups = {group.get("id"): group for group in root.iter(f"{{{_SVG}}}g")}
    for identifier, words in texts.items():
        parts = list(_parts(groups[identifier]))
        if len(parts) != len(words):
            raise ValueError(f"Expected a text for each of {len(parts)} parts that were drawn, but got {len(words)}.")
        for part, text in zip(parts, words, strict=True):
            ET.SubElement(part, f"{{{_SVG}}}title").text = text
    _own_ids(root, f"{name}-")
    return ET.tostring(root, encoding="unicode")


def _parts(group: ET.Element) -> Any:
    """What a group draws, in order, without what it only defines."""
    for child in group:
        if child.tag in (f"{{{_SVG}}}use", f"{{{_SVG}}}path"):
            yield child
        elif child.tag == f"{{{_SVG}}}g":
            yield from _parts(child)


def _own_ids(root: ET.Element, prefix: str) -> None:
    """Put a prefix before all ids and what refers to them, so that several figures can stand on one page."""
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, prefix + value)
            elif key == f"{{{_LINK}}}href" and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}"))
