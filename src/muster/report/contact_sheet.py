"""Some images of a dataset with their masks, or the names of their classes, on one page: to see whether it is sound.

Axis names: ``h`` and ``w`` are the rows and columns of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.spec import VOID, Sample, is_of_pixels
from muster.report.display import as_rgb
from muster.report.palette import hex_colour, label_colours
from muster.report.sheet import png_of

COLUMNS = 3
SHOWN_IMAGES = 12
MOST_IN_LEGEND = 48
"""Classes in the legend; of more, those that cover most of what is shown."""

_TILE, _LARGEST_SCALE = 320, 4  # pixels of the longer side of an image; how much a tiny one is enlarged
_PIXELS_PER_INCH, _NARROWEST, _LONGEST_CAPTION = 128, 2.5, 48
_CAPTION, _LEGEND_ROW, _LEGEND_COLUMN = 0.3, 0.24, 2.5  # inches


@rc_context({"text.parse_math": False, "font.size": 9.0})
def contact_sheet(samples: Sequence[tuple[str, Sample]], classes: Sequence[str], title: str) -> bytes:
    """Every image beside its mask, and a legend; or with the classes of the image below its caption.

    Args:
        samples: Caption and image; at least one.
        classes: Names of the classes.
        title: What stands above.

    Returns:
        The content of a PNG file.
    """
    rows = -(-len(samples) // COLUMNS)
    samples = [(_caption(caption, sample, classes), sample) for caption, sample in samples]
    tiles = [_tile(sample) for _, sample in samples]
    masks = [sample.mask for _, sample in samples if is_of_pixels(sample.mask)]
    legend = _legend(masks, classes) if masks else []
    width = max(_NARROWEST, max(tile.shape[1] for tile in tiles) / _PIXELS_PER_INCH)
    height = max(tile.shape[0] / tile.shape[1] for tile in tiles) * width + _CAPTION + 0.15 * (not masks)
    columns = max(1, int(width * COLUMNS / _LEGEND_COLUMN))
    lines = -(-len(legend) // columns)
    size = (width * COLUMNS, height * rows + lines * _LEGEND_ROW + 0.6)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for place in axes:
        place.set_axis_off()
        place.set(xticks=[], yticks=[])  # they would be laid out although they are not drawn
    for place, tile, (caption, _) in zip(axes, tiles, samples, strict=False):
        place.imshow(tile, interpolation="nearest")
        place.set_title(caption, fontsize=8.0)
    if legend:
        figure.legend(handles=legend, loc="outside lower center", ncols=columns, frameon=False)
    return png_of(figure)


def _caption(said: str, sample: Sample, classes: Sequence[str]) -> str:
    """What stands above an image: of a whole one its classes too."""
    if is_of_pixels(sample.mask):
        return said
    named = ", ".join(classes[index] for index in sample.mask.flatten().tolist()) or "none of the classes"
    return f"{said}\n{named if len(named) <= _LONGEST_CAPTION else named[: _LONGEST_CAPTION - 3] + '...'}"


def _legend(masks: Sequence[Tensor], classes: Sequence[str]) -> list[Patch]:
    counts = sum((torch.bincount(mask.flatten(), minlength=VOID + 1) for mask in masks), torch.zeros(VOID + 1))
    common = counts[: len(classes)].argsort(descending=True)[:MOST_IN_LEGEND].tolist()
    named = [Patch(color=hex_colour(index), label=classes[index]) for index in sorted(common)]
    return [*named, Patch(facecolor=hex_colour(VOID), edgecolor="grey", hatch="///", label="void")]


def _tile(sample: Sample) -> UInt8[NumpyArray, "h w 3"]:
    """Image and mask side by side, at one scale; the image alone where no mask is of its pixels."""
    rows, columns = sample.image.shape[1:]
    scale = min(_LARGEST_SCALE, _TILE / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    image = Image.fromarray(as_rgb(sample.image).permute(1, 2, 0).contiguous().numpy())
    small = Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST
    shown = np.asarray(image.resize(size, small))
    if not is_of_pixels(sample.mask):
        return shown
    mask = Image.fromarray(sample.mask.numpy()).resize(size, Image.Resampling.NEAREST)
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    joined: NumpyArray = np.concatenate([shown, gap, label_colours(torch.from_numpy(np.array(mask)))], axis=1)
    return joined
