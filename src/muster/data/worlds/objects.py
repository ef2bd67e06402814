"""Built-in datasets for detection and keypoints: the things that the worlds show, each with its box and its parts.

Images are twice as large as those of the worlds, since things are small in these, and their numbers are others, so that
none shows an image of another set. A box is around what is seen of a thing; things of which little is seen are passed
over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from muster.data.boxes import PASSED_OVER, objects_truth
from muster.data.content import prefix_of_text
from muster.data.opening import BOXES_PREFIX, KEYPOINTS_PREFIX
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.data.worlds import DRAWING_VERSION
from muster.data.worlds.catalogue import WORLDS
from muster.data.worlds.render import draw_scene
from muster.data.worlds.things import Thing, Things
from muster.errors import DatasetError, unknown_name

BOXES_NAME, KEYPOINTS_NAME = "boxes_", "keypoints_"
"""What the names of these datasets begin with."""

POINTS = ("head", "left shoulder", "right shoulder", "hip", "left foot", "right foot")
"""Parts of a person, left and right as one sees them."""

TOLERANCE = 0.06
"""Of each part, as COCO's constants are meant (its own are 0.025 to 0.107)."""

TRAIN, TEST = 160, 60

_THINGS = frozenset({
    "car", "truck", "person", "boat", "vehicle", "roof", "window", "picture", "door", "shelf", "screen", "sofa",
    "bed", "table", "chair", "plant", "lamp", "brain_coral", "fan_coral", "urchin", "fish", "diver", "wreck",
})  # fmt: skip
_TIMES = 2  # as large as the world
_FIRST, _FIRST_OF_POINTS, _FIRST_TEST = 3_000_000, 3_100_000, 60_000
_LEAST_SIDE, _LEAST_PIXELS = 4, 20


def classes_with_things(world: str) -> tuple[str, ...]:
    """The classes of a world that are things, and have boxes."""
    return tuple(name for name, fine in WORLDS[world].labels.items() if _THINGS & set(fine.split()))


OBJECT_WORLDS = tuple(world for world in WORLDS if len(classes_with_things(world)) > 1)
"""Worlds with things of at least two classes."""

PERSON_WORLDS = tuple(world for world in WORLDS if WORLDS[world].domain == "driving" and world != "country_drive")
"""Worlds with persons."""


def open_boxes(name: str) -> Dataset:
    """Open a built-in dataset for detection.

    Args:
        name: One of :data:`OBJECT_WORLDS`.

    Returns:
        The dataset, with reference ``"boxes/NAME"``.

    Raises:
        DatasetError: If there is no such world, or it has too few things.
    """
    if name not in OBJECT_WORLDS:
        raise DatasetError(unknown_name("world with boxes", name, OBJECT_WORLDS))
    spec = _spec(BOXES_NAME, name, classes_with_things(name), task="detection")
    return _dataset(spec, BOXES_PREFIX, _Drawing(name, _FIRST, _boxes))


def open_keypoints(name: str) -> Dataset:
    """Open a built-in dataset for keypoints: those of persons.

    Args:
        name: One of :data:`PERSON_WORLDS`.

    Returns:
        The dataset, with reference ``"keypoints/NAME"``.

    Raises:
        DatasetError: If there is no such world, or it shows no persons.
    """
    if name not in PERSON_WORLDS:
        raise DatasetError(unknown_name("world with keypoints", name, PERSON_WORLDS))
    spec = _spec(KEYPOINTS_NAME, name, POINTS, task="keypoints")
    drawing = _Drawing(name, _FIRST_OF_POINTS, _persons, (TOLERANCE,) * len(POINTS))
    return _dataset(spec, KEYPOINTS_PREFIX, drawing)


@dataclass(frozen=True)
class _Drawing:
    """What images show, and what is told of them.

    Attributes:
        world: Its name.
        first: Number of the first image.
        rows: Objects as :func:`muster.data.boxes.objects_truth` takes them, of the things of an image of the world.
        tolerances: Of the points of an object, if it has points.
    """

    world: str
    first: int
    rows: Callable[[str, Things], list[tuple[float, ...]]]
    tolerances: tuple[float, ...] = ()

    def number(self, identifier: str) -> int:
        """Of the image, among all of the world; it says what is drawn."""
        return self.first + int(identifier)


def _spec(begins: str, world: str, classes: tuple[str, ...], task: str) -> DatasetSpec:
    return DatasetSpec(
        name=f"{begins}{world}",
        domain=WORLDS[world].domain,
        classes=classes,
        source="drawn by muster.data.worlds",
        licence="Apache-2.0",
        task=task,
    )


def _dataset(spec: DatasetSpec, prefix: str, drawing: _Drawing) -> Dataset:
    read, content, truth = partial(_read, drawing), partial(_content, drawing), partial(_truth_of, drawing)
    splits = [
        Split(spec, name, tuple(f"{start + number:05d}" for number in range(count)), read, truth, content)
        for name, start, count in (("train", 0, TRAIN), ("test", _FIRST_TEST, TEST))
    ]
    return Dataset(spec, splits[0], splits[1], f"{prefix}{drawing.world}")


def _content(drawing: _Drawing, identifier: str) -> str:
    return prefix_of_text(f"muster/worlds/{DRAWING_VERSION}/{_TIMES}/{drawing.world}/{drawing.number(identifier)}")


def _read(drawing: _Drawing, identifier: str) -> Sample:
    image, truth = _drawn(drawing, identifier)
    return Sample(identifier, torch.from_numpy(image.copy()), truth.clone())


def _truth_of(drawing: _Drawing, identifier: str) -> Tensor:
    return _drawn(drawing, identifier)[1].clone()


@lru_cache(maxsize=512)
def _drawn(drawing: _Drawing, identifier: str) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], Tensor]:
    """Image and truth; kept, as truths are asked for alone, and cost as much as images."""
    number = drawing.number(identifier)
    renderer, image = draw_scene(drawing.world, number, int(identifier), _TIMES, tells_things=True)
    assert renderer.things is not None  # they were asked for
    rows = drawing.rows(drawing.world, renderer.things)
    return image, objects_truth((image.shape[1], image.shape[2]), rows, drawing.tolerances)


def _boxes(world: str, things: Things) -> list[tuple[float, ...]]:
    names = classes_with_things(world)
    labels = {fine: float(names.index(name)) for name in names for fine in WORLDS[world].labels[name].split()}
    found = list[tuple[float, ...]]()
    for number, thing in enumerate(things.found, start=1):
        box = _seen(things, number) if thing.name in labels else None
        if box is not None:
            found.append((*box[:4], labels[thing.name], box[4]))
    return found


def _persons(world: str, things: Things) -> list[tuple[float, ...]]:  # noqa: ARG001 (they are called so in all)
    found = list[tuple[float, ...]]()
    for number, thing in enumerate(things.found, start=1):
        box = _seen(things, number) if thing.name == "person" else None
        if box is not None:
            points = [value for name in POINTS for value in _point(things, thing, number, name)]
            area = float((things.owner == number).sum())
            ignored = box[4] if any(points[2::3]) else float(PASSED_OVER)
            found.append((*box[:4], 0.0, ignored, area, *points))
    return found


def _seen(things: Things, number: int) -> tuple[float, float, float, float, float] | None:
    """The box around what is seen of a thing, and whether that is too little; ``None`` if nothing is."""
    down, across = np.nonzero(things.owner == number)
    if not len(down):
        return None
    left, top, right, bottom = across.min(), down.min(), across.max() + 1, down.max() + 1
    little = min(right - left, bottom - top) < _LEAST_SIDE or len(down) < _LEAST_PIXELS
    return float(left), float(top), float(right), float(bottom), float(PASSED_OVER * little)


def _point(things: Things, thing: Thing, number: int, name: str) -> tuple[float, float, float]:
    height, width = things.owner.shape
    y, x = (place * height for place in thing.points[name])
    if not (0 <= y < height and 0 <= x < width):
        return 0.0, 0.0, 0.0
    return x, y, 2.0 if things.owner[int(y), int(x)] == number else 1.0
