"""Truths that are objects: a box and a class each, and named points on them if there are any.

A truth is float32 ``[rows, columns]``. The first row is the image itself, ``(0, 0, width, height, -1, ignored)``, so
that a truth says at which size its places are meant; of an image of which nothing is known, ``ignored`` is 1 there.
Each further row is one object: left, top, right, bottom in pixels from the left upper corner, class, and whether it is
ignored. Rows of class -1 after the first are padding. Where objects have points, a column with the area of the object
follows, and three for each point: across, down, and 0 not labelled, 1 labelled and hidden, 2 labelled and visible; in
the first row these three are the point's tolerance (COCO's sigma), 0 and 0.

Axis names: ``rows`` the image and its objects, ``columns`` what is known of one, ``n`` objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from muster.data.truth_cuts import Cut, Span, TruthCut

CLASS, IGNORED, AREA, POINTS = 4, 5, 6, 7
"""Columns; those before are the box."""

SCORE, LABEL, FOUND_POINTS = 4, 5, 6
"""Columns of objects that a network finds, after the box; of each point across and down alone."""

CROWD, PASSED_OVER = 1, 2
"""Why an object is neither learned nor scored: it stands for many (COCO's crowds, any number of boxes in it count
neither way), or it is too hard or has no points (of what is found, one box for it counts neither way)."""

MOST_OBJECTS = 127
"""Of a training crop; of more the largest are learned."""

LEAST_SHOWN = 0.3
"""An object of which a crop shows a smaller share is passed over in it. (Chosen.)"""


def objects_truth(
    size: tuple[int, int], objects: Sequence[Sequence[float]], tolerances: Sequence[float] = ()
) -> Float32[Tensor, "rows columns"]:
    """Put a truth together.

    Args:
        size: Rows and columns of the image.
        objects: Box, class, ignored, and area and points where there are any, of each.
        tolerances: Of the points.
    """
    first = [0.0, 0.0, float(size[1]), float(size[0]), -1.0, 0.0]
    if tolerances:
        first += [float(size[0] * size[1]), *(value for each in tolerances for value in (each, 0.0, 0.0))]
    return torch.tensor([first, *map(list, objects)], dtype=torch.float32)


def of_known_objects(truth: Float[Tensor, "*b rows columns"]) -> Bool[Tensor, "*b rows"]:
    """Which rows are objects that are learned and scored."""
    return (truth[..., CLASS] >= 0) & (truth[..., IGNORED] == 0)


def mirrored_points(names: Sequence[str]) -> tuple[int, ...]:
    """For each named point the one in whose place it is in a mirrored image: left and right are exchanged.

    Args:
        names: Such as ``left_eye``, ``right eye``, ``l_wrist``, ``nose``.
    """
    plain = [words_of(name) for name in names]
    swapped = {"left": "right", "right": "left", "l": "r", "r": "l"}
    others = [tuple(swapped.get(word, word) for word in words) for words in plain]
    return tuple(plain.index(other) if other in plain else place for place, other in enumerate(others))


def words_of(name: str) -> tuple[str, ...]:
    """The words that a point's name is made of, in small letters: those of ``left_eye`` are left and eye."""
    return tuple(name.casefold().replace("_", " ").replace("-", " ").split())


@dataclass(frozen=True)
class ObjectCut(TruthCut):
    """Objects follow the crop, which shows at least one of them as a whole, where there is one that fits.

    Attributes:
        exchanged: For each point the one that it is in a mirrored image.

    Source:
        Mensink et al., Factors of Influence, 2021, section 4.1: "random crops fully containing at least one object".
    """

    exchanged: tuple[int, ...] = ()

    def focus(
        self, truth: Float[Tensor, "rows columns"], taken: tuple[int, int], generator: np.random.Generator
    ) -> tuple[Span, Span] | None:
        """See :class:`TruthCut`: one of the objects for which there is room; if there is room for none, any."""
        boxes = truth[of_known_objects(truth), :4]
        if not len(boxes):
            return None
        sides = boxes[:, 2:] - boxes[:, :2]
        fits = (sides <= torch.tensor(taken[::-1])).all(dim=1)
        boxes = boxes[fits] if fits.any() else boxes
        left, top, right, bottom = boxes[int(generator.integers(len(boxes)))].tolist()
        return (top, bottom), (left, right)

    def __call__(self, truth: Float[Tensor, "rows columns"], cut: Cut) -> Float32[Tensor, "rows_of_a_crop columns"]:
        """See :class:`TruthCut`: :data:`MOST_OBJECTS` rows after that of the crop."""
        height, width = cut.shape
        moved = _moved(truth, cut)
        shown = torch.tensor(
            [cut.left, cut.rows.offset, cut.left + cut.columns.shown, cut.rows.offset + cut.rows.shown]
        )
        inside = moved.clone()
        inside[:, 0:4:2] = moved[:, 0:4:2].clamp(float(shown[0]), float(shown[2]))
        inside[:, 1:4:2] = moved[:, 1:4:2].clamp(float(shown[1]), float(shown[3]))
        left, whole = areas(inside), areas(moved)
        hidden = (inside[:, IGNORED] == 0) & (left < LEAST_SHOWN * whole)
        inside[hidden, IGNORED] = PASSED_OVER
        if truth.shape[1] > POINTS:
            self._turn_points(inside, shown, cut)
        found = inside.new_zeros(1 + MOST_OBJECTS, truth.shape[1])
        found[:, CLASS] = -1
        found[0] = truth[0]
        found[0, :4] = torch.tensor([0.0, 0.0, width, height])
        kept = ((left > 0) & (inside[:, CLASS] >= 0)).nonzero()[:, 0]
        kept = kept[left[kept].argsort(descending=True, stable=True)][:MOST_OBJECTS]
        found[1 : 1 + len(kept)] = inside[kept]
        return found

    def _turn_points(self, objects: Tensor, shown: Tensor, cut: Cut) -> None:
        points = objects[1:, POINTS:].reshape(len(objects) - 1, len(self.exchanged), 3)
        if cut.is_mirrored:
            points = points[:, list(self.exchanged)]
        across, down, known = points.unbind(dim=-1)
        seen = (across >= shown[0]) & (across < shown[2]) & (down >= shown[1]) & (down < shown[3])
        objects[1:, POINTS:] = torch.stack([across, down, known * seen], dim=-1).flatten(1)
        none = (objects[1:, IGNORED] == 0) & ~(known * seen > 0).any(dim=1)
        objects[1:, IGNORED][none] = PASSED_OVER


def areas(boxes: Float[Tensor, "*b n columns"]) -> Float[Tensor, "*b n"]:
    """Of boxes; 0 of one without any."""
    sides = (boxes[..., 2:4] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def _moved(truth: Tensor, cut: Cut) -> Tensor:
    """The same places, as the crop has them; they may lie outside of it."""
    scale = torch.tensor([cut.columns.scale, cut.rows.scale])
    start = torch.tensor([float(cut.columns.start), float(cut.rows.start)])
    offset = torch.tensor([float(cut.columns.offset), float(cut.rows.offset)])
    moved = truth.clone()
    corners = [(slice(0, 2)), (slice(2, 4))]
    points = [slice(at, at + 2) for at in range(POINTS, truth.shape[1], 3)]
    for place in (*corners, *points):
        moved[:, place] = (truth[:, place] - start) * scale + offset
    if truth.shape[1] > AREA:
        moved[:, AREA] = truth[:, AREA] * scale.prod()
    if cut.is_mirrored:
        moved[:, [0, 2]] = cut.shape[1] - moved[:, [2, 0]]
        for place in points:
            moved[:, place.start] = cut.shape[1] - moved[:, place.start]
    return moved
