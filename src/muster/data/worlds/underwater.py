"""The sea from within: light from above that fades with depth and distance, a bottom, and what lives there."""

from __future__ import annotations

import numpy as np

from muster.data.worlds.canvas import Canvas, Palette
from muster.data.worlds.dice import Floats
from muster.data.worlds.textures import TILE, texture

FINE = ("open_water", "sand", "rock", "brain_coral", "fan_coral", "kelp", "fish", "diver", "wreck", "bubbles", "urchin")

PALETTE: Palette = {
    "open_water": [(0.16, 0.48, 0.66), (0.14, 0.52, 0.58), (0.20, 0.44, 0.70)],
    "sand": [(0.72, 0.66, 0.50), (0.62, 0.60, 0.50), (0.66, 0.58, 0.44)],
    "rock": [(0.40, 0.38, 0.36), (0.46, 0.42, 0.34), (0.34, 0.36, 0.36)],
    "brain_coral": [(0.62, 0.50, 0.30), (0.52, 0.58, 0.34), (0.58, 0.40, 0.42), (0.46, 0.42, 0.38)],
    "fan_coral": [(0.72, 0.28, 0.34), (0.62, 0.34, 0.58), (0.78, 0.52, 0.24)],
    "kelp": [(0.30, 0.44, 0.18), (0.40, 0.42, 0.16), (0.24, 0.38, 0.24)],
    "fish": [(0.84, 0.62, 0.16), (0.62, 0.66, 0.70), (0.26, 0.40, 0.66), (0.72, 0.34, 0.22), (0.40, 0.42, 0.34)],
    "suit": [(0.12, 0.13, 0.16), (0.20, 0.22, 0.34)],
    "tank": [(0.76, 0.66, 0.20), (0.60, 0.62, 0.64)],
    "skin": [(0.74, 0.58, 0.48)],
    "wreck": [(0.42, 0.32, 0.26), (0.34, 0.34, 0.34), (0.48, 0.36, 0.24)],
    "bubbles": [(0.80, 0.90, 0.94)],
    "urchin": [(0.14, 0.10, 0.18), (0.26, 0.12, 0.20)],
}


def draw(canvas: Canvas) -> None:
    """Paint one view under water, far things first, then what the water does to light."""
    dice = canvas.dice
    _water(canvas)
    floor = _bottom(canvas, dice.uniform(0.55, 0.82))
    if dice.chance(canvas.amount("wreck", 0.2)):
        _wreck(canvas, floor)
    _growth(canvas, floor)
    for _ in range(dice.count(canvas.amount("fish", 3.0))):
        _fish(
            canvas,
            dice.uniform(0.1, 0.85),
            dice.uniform(0.0, canvas.aspect),
            dice.uniform(0.05, 0.13) * canvas.style.zoom,
        )
    if dice.chance(canvas.amount("school", 0.3)):
        _school(canvas)
    if dice.chance(canvas.amount("diver", 0.3)):
        _diver(canvas)
    _light(canvas)


def _water(canvas: Canvas) -> None:
    canvas.paint(canvas.everywhere(), "open_water", canvas.colour("open_water"), "clouds", 0.06, 1.5)
    canvas.image *= np.float32(1.25) - canvas.y * np.float32(0.6)


def _outline(canvas: Canvas, level: float, height: float) -> Floats:
    """An uneven line across the picture, float32 ``[1, w]``: the row of a ridge in each column."""
    cell = max(2, int(canvas.style.cell * canvas.height / 64))
    row, left = canvas.dice.below(TILE), canvas.dice.below(TILE - canvas.width + 1)
    rise = texture("clouds", cell)[row : row + 1, left : left + canvas.width]
    return np.float32(level) - rise * np.float32(height)


def _bottom(canvas: Canvas, level: float) -> float:
    """Far rocks, then the sea floor; returns its row."""
    dice = canvas.dice
    if dice.chance(canvas.amount("ridge", 0.5)):
        ridge = canvas.everywhere(canvas.y >= _outline(canvas, level - dice.uniform(0.02, 0.15), 0.12))
        canvas.paint(ridge, "rock", canvas.hazed(canvas.colour("rock"), 0.45), "clouds", 0.15, 0.5)
    floor = canvas.everywhere(canvas.y >= _outline(canvas, level, 0.04))
    canvas.paint(floor, "sand", canvas.colour("sand"), "ripples", 0.09, 0.9)
    return level


def _growth(canvas: Canvas, floor: float) -> None:
    """Rocks, corals, kelp and urchins on the bottom, far ones first."""
    dice = canvas.dice
    makers = {
        "rock": (_rock, 1.8),
        "brain_coral": (_brain_coral, 1.6),
        "fan_coral": (_fan_coral, 1.6),
        "kelp": (_kelp, 1.5),
        "urchin": (_urchin, 0.7),
    }
    things = [
        (dice.uniform(floor, 1.02), name)
        for name, (_, default) in makers.items()
        for _ in range(dice.count(canvas.amount(name, default)))
    ]
    for foot, name in sorted(things):
        size = (0.65 + (foot - floor) * 1.8) * canvas.style.zoom
        makers[name][0](canvas, foot, dice.uniform(0.0, canvas.aspect), size)


def _rock(canvas: Canvas, foot: float, x: float, size: float) -> None:
    dice, colour = canvas.dice, canvas.colour("rock")
    for _ in range(2):
        half = dice.uniform(0.07, 0.15) * size
        boulder = canvas.ellipse(
            foot - half * 0.3, x + dice.uniform(-0.08, 0.08) * size, half * dice.uniform(0.6, 1.0), half
        )
        canvas.paint(boulder, "rock", colour, "clouds", 0.2, 0.4)


def _brain_coral(canvas: Canvas, foot: float, x: float, size: float) -> None:
    half = canvas.dice.uniform(0.07, 0.14) * size
    canvas.shade(canvas.ellipse(foot, x, 0.03, half * 1.15), 0.6)
    canvas.paint(
        canvas.ellipse(foot - half * 0.5, x, half * 0.75, half),
        "brain_coral",
        canvas.colour("brain_coral"),
        "maze",
        0.2,
        0.6,
    )


def _fan_coral(canvas: Canvas, foot: float, x: float, size: float) -> None:
    """Branches that spread from one foot."""
    dice, colour = canvas.dice, canvas.colour("fan_coral")
    tall = dice.uniform(0.16, 0.28) * size
    thick = 0.016 * size + 0.006
    for step in range(-2, 3):
        tip = x + step * tall * dice.uniform(0.2, 0.32)
        top = foot - tall * (1.0 - 0.07 * step * step)
        branch = canvas.polygon((foot, x - thick), (foot, x + thick), (top, tip + thick), (top, tip - thick))
        canvas.paint(branch, "fan_coral", colour, "speckle", 0.12)
        canvas.paint(canvas.ellipse(top, tip, thick * 1.9, thick * 1.9), "fan_coral", colour)


def _kelp(canvas: Canvas, foot: float, x: float, size: float) -> None:
    """Long leaves that sway."""
    dice, colour = canvas.dice, canvas.colour("kelp")
    for _ in range(3):
        x += dice.uniform(-0.07, 0.07) * size
        tall, sway, wide = (
            dice.uniform(0.25, 0.6) * size,
            dice.uniform(-0.35, 0.35),
            dice.uniform(0.018, 0.032) * size + 0.004,
        )
        box = canvas.box(foot - tall, x - abs(sway) * tall - wide, foot, x + abs(sway) * tall + wide)
        up = (np.float32(foot) - canvas.y[box.rows]) * np.float32(1 / tall)
        middle = np.float32(x) + up * up * np.float32(sway * tall)
        inside = np.abs(canvas.x[:, box.cols] - middle) <= np.float32(wide) * (np.float32(1.15) - up)
        canvas.paint(box._replace(inside=inside), "kelp", colour, "planks", 0.12, 0.6)


def _urchin(canvas: Canvas, foot: float, x: float, size: float) -> None:
    half = 0.055 * size
    canvas.paint(canvas.ellipse(foot - half * 0.6, x, half, half), "urchin", canvas.colour("urchin"), "speckle", 0.4)


def _fish(canvas: Canvas, y: float, x: float, long: float) -> None:
    dice = canvas.dice
    way = dice.pick((-1, 1))
    colour = canvas.hazed(canvas.colour("fish"), dice.uniform(0.0, 0.35))
    tail = canvas.polygon(
        (y, x - way * long * 0.6), (y - long * 0.42, x - way * long * 1.25), (y + long * 0.42, x - way * long * 1.25)
    )
    canvas.paint(tail, "fish", (colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.8))
    deep = long * dice.uniform(0.36, 0.6)
    body = canvas.ellipse(y, x, deep, long)
    canvas.paint(body, "fish", colour, dice.pick(("ribs", "dots", "speckle")), 0.14, 0.7)
    canvas.shade(canvas.ellipse(y + deep * 0.6, x, deep * 0.4, long * 0.7), 1.25)
    canvas.paint(
        canvas.ellipse(y - deep * 0.2, x + way * long * 0.65, long * 0.09, long * 0.09), "fish", (0.05, 0.05, 0.06)
    )


def _school(canvas: Canvas) -> None:
    dice, zoom = canvas.dice, canvas.style.zoom
    y, x = dice.uniform(0.15, 0.5), dice.uniform(0.2, 0.8) * canvas.aspect
    colour = canvas.hazed(canvas.colour("fish"), 0.25)
    for _ in range(7):
        spot = canvas.ellipse(y + dice.uniform(-0.13, 0.13), x + dice.uniform(-0.2, 0.2), 0.016 * zoom, 0.036 * zoom)
        canvas.paint(spot, "fish", colour)


def _diver(canvas: Canvas) -> None:
    """A swimmer with tank and fins, and the bubbles above."""
    dice = canvas.dice
    y, x, way = dice.uniform(0.25, 0.6), dice.uniform(0.25, 0.75) * canvas.aspect, dice.pick((-1, 1))
    long, suit = dice.uniform(0.14, 0.22) * canvas.style.zoom, canvas.colour("suit")
    drop = long * dice.uniform(0.0, 0.5)
    for leg in (-0.12, 0.16):
        hip, toe = x - way * long * 0.6, x - way * long * 1.7
        low = y + drop + leg * long * 2
        area = canvas.polygon(
            (y - 0.1 * long, hip), (y + 0.16 * long, hip), (low + 0.12 * long, toe), (low - 0.05 * long, toe)
        )
        canvas.paint(area, "diver", suit)
        fin = canvas.ellipse(low, toe - way * long * 0.2, long * 0.1, long * 0.3)
        canvas.paint(fin, "diver", canvas.colour("tank"))
    canvas.paint(canvas.ellipse(y, x, long * 0.26, long * 0.75), "diver", suit)
    canvas.paint(
        canvas.ellipse(y - long * 0.3, x - way * long * 0.1, long * 0.14, long * 0.45), "diver", canvas.colour("tank")
    )
    canvas.paint(canvas.ellipse(y, x + way * long * 0.85, long * 0.2, long * 0.2), "diver", canvas.colour("skin"))
    canvas.shade(
        canvas.box(
            y - 0.06 * long, x + way * long * 0.9 - 0.06 * long, y + 0.1 * long, x + way * long * 0.9 + 0.1 * long
        ),
        0.3,
    )
    for step in range(1, 6):
        rise = y - long * (0.2 + step * 0.28)
        ball = canvas.ellipse(
            rise, x + way * long * 0.9 + dice.uniform(-0.03, 0.03), 0.012 + 0.003 * step, 0.012 + 0.003 * step
        )
        canvas.paint(ball, "bubbles", canvas.colour("bubbles"))


def _wreck(canvas: Canvas, floor: float) -> None:
    """A hull half in the sand, with portholes and a mast."""
    dice = canvas.dice
    x, long = dice.uniform(0.2, 0.8) * canvas.aspect, dice.uniform(0.3, 0.5) * canvas.style.zoom
    way, tall, foot = dice.pick((-1, 1)), dice.uniform(0.18, 0.28), floor + 0.06
    colour = canvas.hazed(canvas.colour("wreck"), dice.uniform(0.05, 0.3))
    mast = canvas.box(foot - tall * 2.2, x - 0.015, foot - tall * 0.5, x + 0.015)
    canvas.paint(mast, "wreck", (colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.8))
    hull = canvas.polygon(
        (foot - tall * 1.2, x - way * long),
        (foot - tall * 0.8, x + way * long * 0.8),
        (foot, x + way * long * 0.55),
        (foot, x - way * long * 0.6),
    )
    canvas.paint(hull, "wreck", colour, "planks", 0.16, 0.7)
    cabin = canvas.box(foot - tall * 1.5, x - 0.12, foot - tall * 0.85, x + 0.1)
    canvas.paint(cabin, "wreck", colour, "planks", 0.12, 0.7)
    for step in (-0.5, -0.2, 0.1, 0.4):
        canvas.shade(canvas.ellipse(foot - tall * 0.65, x + step * long, 0.022, 0.022), 0.3)


def _light(canvas: Canvas) -> None:
    """Shafts of light, murk with distance from the middle, and red that is lost with depth."""
    dice = canvas.dice
    slant, middle = dice.uniform(-0.8, 0.8), dice.uniform(0.2, 0.8) * canvas.aspect
    for step in range(2):
        centre = np.float32(middle + step * 0.3) + canvas.y * np.float32(slant)
        shaft = np.abs(canvas.x - centre) < np.float32(0.05) + canvas.y * np.float32(0.08)
        canvas.shade(canvas.everywhere(shaft), 1.12)
    murk = np.float32(dice.uniform(0.5, 1.0) * canvas.style.haze)
    down, across = canvas.y - np.float32(0.6), (canvas.x - np.float32(canvas.aspect / 2)) / np.float32(canvas.aspect)
    part = np.minimum(murk * (np.float32(0.4) + down * down + across * across), np.float32(0.85))
    colour = np.array(canvas.style.haze_colour, np.float32)[:, None, None] * (
        np.float32(1.2) - canvas.y * np.float32(0.6)
    )
    canvas.image += (colour - canvas.image) * part
    canvas.image[0] *= np.float32(1.05) - canvas.y * np.float32(0.35)
