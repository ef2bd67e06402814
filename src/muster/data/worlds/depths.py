"""Built-in datasets for depth: the images of the worlds with the distance to what each pixel shows.

A world's depths are those that its scene was painted with: a plane of ground, walls and fronts, and things as far away
as their feet. Streets go to 80 m, rooms to 5; land from above is about 20 m away, the sea floor 9. Sky and open water
have none.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from muster.data.opening import DEPTHS_PREFIX
from muster.data.spec import Dataset
from muster.data.worlds import WORLD_NAMES, open_world
from muster.data.worlds.render import read_world_depth
from muster.errors import DatasetError, unknown_name

DEPTHS_NAME = "depths_"
"""What the names of these datasets begin with."""


def open_depths(name: str, train: int | None = None) -> Dataset:
    """Open a built-in dataset for depth.

    Args:
        name: A world.
        train: How many training images it shall have, see :func:`muster.data.worlds.open_world`.

    Returns:
        The dataset, with reference ``"depths/NAME"`` or ``"depths/NAME@COUNT"``. Its images are those of the world.

    Raises:
        DatasetError: If there is no such world, or it cannot have so many images.

    Example:
        >>> depth = open_depths("harbour_drive").train[7].mask
        >>> bool(depth[-1].nanmean() < 5 < 50 < depth[depth == depth].max() <= 80)
        True
    """
    if name not in WORLD_NAMES:
        raise DatasetError(unknown_name("built-in depths", name, WORLD_NAMES))
    world = open_world(name, train)
    spec = replace(world.spec, name=f"{DEPTHS_NAME}{name}", classes=("depth",), task="depth")
    read = partial(read_world_depth, name)
    splits = [replace(split, spec=spec, read=read, read_mask=None) for split in (world.train, world.test)]
    return Dataset(spec, splits[0], splits[1], f"{DEPTHS_PREFIX}{name}" + ("" if train is None else f"@{train}"))
