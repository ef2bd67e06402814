"""Draws one image of one world. Axis names: ``h`` and ``w`` are the rows and columns of an image."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from muster.data.spec import VOID, Sample
from muster.data.worlds.catalogue import WORLDS, Domain
from muster.data.worlds.random_generator import Generator
from muster.data.worlds.renderer import Renderer
from muster.data.worlds.things import Things
from muster.errors import DatasetError, unknown_name


def read_world_image(name: str, identifier: str) -> Sample:
    """Draw one image with the class of each pixel.

    Args:
        name: A world.
        identifier: Number of the image, in digits; the same number gives the same image.

    Returns:
        The image, uint8 ``[3, h, w]``, with its mask, uint8 ``[h, w]``.

    Raises:
        DatasetError: If there is no such world, or the identifier is not a number.
    """
    renderer, image = _draw_for(name, identifier, measures=False)
    world = WORLDS[name]
    mask = _coarsen(name, int(identifier) % len(world.scenes))[renderer.labels]
    if world.borders:
        _void_borders(mask)
    return Sample(identifier, torch.from_numpy(image), torch.from_numpy(mask))


def read_world_depth(name: str, identifier: str) -> Sample:
    """Draw the same image with the depth of each pixel.

    Args:
        name: See :func:`read_world_image`.
        identifier: Likewise.

    Returns:
        The image, with float32 ``[h, w]``: metres to the surface, NaN where there is none (sky, open water).

    Raises:
        DatasetError: As there.
    """
    renderer, image = _draw_for(name, identifier, measures=True)
    assert renderer.distance is not None  # it was asked for
    return Sample(identifier, torch.from_numpy(image), torch.from_numpy(renderer.distance))


def _draw_for(name: str, identifier: str, measures: bool) -> tuple[Renderer, NDArray[np.uint8]]:
    if name not in WORLDS:
        raise DatasetError(unknown_name("world", name, WORLDS))
    if not (identifier.isascii() and identifier.isdigit()):
        raise DatasetError(
            f"Expected the number of an image of world {name!r}, such as '0007', but got {identifier!r}."
        )
    return draw_scene(name, int(identifier), int(identifier), measures=measures)


def draw_scene(
    name: str, number: int, turn: int, times: int = 1, measures: bool = False, tells_things: bool = False
) -> tuple[Renderer, NDArray[np.uint8]]:
    """Draw one scene of a world.

    Args:
        name: The world.
        number: What it shows; other numbers are other scenes.
        turn: Whose turn it is among the kinds of scenes of a world that has several.
        times: How much larger its sides are than those of the world's images.
        measures: Whether distances are kept.
        tells_things: Whether the things that it shows are told, one by one.

    Returns:
        What it was painted with, and the image, uint8 ``[3, h, w]``.
    """
    world = WORLDS[name]
    # The world's name is part of the key, so no two worlds show the same scenes.
    generator = Generator((zlib.crc32(name.encode()) << 24) + number)
    domain, style = world.scenes[turn % len(world.scenes)]
    size = world.size[0] * times, world.size[1] * times
    renderer = Renderer(generator, style, size, domain.fine, domain.palette, measures)
    renderer.things = Things(size) if tells_things else None
    domain.draw(renderer)
    return renderer, renderer.finish()


@lru_cache(maxsize=64)
def _coarsen(name: str, scene: int) -> NDArray[np.uint8]:
    """From fine class to class of the world, uint8 ``[fine]``."""
    world = WORLDS[name]
    domain: Domain = world.scenes[scene][0]
    index = {fine: code for code, merged in enumerate(world.labels.values()) for fine in merged.split()}
    return np.array([index.get(fine, VOID) for fine in domain.fine], np.uint8)


def _void_borders(mask: NDArray[np.uint8]) -> None:
    """Make void whatever pixel differs from the one below it or right of it."""
    down, across = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    mask[:-1][down] = VOID
    mask[:, :-1][across] = VOID
