"""The sea from within: light from above that fades with depth and distance, a bottom, and what lives there."""

from __future__ import annotations

import numpy as np

from muster.data.worlds.random_generator import Floats
from muster.data.worlds.renderer import Palette, Renderer
from muster.data.worlds.textures import TILE, texture
from muster.data.worlds.things import a_thing

FINE = ("open_water", "sand", "rock", "brain_coral", "fan_coral", "kelp", "fish", "diver", "wreck", "bubbles", "urchin")

FAR, SWIMMING = 9.0, 4.0
"""Metres to the far end of the bottom, and to what swims."""

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


def draw(renderer: Renderer) -> None:
    """Paint one view under water, far things first, then what the water does to light."""
    generator = renderer.generator
    _water(renderer)
    floor = _bottom(renderer, generator.uniform(0.55, 0.82))
    renderer.stand(_away(floor + 0.06, floor))
    if generator.chance(renderer.amount("wreck", 0.2)):
        _wreck(renderer, floor)
    _growth(renderer, floor)
    renderer.stand(SWIMMING)
    for _ in range(generator.count(renderer.amount("fish", 3.0))):
        _fish(
            renderer,
            generator.uniform(0.1, 0.85),
            generator.uniform(0.0, renderer.aspect),
            generator.uniform(0.05, 0.13) * renderer.style.zoom,
        )
    if generator.chance(renderer.amount("school", 0.3)):
        _school(renderer)
    if generator.chance(renderer.amount("diver", 0.3)):
        _diver(renderer)
    _light(renderer)


def _away(foot: float, floor: float) -> float:
    """Metres to what stands on the bottom with its foot in a row; things grow with their nearness."""
    return FAR * 0.65 / (0.65 + max(foot - floor, 0.0) * 1.8)


def _plane(y: Floats, floor: float) -> Floats:
    """Metres to the bottom in each row."""
    down = np.maximum(y - np.float32(floor), np.float32(0))
    away: Floats = np.float32(FAR * 0.65) / (np.float32(0.65) + down * np.float32(1.8))
    return away


def _water(renderer: Renderer) -> None:
    renderer.paint(renderer.everywhere(), "open_water", renderer.colour("open_water"), "clouds", 0.06, 1.5)
    renderer.image *= np.float32(1.25) - renderer.y * np.float32(0.6)


def _outline(renderer: Renderer, level: float, height: float) -> Floats:
    """An uneven line across the image, float32 ``[1, w]``: the row of a ridge in each column."""
    cell = max(2, int(renderer.style.cell * renderer.height / 64))
    row, left = renderer.generator.below(TILE), renderer.generator.below(TILE - renderer.width + 1)
    rise = texture("clouds", cell)[row : row + 1, left : left + renderer.width]
    return np.float32(level) - rise * np.float32(height)


def _bottom(renderer: Renderer, level: float) -> float:
    """Far rocks, then the sea floor; returns its row."""
    generator = renderer.generator
    if generator.chance(renderer.amount("ridge", 0.5)):
        renderer.stand(FAR)
        ridge = renderer.everywhere(renderer.y >= _outline(renderer, level - generator.uniform(0.02, 0.15), 0.12))
        renderer.paint(ridge, "rock", renderer.hazed(renderer.colour("rock"), 0.45), "clouds", 0.15, 0.5)
    renderer.stand(lambda: _plane(renderer.y, level))
    floor = renderer.everywhere(renderer.y >= _outline(renderer, level, 0.04))
    renderer.paint(floor, "sand", renderer.colour("sand"), "ripples", 0.09, 0.9)
    return level


def _growth(renderer: Renderer, floor: float) -> None:
    """Rocks, corals, kelp and urchins on the bottom, far ones first."""
    generator = renderer.generator
    makers = {
        "rock": (_rock, 1.8),
        "brain_coral": (_brain_coral, 1.6),
        "fan_coral": (_fan_coral, 1.6),
        "kelp": (_kelp, 1.5),
        "urchin": (_urchin, 0.7),
    }
    things = [
        (generator.uniform(floor, 1.02), name)
        for name, (_, default) in makers.items()
        for _ in range(generator.count(renderer.amount(name, default)))
    ]
    for foot, name in sorted(things):
        size = (0.65 + (foot - floor) * 1.8) * renderer.style.zoom
        renderer.stand(_away(foot, floor))
        makers[name][0](renderer, foot, generator.uniform(0.0, renderer.aspect), size)


def _rock(renderer: Renderer, foot: float, x: float, size: float) -> None:
    generator, colour = renderer.generator, renderer.colour("rock")
    for _ in range(2):
        half = generator.uniform(0.07, 0.15) * size
        boulder = renderer.ellipse(
            foot - half * 0.3, x + generator.uniform(-0.08, 0.08) * size, half * generator.uniform(0.6, 1.0), half
        )
        renderer.paint(boulder, "rock", colour, "clouds", 0.2, 0.4)


@a_thing("brain_coral")
def _brain_coral(renderer: Renderer, foot: float, x: float, size: float) -> None:
    half = renderer.generator.uniform(0.07, 0.14) * size
    renderer.shade(renderer.ellipse(foot, x, 0.03, half * 1.15), 0.6)
    renderer.paint(
        renderer.ellipse(foot - half * 0.5, x, half * 0.75, half),
        "brain_coral",
        renderer.colour("brain_coral"),
        "maze",
        0.2,
        0.6,
    )


@a_thing("fan_coral")
def _fan_coral(renderer: Renderer, foot: float, x: float, size: float) -> None:
    """Branches that spread from one foot."""
    generator, colour = renderer.generator, renderer.colour("fan_coral")
    tall = generator.uniform(0.16, 0.28) * size
    thick = 0.016 * size + 0.006
    for step in range(-2, 3):
        tip = x + step * tall * generator.uniform(0.2, 0.32)
        top = foot - tall * (1.0 - 0.07 * step * step)
        branch = renderer.polygon((foot, x - thick), (foot, x + thick), (top, tip + thick), (top, tip - thick))
        renderer.paint(branch, "fan_coral", colour, "speckle", 0.12)
        renderer.paint(renderer.ellipse(top, tip, thick * 1.9, thick * 1.9), "fan_coral", colour)


def _kelp(renderer: Renderer, foot: float, x: float, size: float) -> None:
    """Long leaves that sway."""
    generator, colour = renderer.generator, renderer.colour("kelp")
    for _ in range(3):
        x += generator.uniform(-0.07, 0.07) * size
        tall, sway, wide = (
            generator.uniform(0.25, 0.6) * size,
            generator.uniform(-0.35, 0.35),
            generator.uniform(0.018, 0.032) * size + 0.004,
        )
        box = renderer.box(foot - tall, x - abs(sway) * tall - wide, foot, x + abs(sway) * tall + wide)
        up = (np.float32(foot) - renderer.y[box.rows]) * np.float32(1 / tall)
        middle = np.float32(x) + up * up * np.float32(sway * tall)
        inside = np.abs(renderer.x[:, box.cols] - middle) <= np.float32(wide) * (np.float32(1.15) - up)
        renderer.paint(box._replace(inside=inside), "kelp", colour, "planks", 0.12, 0.6)


@a_thing("urchin")
def _urchin(renderer: Renderer, foot: float, x: float, size: float) -> None:
    half = 0.055 * size
    renderer.paint(
        renderer.ellipse(foot - half * 0.6, x, half, half), "urchin", renderer.colour("urchin"), "speckle", 0.4
    )


@a_thing("fish")
def _fish(renderer: Renderer, y: float, x: float, long: float) -> None:
    generator = renderer.generator
    way = generator.pick((-1, 1))
    colour = renderer.hazed(renderer.colour("fish"), generator.uniform(0.0, 0.35))
    tail = renderer.polygon(
        (y, x - way * long * 0.6), (y - long * 0.42, x - way * long * 1.25), (y + long * 0.42, x - way * long * 1.25)
    )
    renderer.paint(tail, "fish", (colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.8))
    deep = long * generator.uniform(0.36, 0.6)
    body = renderer.ellipse(y, x, deep, long)
    renderer.paint(body, "fish", colour, generator.pick(("ribs", "dots", "speckle")), 0.14, 0.7)
    renderer.shade(renderer.ellipse(y + deep * 0.6, x, deep * 0.4, long * 0.7), 1.25)
    renderer.paint(
        renderer.ellipse(y - deep * 0.2, x + way * long * 0.65, long * 0.09, long * 0.09), "fish", (0.05, 0.05, 0.06)
    )


def _school(renderer: Renderer) -> None:
    generator, zoom = renderer.generator, renderer.style.zoom
    y, x = generator.uniform(0.15, 0.5), generator.uniform(0.2, 0.8) * renderer.aspect
    colour = renderer.hazed(renderer.colour("fish"), 0.25)
    for _ in range(7):
        spot = renderer.ellipse(
            y + generator.uniform(-0.13, 0.13), x + generator.uniform(-0.2, 0.2), 0.016 * zoom, 0.036 * zoom
        )
        renderer.paint(spot, "fish", colour)


@a_thing("diver")
def _diver(renderer: Renderer) -> None:
    """A swimmer with tank and fins, and the bubbles above."""
    generator = renderer.generator
    y, x, way = generator.uniform(0.25, 0.6), generator.uniform(0.25, 0.75) * renderer.aspect, generator.pick((-1, 1))
    long, suit = generator.uniform(0.14, 0.22) * renderer.style.zoom, renderer.colour("suit")
    drop = long * generator.uniform(0.0, 0.5)
    for leg in (-0.12, 0.16):
        hip, toe = x - way * long * 0.6, x - way * long * 1.7
        low = y + drop + leg * long * 2
        area = renderer.polygon(
            (y - 0.1 * long, hip), (y + 0.16 * long, hip), (low + 0.12 * long, toe), (low - 0.05 * long, toe)
        )
        renderer.paint(area, "diver", suit)
        fin = renderer.ellipse(low, toe - way * long * 0.2, long * 0.1, long * 0.3)
        renderer.paint(fin, "diver", renderer.colour("tank"))
    renderer.paint(renderer.ellipse(y, x, long * 0.26, long * 0.75), "diver", suit)
    renderer.paint(
        renderer.ellipse(y - long * 0.3, x - way * long * 0.1, long * 0.14, long * 0.45),
        "diver",
        renderer.colour("tank"),
    )
    renderer.paint(renderer.ellipse(y, x + way * long * 0.85, long * 0.2, long * 0.2), "diver", renderer.colour("skin"))
    renderer.shade(
        renderer.box(
            y - 0.06 * long, x + way * long * 0.9 - 0.06 * long, y + 0.1 * long, x + way * long * 0.9 + 0.1 * long
        ),
        0.3,
    )
    for step in range(1, 6):
        rise = y - long * (0.2 + step * 0.28)
        ball = renderer.ellipse(
            rise, x + way * long * 0.9 + generator.uniform(-0.03, 0.03), 0.012 + 0.003 * step, 0.012 + 0.003 * step
        )
        renderer.paint(ball, "bubbles", renderer.colour("bubbles"))


@a_thing("wreck")
def _wreck(renderer: Renderer, floor: float) -> None:
    """A hull half in the sand, with portholes and a mast."""
    generator = renderer.generator
    x, long = generator.uniform(0.2, 0.8) * renderer.aspect, generator.uniform(0.3, 0.5) * renderer.style.zoom
    way, tall, foot = generator.pick((-1, 1)), generator.uniform(0.18, 0.28), floor + 0.06
    colour = renderer.hazed(renderer.colour("wreck"), generator.uniform(0.05, 0.3))
    mast = renderer.box(foot - tall * 2.2, x - 0.015, foot - tall * 0.5, x + 0.015)
    renderer.paint(mast, "wreck", (colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.8))
    hull = renderer.polygon(
        (foot - tall * 1.2, x - way * long),
        (foot - tall * 0.8, x + way * long * 0.8),
        (foot, x + way * long * 0.55),
        (foot, x - way * long * 0.6),
    )
    renderer.paint(hull, "wreck", colour, "planks", 0.16, 0.7)
    cabin = renderer.box(foot - tall * 1.5, x - 0.12, foot - tall * 0.85, x + 0.1)
    renderer.paint(cabin, "wreck", colour, "planks", 0.12, 0.7)
    for step in (-0.5, -0.2, 0.1, 0.4):
        renderer.shade(renderer.ellipse(foot - tall * 0.65, x + step * long, 0.022, 0.022), 0.3)


def _light(renderer: Renderer) -> None:
    """Shafts of light, murk with distance from the middle, and red that is lost with depth."""
    generator = renderer.generator
    slant, middle = generator.uniform(-0.8, 0.8), generator.uniform(0.2, 0.8) * renderer.aspect
    for step in range(2):
        centre = np.float32(middle + step * 0.3) + renderer.y * np.float32(slant)
        shaft = np.abs(renderer.x - centre) < np.float32(0.05) + renderer.y * np.float32(0.08)
        renderer.shade(renderer.everywhere(shaft), 1.12)
    murk = np.float32(generator.uniform(0.5, 1.0) * renderer.style.haze)
    down, across = (
        renderer.y - np.float32(0.6),
        (renderer.x - np.float32(renderer.aspect / 2)) / np.float32(renderer.aspect),
    )
    part = np.minimum(murk * (np.float32(0.4) + down * down + across * across), np.float32(0.85))
    colour = np.array(renderer.style.haze_colour, np.float32)[:, None, None] * (
        np.float32(1.2) - renderer.y * np.float32(0.6)
    )
    renderer.image += (colour - renderer.image) * part
    renderer.image[0] *= np.float32(1.05) - renderer.y * np.float32(0.35)
