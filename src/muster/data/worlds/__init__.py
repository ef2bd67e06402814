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

_FIRST_TEST = 5000


def open_world(name: str) -> Dataset:
    """Open a built-in dataset.

    Args:
        name: One of :data:`WORLD_NAMES`.

    Returns:
        The dataset, with reference ``"worlds/NAME"``. Training images are numbered from ``"0000"``, test images
        from ``"5000"``.

    Raises:
        DatasetError: If there is no world of that name.

    Example:
        >>> open_world("harbour_drive").train[7].identifier
        '0007'
    """
    if name not in WORLDS:
        raise DatasetError(unknown_name("world", name, WORLDS))
    world = WORLDS[name]
    spec = DatasetSpec(
        name=name,
        domain=world.domain,
        classes=tuple(world.labels),
        source="drawn by muster.data.worlds",
        licence="Apache-2.0",
    )
    read = partial(read_world_image, name)
    content = partial(_content, name)
    train = tuple(f"{number:04d}" for number in range(world.train))
    test = tuple(f"{_FIRST_TEST + number:04d}" for number in range(world.test))
    return Dataset(
        spec,
        Split(spec, "train", train, read, content=content),
        Split(spec, "test", test, read, content=content),
        f"worlds/{name}",
    )


def _content(name: str, identifier: str) -> str:
    """What stands for the bytes of an image without a file: all that its pixels depend on."""
    return prefix_of_text(f"muster/worlds/{DRAWING_VERSION}/{name}/{identifier}")
