"""Images of a fine-tuning as one PNG, for a README or a slide."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from muster.arrays import NumpyArray
from muster.report.palette import hex_colour, label_colours
from muster.report.records import AnyImage, DrawnImage, ReportImage

SHOWN_IMAGES = 3
SHOWN_CLASSES = 24
"""A legend of more classes would be larger than the images."""

_COLUMN, _CAPTION, _LEGEND_ROW = 1.5, 0.3, 0.22  # inches
_LEGEND_COLUMNS = 6


@rc_context({"text.parse_math": False, "font.size": 8.0})
def image_sheet(report_images: Sequence[AnyImage], classes: Sequence[str]) -> bytes:
    """Image, ground truth and every prediction side by side, one row an image, the colours of the classes below.

    Args:
        report_images: At least one; the first :data:`SHOWN_IMAGES` are shown.
        classes: Names of the classes, where predictions are classes.

    Returns:
        The content of a PNG file.
    """
    rows = [_row(report_image) for report_image in report_images[:SHOWN_IMAGES]]
    columns = len(rows[0])
    sides = rows[0][0][1].shape
    height = _COLUMN * sides[0] / sides[1]
    figure = Figure(figsize=(_COLUMN * columns, height * len(rows) + _CAPTION), dpi=100, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for place, (_, pixels) in zip(line, row, strict=True):
            place.imshow(pixels, interpolation="nearest")
            place.set_axis_off()
    for place, (caption, _) in zip(axes[0], rows[0], strict=True):
        place.set_title(_broken(caption), fontsize=8.0)
    if isinstance(report_images[0], ReportImage) and len(classes) <= SHOWN_CLASSES:
        legend_rows = -(-len(classes) // _LEGEND_COLUMNS)
        figure.set_figheight(figure.get_figheight() + legend_rows * _LEGEND_ROW)
        handles = [Patch(color=hex_colour(index), label=name) for index, name in enumerate(classes)]
        figure.legend(handles=handles, loc="outside lower center", ncols=_LEGEND_COLUMNS, frameon=False)
    return png_of(figure)


def _row(report_image: AnyImage) -> list[tuple[str, NumpyArray]]:
    if isinstance(report_image, DrawnImage):
        return [(name, each.permute(1, 2, 0).contiguous().numpy()) for name, each in report_image.pictures.items()]
    image = report_image.image.permute(1, 2, 0).contiguous().numpy()
    predictions = [(name, label_colours(labels)) for name, labels in report_image.predictions.items()]
    return [("image", image), ("ground truth", label_colours(report_image.truth)), *predictions]


def _broken(name: str) -> str:
    """A long name in two lines."""
    head, dash, tail = name.partition("-")
    return f"{head}{dash}\n{tail}" if dash and len(name) > 16 else name


def png_of(figure: Figure) -> bytes:
    """A figure as the content of a PNG file; letters that the font lacks are shown as boxes, without a warning."""
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
