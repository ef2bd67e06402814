"""Surface textures: what tells two things of the same colour apart.

Each is a fixed square tile with values in about -1 .. 1, made once per process; a surface shows a random window of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from muster.data.worlds.random_generator import Floats, noise

TILE = 256
"""Side of a tile in pixels; an image may be half as large."""

_Positions = NDArray[np.int64]


def _smooth(key: int, cell: int) -> Floats:
    """Bilinear interpolation of white noise on a lattice with ``cell`` pixels between its points."""
    count = TILE // cell + 2
    lattice = noise(key, count, count)
    position = np.arange(TILE)
    low, part = position // cell, ((position % cell).astype(np.float32) / np.float32(cell))
    rows = lattice[low] + part[:, None] * (lattice[low + 1] - lattice[low])
    return rows[:, low] + part[None, :] * (rows[:, low + 1] - rows[:, low])


def _stripes(key: int, cell: int, position: _Positions) -> Floats:
    """A random tone per stripe; ``position`` runs across the stripes."""
    return noise(key, TILE)[position // cell % TILE]


def _grid() -> tuple[_Positions, _Positions]:
    position = np.arange(TILE)
    return position[:, None] + 0 * position, position[None, :] + 0 * position[:, None]


def _speckle(_: int) -> Floats:
    return noise(11, TILE, TILE)


def _leaves(cell: int) -> Floats:
    return _smooth(21, max(2, cell // 2)) * np.float32(1.1) + _smooth(22, cell) * np.float32(0.5)


def _clouds(cell: int) -> Floats:
    return _smooth(31, cell * 4) + _smooth(32, cell * 2) * np.float32(0.5)


def _blades(cell: int) -> Floats:
    """Grass: fine upright strokes."""
    _, x = _grid()
    return _stripes(41, max(1, cell // 4), x) * np.float32(0.7) + noise(42, TILE, TILE) * np.float32(0.5)


def _slabs(cell: int) -> Floats:
    y, x = _grid()
    tone = noise(51, TILE, TILE)[y // cell, x // cell] * np.float32(0.4)
    return np.where((y % cell == 0) | (x % cell == 0), np.float32(-1), tone)


def _bricks(cell: int) -> Floats:
    y, x = _grid()
    course = y // max(2, cell // 2)
    x = x + course % 2 * (cell // 2)
    tone = noise(61, TILE, TILE * 2)[course, x // cell] * np.float32(0.5)
    return np.where((y % max(2, cell // 2) == 0) | (x % cell == 0), np.float32(-0.9), tone)


def _windows(cell: int) -> Floats:
    """Dark panes in rows, a few of them lit."""
    y, x = _grid()
    pane = (y % cell >= cell // 3) & (x % cell >= (cell + 1) // 2)
    lit = noise(71, TILE, TILE)[y // cell, x // cell]
    return np.where(pane, np.where(lit > np.float32(0.55), np.float32(1), np.float32(-1)), np.float32(0.2))


def _planks(cell: int) -> Floats:
    y, x = _grid()
    tone = _stripes(81, cell, y) * np.float32(0.6) + _stripes(82, 2, x + y // cell * 37) * np.float32(0.15)
    return np.where(y % cell == 0, np.float32(-0.8), tone)


def _books(cell: int) -> Floats:
    y, x = _grid()
    tone = noise(91, TILE, TILE)[y // (cell * 2), x // max(1, cell // 3)]
    return np.where(y % (cell * 2) == 0, np.float32(-1), tone)


def _ripples(cell: int) -> Floats:
    """Waves: uneven bands that run mostly sideways."""
    y, _ = _grid()
    height = y.astype(np.float32) / np.float32(cell) + _smooth(101, cell * 3)
    phase = height - np.floor(height)
    ridge: Floats = np.abs(phase * np.float32(2) - np.float32(1)) * np.float32(2) - np.float32(1)
    return ridge


def _maze(cell: int) -> Floats:
    """Winding grooves, as on a brain coral."""
    return np.where(np.abs(_smooth(121, cell)) < np.float32(0.22), np.float32(-1), np.float32(0.5))


def _checks(cell: int) -> Floats:
    y, x = _grid()
    return np.where((y // cell + x // cell) % 2 == 0, np.float32(0.8), np.float32(-0.8))


def _dots(cell: int) -> Floats:
    y, x = _grid()
    x = x + y // cell % 2 * (cell // 2)
    return np.where((y % cell < (cell + 1) // 2) & (x % cell < (cell + 1) // 2), np.float32(1), np.float32(-0.3))


def _ribs(cell: int) -> Floats:
    """Upright folds, as of a curtain or a container."""
    _, x = _grid()
    return np.where(x % cell < (cell + 1) // 2, np.float32(0.7), np.float32(-0.7))


_MAKERS: dict[str, Callable[[int], Floats]] = {
    "speckle": _speckle,
    "leaves": _leaves,
    "clouds": _clouds,
    "blades": _blades,
    "slabs": _slabs,
    "bricks": _bricks,
    "windows": _windows,
    "planks": _planks,
    "books": _books,
    "ripples": _ripples,
    "maze": _maze,
    "checks": _checks,
    "dots": _dots,
    "ribs": _ribs,
}


@lru_cache(maxsize=256)
def texture(kind: str, cell: int) -> Floats:
    """The tile of one kind of surface.

    Args:
        kind: Name of the surface.
        cell: Size of its pattern in pixels, at least 2.

    Returns:
        float32 ``[TILE, TILE]``, read-only.
    """
    tile = _MAKERS[kind](cell).astype(np.float32)
    tile.flags.writeable = False
    return tile
