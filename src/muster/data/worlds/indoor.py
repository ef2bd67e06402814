"""Rooms seen from the door: a back wall, two side walls, and what people put there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.data.worlds.canvas import Canvas, Colour, Palette

FINE = (
    "wall", "ceiling", "floor", "window", "door", "picture", "shelf", "sofa", "bed", "table", "chair", "lamp", "rug",
    "plant", "curtain", "screen",
)  # fmt: skip

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


def draw(canvas: Canvas) -> None:
    """Paint one room, back wall first, then furniture towards the viewer."""
    dice, aspect = canvas.dice, canvas.aspect
    room = _Room(
        top=dice.uniform(0.06, 0.2),
        left=aspect * dice.uniform(0.05, 0.24),
        bottom=dice.uniform(0.58, 0.72),
        right=aspect * dice.uniform(0.76, 0.95),
    )
    _shell(canvas, room)
    _wall_things(canvas, room)
    if dice.chance(canvas.amount("rug", 0.5)):
        _rug(canvas, room)
    _furniture(canvas, room)
    if dice.chance(canvas.amount("pendant", 0.45)):
        _pendant(canvas, room)


def _shell(canvas: Canvas, room: _Room) -> None:
    """Ceiling, floor and the three walls that one sees."""
    wall, aspect = canvas.colour("wall"), canvas.aspect
    kind = canvas.dice.pick(("clouds", "ribs", "dots", "bricks"))
    canvas.paint(canvas.everywhere(), "wall", _toned(wall, 0.78), kind, 0.04)
    canvas.paint(canvas.box(room.top, room.left, room.bottom, room.right), "wall", wall, kind, 0.04)
    ceiling = canvas.polygon((0.0, 0.0), (0.0, aspect), (room.top, room.right), (room.top, room.left))
    canvas.paint(ceiling, "ceiling", canvas.colour("ceiling"), "clouds", 0.02)
    lower = min(1.0, room.bottom + 0.30)
    surface = canvas.dice.pick(("planks", "planks", "slabs"))
    corners = (
        (room.bottom, room.left),
        (room.bottom, room.right),
        (lower, aspect),
        (1.0, aspect),
        (1.0, 0.0),
        (lower, 0.0),
    )
    canvas.paint(canvas.polygon(*corners), "floor", canvas.colour("floor"), surface, 0.13)
    canvas.shade(canvas.box(room.bottom - 0.015, room.left, room.bottom, room.right), 0.6)


def _toned(colour: Colour, gain: float) -> Colour:
    return colour[0] * gain, colour[1] * gain, colour[2] * gain


def _wall_things(canvas: Canvas, room: _Room) -> None:
    """What hangs and stands against the back wall, from left to right."""
    dice = canvas.dice
    makers = {
        "window": (_window, 3.0),
        "picture": (_picture, 3.0),
        "door": (_door, 2.0),
        "shelf": (_shelf, 2.0),
        "screen": (_screen, 1.0),
    }
    bag = [maker for name, (maker, default) in makers.items() for _ in range(round(canvas.amount(name, default)))]
    x = room.left + dice.uniform(0.02, 0.10)
    while x < room.right - 0.12:
        width = dice.uniform(0.14, 0.30) * canvas.style.zoom
        if x + width < room.right + 0.02:
            dice.pick(bag)(canvas, room, x, x + width)
        x += width + dice.uniform(0.02, 0.14)


def _window(canvas: Canvas, room: _Room, left: float, right: float) -> None:
    dice = canvas.dice
    tall = room.bottom - room.top
    top, bottom = room.top + tall * dice.uniform(0.1, 0.25), room.bottom - tall * dice.uniform(0.3, 0.45)
    canvas.paint(canvas.box(top - 0.02, left - 0.02, bottom + 0.02, right + 0.02), "window", canvas.colour("frame"))
    canvas.paint(canvas.box(top, left, bottom, right), "window", canvas.colour("window"), "clouds", 0.1)
    middle = (left + right) / 2
    canvas.paint(canvas.box(top, middle - 0.008, bottom, middle + 0.008), "window", canvas.colour("frame"))
    if dice.chance(canvas.amount("curtain", 0.5)):
        colour, wide = canvas.colour("curtain"), (right - left) * 0.3
        for start in (left - 0.03, right + 0.03 - wide):
            canvas.paint(
                canvas.box(top - 0.04, start, bottom + 0.10, start + wide), "curtain", colour, "ribs", 0.12, 0.6
            )


def _picture(canvas: Canvas, room: _Room, left: float, right: float) -> None:
    dice = canvas.dice
    top = room.top + dice.uniform(0.08, 0.18)
    bottom = min(top + (right - left) * dice.uniform(0.6, 1.1), room.bottom - 0.1)
    canvas.paint(canvas.box(top, left, bottom, right), "picture", canvas.colour("frame"))
    inner = canvas.box(top + 0.02, left + 0.02, bottom - 0.02, right - 0.02)
    canvas.paint(inner, "picture", canvas.colour("picture"), dice.pick(("clouds", "leaves", "checks")), 0.25)


def _door(canvas: Canvas, room: _Room, left: float, right: float) -> None:
    top = room.top + (room.bottom - room.top) * canvas.dice.uniform(0.12, 0.25)
    colour = canvas.colour("door")
    canvas.paint(canvas.box(top, left, room.bottom, right), "door", colour, "clouds", 0.04)
    middle = (top + room.bottom) / 2
    for low, high in ((top + 0.03, middle - 0.02), (middle + 0.02, room.bottom - 0.03)):
        canvas.shade(canvas.box(low, left + 0.03, high, right - 0.03), 0.82)
    canvas.paint(canvas.box(middle - 0.01, right - 0.025, middle + 0.01, right - 0.008), "door", (0.85, 0.78, 0.45))


def _shelf(canvas: Canvas, room: _Room, left: float, right: float) -> None:
    top = room.top + (room.bottom - room.top) * canvas.dice.uniform(0.05, 0.4)
    canvas.paint(canvas.box(top, left, room.bottom, right), "shelf", canvas.colour("shelf"))
    inner = canvas.box(top + 0.02, left + 0.015, room.bottom - 0.01, right - 0.015)
    canvas.paint(inner, "shelf", canvas.colour("shelf"), "books", 0.35, 0.9)


def _screen(canvas: Canvas, room: _Room, left: float, right: float) -> None:
    top = room.top + (room.bottom - room.top) * canvas.dice.uniform(0.3, 0.45)
    canvas.paint(
        canvas.box(top, left, top + (right - left) * 0.6, right), "screen", canvas.colour("screen"), "clouds", 0.1
    )


def _rug(canvas: Canvas, room: _Room) -> None:
    dice = canvas.dice
    y, x = dice.uniform(room.bottom + 0.08, 0.94), canvas.aspect * dice.uniform(0.3, 0.7)
    half = canvas.aspect * dice.uniform(0.18, 0.34)
    if dice.chance(0.5):
        area = canvas.ellipse(y, x, 0.1, half)
    else:
        area = canvas.polygon(
            (y - 0.08, x - half * 0.8), (y - 0.08, x + half * 0.8), (y + 0.09, x + half), (y + 0.09, x - half)
        )
    canvas.paint(area, "rug", canvas.colour("rug"), dice.pick(("checks", "maze", "dots")), 0.16, 0.7)


def _furniture(canvas: Canvas, room: _Room) -> None:
    """Furniture on the floor, far pieces first."""
    dice = canvas.dice
    makers = {
        "sofa": (_sofa, 0.8),
        "bed": (_bed, 0.5),
        "table": (_table, 0.9),
        "chair": (_chair, 1.3),
        "plant": (_plant, 0.8),
        "lamp": (_lamp, 0.6),
    }
    pieces = [
        (dice.uniform(room.bottom + 0.02, 0.98), name)
        for name, (_, default) in makers.items()
        for _ in range(dice.count(canvas.amount(name, default)))
    ]
    for foot, name in sorted(pieces):
        size = (0.6 + (foot - room.bottom) * 1.6) * canvas.style.zoom
        makers[name][0](canvas, foot, canvas.aspect * dice.uniform(0.08, 0.92), size)


def _grounded(canvas: Canvas, foot: float, x: float, half: float) -> None:
    canvas.shade(canvas.ellipse(foot, x, 0.03, half * 1.1), 0.65)


def _sofa(canvas: Canvas, foot: float, x: float, size: float) -> None:
    half, tall = 0.26 * size, 0.26 * size
    colour = canvas.colour("sofa")
    _grounded(canvas, foot, x, half)
    canvas.paint(
        canvas.box(foot - tall, x - half * 0.9, foot - tall * 0.3, x + half * 0.9),
        "sofa",
        _toned(colour, 0.85),
        "leaves",
        0.06,
    )
    canvas.paint(
        canvas.box(foot - tall * 0.5, x - half * 0.85, foot - 0.01, x + half * 0.85), "sofa", colour, "leaves", 0.06
    )
    for arm in (-half, half):
        canvas.paint(
            canvas.ellipse(foot - tall * 0.35, x + arm, tall * 0.35, half * 0.16), "sofa", _toned(colour, 0.92)
        )
    canvas.shade(canvas.box(foot - tall * 0.5, x - 0.006, foot - 0.01, x + 0.006), 0.7)


def _bed(canvas: Canvas, foot: float, x: float, size: float) -> None:
    half, tall = 0.30 * size, 0.20 * size
    _grounded(canvas, foot, x, half)
    canvas.paint(
        canvas.box(foot - tall * 1.7, x - half, foot - tall * 0.7, x - half + 0.04), "bed", canvas.colour("door")
    )
    canvas.paint(canvas.box(foot - tall, x - half, foot, x + half), "bed", canvas.colour("bed"), "checks", 0.05)
    canvas.paint(canvas.box(foot - tall * 0.25, x - half, foot, x + half), "bed", canvas.colour("shelf"))
    canvas.paint(
        canvas.ellipse(foot - tall * 1.05, x - half * 0.65, tall * 0.2, half * 0.25), "bed", (0.88, 0.87, 0.84)
    )


def _table(canvas: Canvas, foot: float, x: float, size: float) -> None:
    half, tall = 0.20 * size, 0.20 * size
    colour = canvas.colour("table")
    for leg in (-0.85, -0.5, 0.5, 0.85):
        lift = 0.0 if leg in (-0.85, 0.85) else 0.05 * size
        canvas.paint(
            canvas.box(foot - tall, x + leg * half - 0.012, foot - lift, x + leg * half + 0.012),
            "table",
            _toned(colour, 0.7),
        )
    top = foot - tall
    plate = canvas.polygon(
        (top - 0.05 * size, x - half * 0.8), (top - 0.05 * size, x + half * 0.8), (top, x + half), (top, x - half)
    )
    canvas.paint(plate, "table", colour, "planks", 0.10, 0.6)
    canvas.paint(canvas.box(top, x - half, top + 0.02, x + half), "table", _toned(colour, 0.75))


def _chair(canvas: Canvas, foot: float, x: float, size: float) -> None:
    half, tall = 0.085 * size, 0.30 * size
    colour = canvas.colour("chair")
    for leg in (-0.9, 0.9):
        canvas.paint(
            canvas.box(foot - tall * 0.5, x + leg * half - 0.01, foot, x + leg * half + 0.01),
            "chair",
            _toned(colour, 0.7),
        )
    canvas.paint(canvas.box(foot - tall, x - half, foot - tall * 0.55, x + half), "chair", colour, "ribs", 0.10, 0.5)
    canvas.paint(
        canvas.box(foot - tall * 0.52, x - half * 1.1, foot - tall * 0.42, x + half * 1.1),
        "chair",
        _toned(colour, 0.85),
    )


def _plant(canvas: Canvas, foot: float, x: float, size: float) -> None:
    dice, tall = canvas.dice, 0.26 * size
    pot = canvas.polygon(
        (foot - tall * 0.35, x - 0.05 * size),
        (foot - tall * 0.35, x + 0.05 * size),
        (foot, x + 0.035 * size),
        (foot, x - 0.035 * size),
    )
    canvas.paint(pot, "plant", canvas.colour("pot"))
    colour = canvas.colour("plant")
    for _ in range(4):
        leaf = canvas.ellipse(
            foot - tall * dice.uniform(0.5, 1.0),
            x + size * dice.uniform(-0.06, 0.06),
            tall * 0.22,
            size * dice.uniform(0.02, 0.05),
        )
        canvas.paint(leaf, "plant", _toned(colour, dice.uniform(0.75, 1.15)), "leaves", 0.15, 0.6)


def _lamp(canvas: Canvas, foot: float, x: float, size: float) -> None:
    """A standard lamp."""
    tall = 0.48 * size
    canvas.paint(canvas.box(foot - tall, x - 0.01, foot, x + 0.01), "lamp", (0.25, 0.23, 0.22))
    top = foot - tall
    shade = canvas.polygon(
        (top - 0.1 * size, x - 0.04 * size),
        (top - 0.1 * size, x + 0.04 * size),
        (top, x + 0.075 * size),
        (top, x - 0.075 * size),
    )
    canvas.paint(shade, "lamp", canvas.colour("lamp"))
    _glow(canvas, top, x)


def _pendant(canvas: Canvas, room: _Room) -> None:
    """A lamp that hangs from the ceiling."""
    dice = canvas.dice
    x, y = canvas.aspect * dice.uniform(0.3, 0.7), room.top + dice.uniform(0.02, 0.12)
    canvas.paint(canvas.box(0.0, x - 0.006, y, x + 0.006), "lamp", (0.2, 0.2, 0.2))
    canvas.paint(canvas.ellipse(y + 0.03, x, 0.05, 0.085), "lamp", canvas.colour("lamp"))
    _glow(canvas, y, x)


def _glow(canvas: Canvas, y: float, x: float) -> None:
    """Light falls off with the distance from a lamp."""
    down, across = canvas.y - np.float32(y), canvas.x - np.float32(x)
    canvas.image *= np.float32(0.9) + np.float32(0.3) / (
        np.float32(1) + np.float32(12) * (down * down + across * across)
    )
