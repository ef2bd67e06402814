"""Land seen from straight above.

Fields, streets and houses follow a grid that is turned against the image: ``p`` runs along the streets, ``q`` across.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.data.worlds.random_generator import Floats
from muster.data.worlds.renderer import Area, Palette, Renderer
from muster.data.worlds.things import a_thing

FINE = ("meadow", "crop", "soil", "tree", "road", "path", "roof", "water", "pool", "vehicle", "boat", "car_park")

HEIGHT = 20.0
"""Metres from the camera to the ground in the middle of the image, for things of usual size."""

TALL = {"tree": 7.0, "roof": 6.0, "vehicle": 1.6, "boat": 1.0, "water": -1.0, "pool": -1.0}
"""Metres above the ground of what is not flat on it."""

PALETTE: Palette = {
    "meadow": [(0.40, 0.52, 0.26), (0.46, 0.52, 0.30), (0.36, 0.46, 0.24)],
    "crop": [(0.46, 0.54, 0.24), (0.62, 0.58, 0.30), (0.36, 0.48, 0.22), (0.56, 0.52, 0.26)],
    "soil": [(0.52, 0.40, 0.28), (0.46, 0.36, 0.28), (0.58, 0.48, 0.36)],
    "tree": [(0.20, 0.34, 0.16), (0.26, 0.40, 0.18), (0.30, 0.38, 0.16)],
    "road": [(0.44, 0.44, 0.46), (0.52, 0.50, 0.50)],
    "path": [(0.62, 0.54, 0.42), (0.54, 0.46, 0.36)],
    "roof": [(0.60, 0.34, 0.26), (0.50, 0.30, 0.24), (0.46, 0.46, 0.50), (0.66, 0.62, 0.58), (0.42, 0.32, 0.28)],
    "water": [(0.20, 0.34, 0.40), (0.22, 0.36, 0.32), (0.28, 0.38, 0.44)],
    "pool": [(0.30, 0.66, 0.74)],
    "vehicle": [(0.85, 0.85, 0.85), (0.65, 0.14, 0.14), (0.18, 0.26, 0.50), (0.14, 0.14, 0.15)],
    "boat": [(0.88, 0.86, 0.82), (0.60, 0.30, 0.20), (0.30, 0.32, 0.36)],
    "car_park": [(0.48, 0.48, 0.49), (0.56, 0.55, 0.53)],
    "line": [(0.85, 0.85, 0.82)],
}

# Directions with whole-numbered lengths, so that turning the grid needs no sine.
_TURNS = (
    (1.0, 0.0),
    (0.8, 0.6),
    (0.6, 0.8),
    (12 / 13, 5 / 13),
    (5 / 13, 12 / 13),
    (15 / 17, 8 / 17),
    (24 / 25, 7 / 25),
)

_SURFACES = {"meadow": ("leaves", 0.05, 0.6), "crop": ("speckle", 0.04, 1.0), "soil": ("clouds", 0.10, 0.5)}


@dataclass(frozen=True)
class _Land:
    """The turned grid: its direction, and the grid position of every pixel, float32 ``[h, w]``."""

    cos: float
    sin: float
    p: Floats
    q: Floats

    def place(self, p: float, q: float) -> tuple[float, float]:
        """The (y, x) of a grid position."""
        return self.sin * p + self.cos * q, self.cos * p - self.sin * q


def draw(renderer: Renderer) -> None:
    """Paint one piece of land, ground first."""
    generator = renderer.generator
    cos, sin = generator.pick(_TURNS)
    sin = sin * generator.pick((-1.0, 1.0))
    y, x = renderer.y, renderer.x
    land = _Land(cos, sin, x * np.float32(cos) + y * np.float32(sin), y * np.float32(cos) - x * np.float32(sin))
    _fields(renderer, land)
    if generator.chance(renderer.amount("water", 0.35)):
        _water(renderer)
    if generator.chance(renderer.amount("path", 0.4)):
        _strip(renderer, land, generator.chance(0.5), "path", 0.018)
    crossing = _streets(renderer, land)
    _houses(renderer, land, crossing)
    _trees(renderer)
    _measure(renderer)


def _measure(renderer: Renderer) -> None:
    """The camera looks forward a little, so that the ground is farther at the top; what is tall is nearer than that."""
    if renderer.distance is None:
        return
    ground = np.float32(HEIGHT / renderer.style.zoom) * (np.float32(1.3) - np.float32(0.6) * renderer.y)
    tall = np.array([TALL.get(name, 0.0) for name in FINE], np.float32)
    renderer.distance[:] = ground - tall[renderer.labels]


def _fields(renderer: Renderer, land: _Land) -> None:
    """A patchwork of fields between uneven grid lines."""
    generator = renderer.generator
    reach = renderer.aspect + 1.0
    cuts = [[generator.uniform(-0.8, reach) for _ in range(6 + int(3 / renderer.style.zoom))] for _ in range(2)]
    column = sum((land.p > np.float32(c)).astype(np.intp) for c in cuts[0])
    row = sum((land.q > np.float32(c)).astype(np.intp) for c in cuts[1])
    cell = row * (len(cuts[0]) + 1) + column
    count = (len(cuts[0]) + 1) * (len(cuts[1]) + 1)
    kinds = ["crop"] * round(4 * renderer.amount("crop", 1.0)) + ["soil"] * round(2 * renderer.amount("soil", 1.0))
    kinds += ["meadow"] * round(2 * renderer.amount("meadow", 1.0))
    chosen = [generator.pick(kinds) for _ in range(count)]
    tones = np.array([renderer.colour(kind, 0.08) for kind in chosen], np.float32)
    for kind, (surface, amount, scale) in _SURFACES.items():
        member = np.array([one == kind for one in chosen])[cell]
        renderer.paint(renderer.everywhere(member), kind, (1.0, 1.0, 1.0), surface, amount, scale)
    renderer.image *= tones.T[:, cell]
    # Ploughed lines follow the grid.
    line = land.q * np.float32(72 / renderer.style.cell)
    ploughed = (renderer.labels == FINE.index("crop")) & (line - np.floor(line) < np.float32(0.5))
    renderer.shade(renderer.everywhere(ploughed), 0.74)


def _water(renderer: Renderer) -> None:
    """A lake, or a river in a bend."""
    generator = renderer.generator
    if generator.chance(renderer.amount("lake", 0.4)):
        lake = renderer.ellipse(
            generator.uniform(0.1, 0.9),
            generator.uniform(0.1, 0.9) * renderer.aspect,
            generator.uniform(0.14, 0.34),
            generator.uniform(0.14, 0.4),
        )
        renderer.paint(lake, "water", renderer.colour("water"), "ripples", 0.06, 0.8)
        area = lake
    else:
        bend, tilt, start = generator.uniform(-1.2, 1.2), generator.uniform(-0.5, 0.5), generator.uniform(0.2, 0.8)
        along = renderer.x / np.float32(renderer.aspect) - np.float32(0.5)
        middle = np.float32(start) + along * np.float32(tilt) + along * along * np.float32(bend)
        width = np.float32(generator.uniform(0.05, 0.15) * renderer.amount("river", 1.0))
        area = renderer.everywhere(np.abs(renderer.y - middle) < width)
        renderer.paint(area, "water", renderer.colour("water"), "ripples", 0.06, 0.8)
    for _ in range(generator.count(renderer.amount("boat", 1.0))):
        _boat(renderer, area)


@a_thing("boat")
def _boat(renderer: Renderer, water: Area) -> None:
    """A boat, if the place picked for it is wet."""
    generator = renderer.generator
    y, x = generator.uniform(0.05, 0.95), generator.uniform(0.05, 0.95) * renderer.aspect
    row, col = int(y * renderer.height) - water.rows.start, int(x * renderer.height) - water.cols.start
    inside = water.inside
    if inside is None or not (0 <= row < inside.shape[0] and 0 <= col < inside.shape[1] and inside[row, col]):
        return
    size = generator.uniform(0.04, 0.07) * renderer.style.zoom
    renderer.shade(renderer.ellipse(y + 0.02, x + 0.01, size * 0.5, size), 0.7)
    renderer.paint(renderer.ellipse(y, x, size * 0.45, size), "boat", renderer.colour("boat"))


def _strip(renderer: Renderer, land: _Land, along: bool, name: str, half: float) -> float:
    """A straight strip through the land, along or across the grid; returns where."""
    axis = land.q if along else land.p
    at = renderer.generator.uniform(0.15, 0.85) * (1.0 if along else renderer.aspect)
    if along:
        at -= land.sin * renderer.aspect * 0.5
    middle = np.abs(axis - np.float32(at))
    renderer.paint(renderer.everywhere(middle < np.float32(half)), name, renderer.colour(name), "speckle", 0.06)
    if name == "road":
        other = (land.p if along else land.q) * np.float32(9)
        dash = (middle < np.float32(0.008)) & (other - np.floor(other) < np.float32(0.5))
        renderer.paint(renderer.everywhere(dash), name, renderer.colour("line"))
    return at


def _streets(renderer: Renderer, land: _Land) -> list[tuple[bool, float, float]]:
    """Roads with traffic; for each whether it follows p, where, and its half width."""
    generator = renderer.generator
    found = []
    for _ in range(generator.count(renderer.amount("road", 1.3))):
        along, half = generator.chance(0.6), generator.uniform(0.035, 0.055) * renderer.style.zoom
        at = _strip(renderer, land, along, "road", half)
        found.append((along, at, half))
        for _ in range(generator.count(renderer.amount("vehicle", 1.5))):
            where = generator.uniform(0.0, renderer.aspect)
            lane = at + generator.pick((-0.5, 0.5)) * half
            p, q = (where, lane) if along else (lane, where)
            _vehicle(renderer, land, p, q, along)
    return found


def _slab(renderer: Renderer, land: _Land, p: float, q: float, half_p: float, half_q: float) -> Area:
    """A rectangle in line with the grid."""
    return renderer.polygon(
        land.place(p - half_p, q - half_q), land.place(p + half_p, q - half_q),
        land.place(p + half_p, q + half_q), land.place(p - half_p, q + half_q),
    )  # fmt: skip


@a_thing("vehicle")
def _vehicle(renderer: Renderer, land: _Land, p: float, q: float, along: bool) -> None:
    long, wide = 0.034 * renderer.style.zoom, 0.017 * renderer.style.zoom
    half_p, half_q = (long, wide) if along else (wide, long)
    renderer.paint(_slab(renderer, land, p, q, half_p, half_q), "vehicle", renderer.colour("vehicle"))
    renderer.shade(_slab(renderer, land, p, q, half_p * 0.4, half_q * 0.7), 0.55)


def _houses(renderer: Renderer, land: _Land, streets: list[tuple[bool, float, float]]) -> None:
    """Houses beside the streets, and a few elsewhere, with yards, pools and car parks."""
    generator, zoom = renderer.generator, renderer.style.zoom
    for _ in range(generator.count(renderer.amount("roof", 4.0))):
        half_p, half_q = generator.uniform(0.05, 0.11) * zoom, generator.uniform(0.045, 0.08) * zoom
        p, q = generator.uniform(-0.1, renderer.aspect), generator.uniform(-0.3, 1.1)
        if streets and generator.chance(0.7):
            along, at, half = generator.pick(streets)
            beside = at + generator.pick((-1, 1)) * (
                half + generator.uniform(0.02, 0.05) + (half_q if along else half_p)
            )
            p, q = (p, beside) if along else (beside, generator.uniform(0.0, 1.0))
        if generator.chance(renderer.amount("pool", 0.12)):
            pool = _slab(renderer, land, p + half_p * 1.7, q, half_p * 0.45, half_q * 0.5)
            renderer.paint(pool, "pool", renderer.colour("pool"), "ripples", 0.05, 0.5)
        if generator.chance(renderer.amount("car_park", 0.08)):
            _car_park(renderer, land, p, q)
        else:
            _roof(renderer, land, p, q, half_p, half_q)


@a_thing("roof")
def _roof(renderer: Renderer, land: _Land, p: float, q: float, half_p: float, half_q: float) -> None:
    """A gable roof: a bright and a dark side, and a shadow."""
    generator = renderer.generator
    renderer.shade(_slab(renderer, land, p + 0.025, q + 0.03, half_p, half_q), 0.5)
    colour = renderer.colour("roof")
    renderer.paint(_slab(renderer, land, p, q, half_p, half_q), "roof", colour, "bricks", 0.10, 0.5)
    if generator.chance(0.75):
        renderer.shade(_slab(renderer, land, p, q + half_q / 2, half_p, half_q / 2), 0.7)
    if generator.chance(0.5):
        renderer.shade(_slab(renderer, land, p - half_p * 0.5, q - half_q * 0.4, 0.016, 0.016), 0.45)


def _car_park(renderer: Renderer, land: _Land, p: float, q: float) -> None:
    half = 0.13 * renderer.style.zoom
    renderer.paint(
        _slab(renderer, land, p, q, half, half * 0.8), "car_park", renderer.colour("car_park"), "speckle", 0.06
    )
    for step in range(-2, 3):
        if renderer.generator.chance(0.6):
            _vehicle(renderer, land, p + step * half * 0.38, q + renderer.generator.pick((-0.4, 0.4)) * half, False)


def _trees(renderer: Renderer) -> None:
    """Single trees and groves, each crown with its shadow."""
    generator, zoom = renderer.generator, renderer.style.zoom
    for _ in range(generator.count(renderer.amount("grove", 2.5))):
        y, x = generator.uniform(0.0, 1.0), generator.uniform(0.0, renderer.aspect)
        colour = renderer.colour("tree")
        for _ in range(1 + generator.count(1.8)):
            size = generator.uniform(0.035, 0.075) * zoom
            y, x = y + generator.uniform(-1.4, 1.4) * size, x + generator.uniform(-1.4, 1.4) * size
            renderer.shade(renderer.ellipse(y + size * 0.5, x + size * 0.4, size, size), 0.6)
            renderer.paint(renderer.ellipse(y, x, size, size), "tree", colour, "leaves", 0.22, 0.7)
