"""Built-in datasets for image classification: which world an image was drawn in.

Each has the images of some worlds, one class a world or a group of them. Their numbers are others than those of the
worlds themselves, and those of each set are its own, so that none shows an image of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from muster.data.content import prefix_of_text
from muster.data.opening import SCENES_PREFIX
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.data.worlds import DRAWING_VERSION
from muster.data.worlds.catalogue import WORLDS
from muster.data.worlds.render import read_world_image
from muster.errors import DatasetError, unknown_name

SCENES_NAME = "scenes_"
"""What the names of these datasets begin with."""

_FIRST = 1_000_000
_BLOCK = 100_000
_FIRST_TEST = 60_000
"""Within the block of numbers that a set has."""


@dataclass(frozen=True)
class Scenes:
    """A set to be drawn.

    Attributes:
        domain: What its description says it shows.
        classes: Class name to the worlds that it is drawn in, separated by spaces; taken in turn.
        train: Training images of each class.
        test: Test images of each class.
    """

    domain: str
    classes: Mapping[str, str]
    train: int = 40
    test: int = 20


def _each(*worlds: str) -> dict[str, str]:
    return {world: world for world in worlds}


SCENES: Mapping[str, Scenes] = {
    "roads": Scenes("driving", _each("harbour_drive", "city_drive", "night_drive", "country_drive")),
    "land": Scenes("aerial", _each("farmland", "suburb", "delta")),
    "rooms": Scenes("indoor", _each("parlour", "office", "attic")),
    "waters": Scenes("underwater", _each("reef", "trench")),
    "kinds": Scenes(
        "broad",
        {
            "road": "harbour_drive city_drive night_drive country_drive",
            "land": "farmland suburb delta",
            "room": "parlour office attic",
            "water": "reef trench",
        },
        train=60,
    ),
    "places": Scenes("broad", _each(*(name for name in WORLDS if name != "almanac")), train=20, test=20),
}
"""Built-in sets by name."""


def open_scenes(name: str) -> Dataset:
    """Open a built-in dataset for classification.

    Args:
        name: One of :data:`SCENES`.

    Returns:
        The dataset, with reference ``"scenes/NAME"``.

    Raises:
        DatasetError: If there is none of that name.
    """
    if name not in SCENES:
        raise DatasetError(unknown_name("built-in scenes", name, SCENES))
    scenes = SCENES[name]
    spec = DatasetSpec(
        name=f"{SCENES_NAME}{name}",
        domain=scenes.domain,
        classes=tuple(scenes.classes),
        source="drawn by muster.data.worlds",
        licence="Apache-2.0",
        task="classification",
    )
    first = _FIRST + list(SCENES).index(name) * _BLOCK
    read, mask = partial(_read, name, first), partial(_class_of, name)
    content = partial(_content, name, first)
    splits = []
    for split, start, each in (("train", 0, scenes.train), ("test", _FIRST_TEST, scenes.test)):
        identifiers = tuple(f"{start + number:05d}" for number in range(each * len(scenes.classes)))
        splits.append(Split(spec, split, identifiers, read, mask, content))
    return Dataset(spec, splits[0], splits[1], f"{SCENES_PREFIX}{name}")


def _place(name: str, identifier: str) -> tuple[int, str]:
    """The class of an image, and the world that it is drawn in."""
    classes = list(SCENES[name].classes.values())
    turn, index = divmod(int(identifier), len(classes))
    worlds = classes[index].split()
    return index, worlds[turn % len(worlds)]


def _read(name: str, first: int, identifier: str) -> Sample:
    _, world = _place(name, identifier)
    drawn = read_world_image(world, str(first + int(identifier)))
    return Sample(identifier, drawn.image, _class_of(name, identifier))


def _class_of(name: str, identifier: str) -> Tensor:
    return torch.tensor([[_place(name, identifier)[0]]])


def _content(name: str, first: int, identifier: str) -> str:
    _, world = _place(name, identifier)
    return prefix_of_text(f"muster/worlds/{DRAWING_VERSION}/{world}/{first + int(identifier)}")
