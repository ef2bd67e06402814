"""Rooms seen from the door: a back wall, two side walls, and what people put there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.data.worlds.random_generator import Floats
from muster.data.worlds.renderer import Colour, Palette, Renderer
from muster.data.worlds.things import a_thing

FINE = (
    "wall", "ceiling", "floor", "window", "door", "picture", "shelf", "sofa", "bed", "table", "chair", "lamp", "rug",
    "plant", "curtain", "screen",
)  # fmt: skip

HANGING = 0.6
"""Distance of a lamp from the ceiling, as a share of that of the back wall."""

PALETTE: Palette = {
    "wall": [(0.74, 0.70, 0.62), (0.62, 0.68, 0.68), (0.70, 0.58, 0.50), (0.78, 0.76, 0.72)],
    "ceiling": [(0.82, 0.81, 0.78), (0.76, 0.75, 0.72)],
    "floor": [(0.52, 0.38, 0.26), (0.44, 0.34, 0.26), (0.58, 0.48, 0.38)],
    "window": [(0.66, 0.80, 0.94), (0.80, 0.86, 0.92)],
    "frame": [(0.86, 0.85, 0.82), (0.40, 0.28, 0.18)],
    "door": [(0.48, 0.34, 0.22), (0.74, 0.72, 0.68), (0.40, 0.30, 0.22)],
    "picture": [(0.70, 0.40, 0.30), (0.30, 0.46, 0.56), (0.62, 0.58, 0.30)],
    "shelf": [(0.50, 0.36, 0.24), (0.42, 0.30, 0.22), (0.60, 0.50, 0.40)],
    "sofa": [(0.54, 0.24, 0.22), (0.28, 0.36, 0.44), (0.50, 0.46, 0.38), (0.36, 0.42, 0.30)],
    "bed": [(0.80, 0.76, 0.70), (0.46, 0.54, 0.62), (0.62, 0.48, 0.44)],
    "table": [(0.54, 0.38, 0.24), (0.44, 0.32, 0.22), (0.70, 0.62, 0.50)],
    "chair": [(0.48, 0.34, 0.22), (0.22, 0.22, 0.24), (0.52, 0.28, 0.24)],
    "lamp": [(1.10, 1.02, 0.76)],
    "rug": [(0.58, 0.26, 0.24), (0.32, 0.36, 0.48), (0.62, 0.54, 0.40)],
    "plant": [(0.24, 0.42, 0.20), (0.34, 0.48, 0.22)],
    "pot": [(0.62, 0.36, 0.24), (0.78, 0.76, 0.72)],
    "curtain": [(0.66, 0.40, 0.34), (0.46, 0.52, 0.58), (0.74, 0.68, 0.56)],
    "screen": [(0.10, 0.12, 0.15), (0.22, 0.34, 0.46)],
}


@dataclass(frozen=True)
class _Room:
    """The back wall's box, and where the floor's lower corners meet the picture's edge."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def deep(self) -> float:
        """Metres to the back wall, which looks the smaller the farther it is."""
        return 2.0 / (self.bottom - self.top)

    @property
    def middle(self) -> tuple[float, float]:
        """Where all that leads away from the viewer meets: (y, x)."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    def away(self, foot: float) -> float:
        """Metres to what stands on the floor with its foot in a row."""
        y, _ = self.middle
        return self.deep * (self.bottom - y) / (max(foot, self.bottom) - y)

    def shell(self, renderer: Renderer) -> Floats:
        """Metres to the walls, the floor and the ceiling: the nearest of the planes in each direction, ``[h, w]``."""
        y, x = self.middle
        down = np.abs(renderer.y - np.float32(y)) / np.float32(self.bottom - y)
        across = np.abs(renderer.x - np.float32(x)) / np.float32(self.right - x)
        away: Floats = np.float32(self.deep) / np.maximum(np.maximum(down, across), np.float32(1))
        return away


def draw(renderer: Renderer) -> None:
    """Paint one room, back wall first, then furniture towards the viewer."""
    generator, aspect = renderer.generator, renderer.aspect
    room = _Room(
        top=generator.uniform(0.06, 0.2),
        left=aspect * generator.uniform(0.05, 0.24),
        bottom=generator.uniform(0.58, 0.72),
        right=aspect * generator.uniform(0.76, 0.95),
    )
    renderer.stand(lambda: room.shell(renderer))
    _shell(renderer, room)
    _wall_things(renderer, room)
    if generator.chance(renderer.amount("rug", 0.5)):
        _rug(renderer, room)
    _furniture(renderer, room)
    renderer.stand(room.deep * HANGING)
    if generator.chance(renderer.amount("pendant", 0.45)):
        _pendant(renderer, room)


def _shell(renderer: Renderer, room: _Room) -> None:
    """Ceiling, floor and the three walls that one sees."""
    wall, aspect = renderer.colour("wall"), renderer.aspect
    kind = renderer.generator.pick(("clouds", "ribs", "dots", "bricks"))
    renderer.paint(renderer.everywhere(), "wall", _toned(wall, 0.78), kind, 0.04)
    renderer.paint(renderer.box(room.top, room.left, room.bottom, room.right), "wall", wall, kind, 0.04)
    ceiling = renderer.polygon((0.0, 0.0), (0.0, aspect), (room.top, room.right), (room.top, room.left))
    renderer.paint(ceiling, "ceiling", renderer.colour("ceiling"), "clouds", 0.02)
    lower = min(1.0, room.bottom + 0.30)
    surface = renderer.generator.pick(("planks", "planks", "slabs"))
    corners = (
        (room.bottom, room.left),
        (room.bottom, room.right),
        (lower, aspect),
        (1.0, aspect),
        (1.0, 0.0),
        (lower, 0.0),
    )
    renderer.paint(renderer.polygon(*corners), "floor", renderer.colour("floor"), surface, 0.13)
    renderer.shade(renderer.box(room.bottom - 0.015, room.left, room.bottom, room.right), 0.6)


def _toned(colour: Colour, gain: float) -> Colour:
    return colour[0] * gain, colour[1] * gain, colour[2] * gain


def _wall_things(renderer: Renderer, room: _Room) -> None:
    """What hangs and stands against the back wall, from left to right."""
    generator = renderer.generator
    makers = {
        "window": (_window, 3.0),
        "picture": (_picture, 3.0),
        "door": (_door, 2.0),
        "shelf": (_shelf, 2.0),
        "screen": (_screen, 1.0),
    }
    bag = [maker for name, (maker, default) in makers.items() for _ in range(round(renderer.amount(name, default)))]
    x = room.left + generator.uniform(0.02, 0.10)
    while x < room.right - 0.12:
        width = generator.uniform(0.14, 0.30) * renderer.style.zoom
        if x + width < room.right + 0.02:
            generator.pick(bag)(renderer, room, x, x + width)
        x += width + generator.uniform(0.02, 0.14)


@a_thing("window")
def _window(renderer: Renderer, room: _Room, left: float, right: float) -> None:
    generator = renderer.generator
    tall = room.bottom - room.top
    top, bottom = room.top + tall * generator.uniform(0.1, 0.25), room.bottom - tall * generator.uniform(0.3, 0.45)
    renderer.paint(
        renderer.box(top - 0.02, left - 0.02, bottom + 0.02, right + 0.02), "window", renderer.colour("frame")
    )
    renderer.paint(renderer.box(top, left, bottom, right), "window", renderer.colour("window"), "clouds", 0.1)
    middle = (left + right) / 2
    renderer.paint(renderer.box(top, middle - 0.008, bottom, middle + 0.008), "window", renderer.colour("frame"))
    if generator.chance(renderer.amount("curtain", 0.5)):
        colour, wide = renderer.colour("curtain"), (right - left) * 0.3
        for start in (left - 0.03, right + 0.03 - wide):
            renderer.paint(
                renderer.box(top - 0.04, start, bottom + 0.10, start + wide), "curtain", colour, "ribs", 0.12, 0.6
            )


@a_thing("picture")
def _picture(renderer: Renderer, room: _Room, left: float, right: float) -> None:
    generator = renderer.generator
    top = room.top + generator.uniform(0.08, 0.18)
    bottom = min(top + (right - left) * generator.uniform(0.6, 1.1), room.bottom - 0.1)
    renderer.paint(renderer.box(top, left, bottom, right), "picture", renderer.colour("frame"))
    inner = renderer.box(top + 0.02, left + 0.02, bottom - 0.02, right - 0.02)
    renderer.paint(inner, "picture", renderer.colour("picture"), generator.pick(("clouds", "leaves", "checks")), 0.25)


@a_thing("door")
def _door(renderer: Renderer, room: _Room, left: float, right: float) -> None:
    top = room.top + (room.bottom - room.top) * renderer.generator.uniform(0.12, 0.25)
    colour = renderer.colour("door")
    renderer.paint(renderer.box(top, left, room.bottom, right), "door", colour, "clouds", 0.04)
    middle = (top + room.bottom) / 2
    for low, high in ((top + 0.03, middle - 0.02), (middle + 0.02, room.bottom - 0.03)):
        renderer.shade(renderer.box(low, left + 0.03, high, right - 0.03), 0.82)
    renderer.paint(renderer.box(middle - 0.01, right - 0.025, middle + 0.01, right - 0.008), "door", (0.85, 0.78, 0.45))


@a_thing("shelf")
def _shelf(renderer: Renderer, room: _Room, left: float, right: float) -> None:
    top = room.top + (room.bottom - room.top) * renderer.generator.uniform(0.05, 0.4)
    renderer.paint(renderer.box(top, left, room.bottom, right), "shelf", renderer.colour("shelf"))
    inner = renderer.box(top + 0.02, left + 0.015, room.bottom - 0.01, right - 0.015)
    renderer.paint(inner, "shelf", renderer.colour("shelf"), "books", 0.35, 0.9)


@a_thing("screen")
def _screen(renderer: Renderer, room: _Room, left: float, right: float) -> None:
    top = room.top + (room.bottom - room.top) * renderer.generator.uniform(0.3, 0.45)
    renderer.paint(
        renderer.box(top, left, top + (right - left) * 0.6, right), "screen", renderer.colour("screen"), "clouds", 0.1
    )


def _rug(renderer: Renderer, room: _Room) -> None:
    generator = renderer.generator
    y, x = generator.uniform(room.bottom + 0.08, 0.94), renderer.aspect * generator.uniform(0.3, 0.7)
    half = renderer.aspect * generator.uniform(0.18, 0.34)
    if generator.chance(0.5):
        area = renderer.ellipse(y, x, 0.1, half)
    else:
        area = renderer.polygon(
            (y - 0.08, x - half * 0.8), (y - 0.08, x + half * 0.8), (y + 0.09, x + half), (y + 0.09, x - half)
        )
    renderer.paint(area, "rug", renderer.colour("rug"), generator.pick(("checks", "maze", "dots")), 0.16, 0.7)


def _furniture(renderer: Renderer, room: _Room) -> None:
    """Furniture on the floor, far pieces first."""
    generator = renderer.generator
    makers = {
        "sofa": (_sofa, 0.8),
        "bed": (_bed, 0.5),
        "table": (_table, 0.9),
        "chair": (_chair, 1.3),
        "plant": (_plant, 0.8),
        "lamp": (_lamp, 0.6),
    }
    pieces = [
        (generator.uniform(room.bottom + 0.02, 0.98), name)
        for name, (_, default) in makers.items()
        for _ in range(generator.count(renderer.amount(name, default)))
    ]
    for foot, name in sorted(pieces):
        size = (0.6 + (foot - room.bottom) * 1.6) * renderer.style.zoom
        renderer.stand(room.away(foot))
        makers[name][0](renderer, foot, renderer.aspect * generator.uniform(0.08, 0.92), size)


def _grounded(renderer: Renderer, foot: float, x: float, half: float) -> None:
    renderer.shade(renderer.ellipse(foot, x, 0.03, half * 1.1), 0.65)


@a_thing("sofa")
def _sofa(renderer: Renderer, foot: float, x: float, size: float) -> None:
    half, tall = 0.26 * size, 0.26 * size
    colour = renderer.colour("sofa")
    _grounded(renderer, foot, x, half)
    renderer.paint(
        renderer.box(foot - tall, x - half * 0.9, foot - tall * 0.3, x + half * 0.9),
        "sofa",
        _toned(colour, 0.85),
        "leaves",
        0.06,
    )
    renderer.paint(
        renderer.box(foot - tall * 0.5, x - half * 0.85, foot - 0.01, x + half * 0.85), "sofa", colour, "leaves", 0.06
    )
    for arm in (-half, half):
        renderer.paint(
            renderer.ellipse(foot - tall * 0.35, x + arm, tall * 0.35, half * 0.16), "sofa", _toned(colour, 0.92)
        )
    renderer.shade(renderer.box(foot - tall * 0.5, x - 0.006, foot - 0.01, x + 0.006), 0.7)


@a_thing("bed")
def _bed(renderer: Renderer, foot: float, x: float, size: float) -> None:
    half, tall = 0.30 * size, 0.20 * size
    _grounded(renderer, foot, x, half)
    renderer.paint(
        renderer.box(foot - tall * 1.7, x - half, foot - tall * 0.7, x - half + 0.04), "bed", renderer.colour("door")
    )
    renderer.paint(renderer.box(foot - tall, x - half, foot, x + half), "bed", renderer.colour("bed"), "checks", 0.05)
    renderer.paint(renderer.box(foot - tall * 0.25, x - half, foot, x + half), "bed", renderer.colour("shelf"))
    renderer.paint(
        renderer.ellipse(foot - tall * 1.05, x - half * 0.65, tall * 0.2, half * 0.25), "bed", (0.88, 0.87, 0.84)
    )


@a_thing("table")
def _table(renderer: Renderer, foot: float, x: float, size: float) -> None:
    half, tall = 0.20 * size, 0.20 * size
    colour = renderer.colour("table")
    for leg in (-0.85, -0.5, 0.5, 0.85):
        lift = 0.0 if leg in (-0.85, 0.85) else 0.05 * size
        renderer.paint(
            renderer.box(foot - tall, x + leg * half - 0.012, foot - lift, x + leg * half + 0.012),
            "table",
            _toned(colour, 0.7),
        )
    top = foot - tall
    plate = renderer.polygon(
        (top - 0.05 * size, x - half * 0.8), (top - 0.05 * size, x + half * 0.8), (top, x + half), (top, x - half)
    )
    renderer.paint(plate, "table", colour, "planks", 0.10, 0.6)
    renderer.paint(renderer.box(top, x - half, top + 0.02, x + half), "table", _toned(colour, 0.75))


@a_thing("chair")
def _chair(renderer: Renderer, foot: float, x: float, size: float) -> None:
    half, tall = 0.085 * size, 0.30 * size
    colour = renderer.colour("chair")
    for leg in (-0.9, 0.9):
        renderer.paint(
            renderer.box(foot - tall * 0.5, x + leg * half - 0.01, foot, x + leg * half + 0.01),
            "chair",
            _toned(colour, 0.7),
        )
    renderer.paint(
        renderer.box(foot - tall, x - half, foot - tall * 0.55, x + half), "chair", colour, "ribs", 0.10, 0.5
    )
    renderer.paint(
        renderer.box(foot - tall * 0.52, x - half * 1.1, foot - tall * 0.42, x + half * 1.1),
        "chair",
        _toned(colour, 0.85),
    )


@a_thing("plant")
def _plant(renderer: Renderer, foot: float, x: float, size: float) -> None:
    generator, tall = renderer.generator, 0.26 * size
    pot = renderer.polygon(
        (foot - tall * 0.35, x - 0.05 * size),
        (foot - tall * 0.35, x + 0.05 * size),
        (foot, x + 0.035 * size),
        (foot, x - 0.035 * size),
    )
    renderer.paint(pot, "plant", renderer.colour("pot"))
    colour = renderer.colour("plant")
    for _ in range(4):
        leaf = renderer.ellipse(
            foot - tall * generator.uniform(0.5, 1.0),
            x + size * generator.uniform(-0.06, 0.06),
            tall * 0.22,
            size * generator.uniform(0.02, 0.05),
        )
        renderer.paint(leaf, "plant", _toned(colour, generator.uniform(0.75, 1.15)), "leaves", 0.15, 0.6)


@a_thing("lamp")
def _lamp(renderer: Renderer, foot: float, x: float, size: float) -> None:
    """A standard lamp."""
    tall = 0.48 * size
    renderer.paint(renderer.box(foot - tall, x - 0.01, foot, x + 0.01), "lamp", (0.25, 0.23, 0.22))
    top = foot - tall
    shade = renderer.polygon(
        (top - 0.1 * size, x - 0.04 * size),
        (top - 0.1 * size, x + 0.04 * size),
        (top, x + 0.075 * size),
        (top, x - 0.075 * size),
    )
    renderer.paint(shade, "lamp", renderer.colour("lamp"))
    _glow(renderer, top, x)


def _pendant(renderer: Renderer, room: _Room) -> None:
    """A lamp that hangs from the ceiling."""
    generator = renderer.generator
    x, y = renderer.aspect * generator.uniform(0.3, 0.7), room.top + generator.uniform(0.02, 0.12)
    renderer.paint(renderer.box(0.0, x - 0.006, y, x + 0.006), "lamp", (0.2, 0.2, 0.2))
    renderer.paint(renderer.ellipse(y + 0.03, x, 0.05, 0.085), "lamp", renderer.colour("lamp"))
    _glow(renderer, y, x)


def _glow(renderer: Renderer, y: float, x: float) -> None:
    """Light falls off with the distance from a lamp."""
    down, across = renderer.y - np.float32(y), renderer.x - np.float32(x)
    renderer.image *= np.float32(0.9) + np.float32(0.3) / (
        np.float32(1) + np.float32(12) * (down * down + across * across)
    )
