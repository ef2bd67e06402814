"""Built-in datasets: procedural scenes in four visual domains, drawn on the fly.

Within a domain, worlds share shapes and textures but differ in colours, light, noise, scale, size and label space. One,
``almanac``, is broad: it mixes all domains under a merged label space. One, ``attic``, is tiny. There are no files: a
image is computed when it is read, and it is the same for the same number on every machine.
"""

from __future__ import annotations

from functools import partial

from muster.data.content import prefix_of_text
from muster.data.spec import Dataset, DatasetSpec, Split
from muster.data.worlds.catalogue import WORLDS
from muster.data.worlds.render import read_world_image
from muster.errors import DatasetError, unknown_name

__all__ = ["WORLD_NAMES", "open_world"]

WORLD_NAMES: tuple[str, ...] = tuple(WORLDS)
"""Names of the built-in worlds."""

DRAWING_VERSION = 1
"""Raise it when a change makes worlds draw other images: members of the old ones have not seen the new ones."""

_FIRST_TEST, _PAST_TEST = 5000, 10_000
"""Training images have no numbers between these."""

MOST_IMAGES = 100_000
"""Training images that can be asked for: at some milliseconds each, all are drawn in minutes."""


def open_world(name: str, train: int | None = None) -> Dataset:
    """Open a built-in dataset.

    Args:
        name: One of :data:`WORLD_NAMES`.
        train: How many training images it shall have; by default as many as its catalogue says. A larger world has
            those of a smaller one and more, and the test images stay the same.

    Returns:
        The dataset, with reference ``"worlds/NAME"`` or ``"worlds/NAME@COUNT"``. Training images are numbered from
        ``"0000"``, test images from ``"5000"``, and training images beyond 5000 from ``"10000"``.

    Raises:
        DatasetError: If there is no world of that name, or it cannot have so many images.

    Example:
        >>> open_world("harbour_drive").train[7].identifier
        '0007'
        >>> len(open_world("harbour_drive", train=2000).train)
        2000
    """
    if name not in WORLDS:
        raise DatasetError(unknown_name("world", name, WORLDS))
    world = WORLDS[name]
    count = world.train if train is None else train
    if not 1 <= count <= MOST_IMAGES:
        raise DatasetError(f"World {name!r} can have 1 to {MOST_IMAGES:,} training images, but got {count}.")
    spec = DatasetSpec(
        name=name,
        domain=world.domain,
        classes=tuple(world.labels),
        source="drawn by muster.data.worlds",
        licence="Apache-2.0",
    )
    read = partial(read_world_image, name)
    content = partial(_content, name)
    numbers = (number if number < _FIRST_TEST else number - _FIRST_TEST + _PAST_TEST for number in range(count))
    train_names = tuple(f"{number:04d}" for number in numbers)
    test = tuple(f"{_FIRST_TEST + number:04d}" for number in range(world.test))
    return Dataset(
        spec,
        Split(spec, "train", train_names, read, content=content),
        Split(spec, "test", test, read, content=content),
        f"worlds/{name}" if train is None else f"worlds/{name}@{train}",
    )


def _content(name: str, identifier: str) -> str:
    """What stands for the bytes of an image without a file: all that its pixels depend on."""
    return prefix_of_text(f"muster/worlds/{DRAWING_VERSION}/{name}/{identifier}")
