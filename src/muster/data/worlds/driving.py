"""Street scenes seen through a windscreen.

A point of the ground has a scale ``s``: 0 at the horizon, 1 at the lower edge of the image, the inverse of distance.
Sizes of things are measured in image heights at scale 1, so something of height ``H`` is ``H * s`` tall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.data.worlds.random_generator import Floats
from muster.data.worlds.renderer import Area, Colour, Palette, Renderer
from muster.data.worlds.things import a_thing

FINE = (
    "sky", "building", "tree", "grass", "road", "marking", "pavement", "car", "truck", "person", "pole", "sign",
    "water", "crane", "bonnet",
)  # fmt: skip

NEAR, FAR, BONNET = 4.0, 80.0, 1.5
"""Metres to the ground at the lower edge, to whatever is farther than that, and to the own car."""

PALETTE: Palette = {
    "sky": [(0.45, 0.62, 0.88), (0.62, 0.72, 0.85), (0.74, 0.76, 0.80)],
    "building": [(0.62, 0.46, 0.38), (0.66, 0.62, 0.55), (0.50, 0.50, 0.53), (0.72, 0.66, 0.50), (0.44, 0.38, 0.36)],
    "tree": [(0.22, 0.38, 0.16), (0.30, 0.44, 0.20), (0.36, 0.40, 0.18)],
    "trunk": [(0.30, 0.22, 0.16)],
    "grass": [(0.34, 0.48, 0.20), (0.44, 0.48, 0.24), (0.28, 0.40, 0.18)],
    "road": [(0.36, 0.36, 0.38), (0.44, 0.43, 0.42), (0.30, 0.31, 0.34)],
    "marking": [(0.88, 0.88, 0.86), (0.86, 0.80, 0.48)],
    "pavement": [(0.56, 0.54, 0.52), (0.48, 0.46, 0.46), (0.60, 0.54, 0.48)],
    "car": [(0.62, 0.12, 0.12), (0.16, 0.26, 0.52), (0.78, 0.78, 0.78), (0.16, 0.16, 0.18), (0.42, 0.44, 0.46)],
    "truck": [(0.80, 0.78, 0.72), (0.20, 0.32, 0.52), (0.66, 0.30, 0.14), (0.44, 0.46, 0.46)],
    "coat": [(0.60, 0.16, 0.16), (0.16, 0.20, 0.38), (0.70, 0.62, 0.28), (0.22, 0.34, 0.26), (0.16, 0.15, 0.15)],
    "trousers": [(0.14, 0.16, 0.26), (0.26, 0.22, 0.20), (0.40, 0.40, 0.42)],
    "skin": [(0.80, 0.62, 0.50), (0.56, 0.40, 0.30)],
    "pole": [(0.30, 0.31, 0.32), (0.50, 0.50, 0.48)],
    "sign": [(0.80, 0.14, 0.14), (0.14, 0.30, 0.70), (0.88, 0.76, 0.16)],
    "lamp": [(1.0, 0.94, 0.72)],
    "water": [(0.28, 0.40, 0.48), (0.34, 0.44, 0.46)],
    "crane": [(0.78, 0.48, 0.12), (0.62, 0.24, 0.18), (0.30, 0.42, 0.52)],
    "bonnet": [(0.16, 0.17, 0.20), (0.40, 0.12, 0.12), (0.55, 0.56, 0.58)],
    "glass": [(0.14, 0.18, 0.22)],
    "tyre": [(0.07, 0.07, 0.08)],
}


@dataclass(frozen=True)
class _View:
    """Where the road goes: row of the horizon, column of the vanishing point, half width of the road, kerb to wall."""

    horizon: float
    vanish: float
    road: float
    verge: float
    zoom: float

    def away(self, s: float) -> float:
        """Metres to something at scale ``s``."""
        return min(FAR, NEAR / max(s, NEAR / FAR))

    def plane(self, y: Floats) -> Floats:
        """Metres to the ground in each row."""
        below = (y - np.float32(self.horizon)) / np.float32(1.0 - self.horizon)
        away: Floats = np.float32(NEAR) / np.maximum(below, np.float32(NEAR / FAR))
        return away

    def beside(self, u: float, far: float, near: float, x: Floats) -> Floats:
        """Metres to a wall along the road at ``u``, in each column."""
        scale = np.clip((x - np.float32(self.vanish)) / np.float32(u), np.float32(far), np.float32(near))
        away: Floats = np.float32(NEAR) / scale
        return away

    def ground(self, s: float) -> float:
        return self.horizon + s * (1.0 - self.horizon)

    def across(self, u: float, s: float) -> float:
        return self.vanish + u * s


def draw(renderer: Renderer) -> None:
    """Paint one street scene, far things first."""
    generator, zoom = renderer.generator, renderer.style.zoom
    view = _View(
        horizon=generator.uniform(0.32, 0.48),
        vanish=renderer.aspect * generator.uniform(0.32, 0.68),
        road=generator.uniform(0.45, 0.75) * zoom,
        verge=generator.uniform(0.14, 0.34) * zoom,
        zoom=zoom,
    )
    _sky(renderer, view)
    renderer.stand(FAR)
    _skyline(renderer, view)
    water_side = generator.pick((-1, 1)) if generator.chance(renderer.amount("water", 0.0)) else 0
    renderer.stand(lambda: view.plane(renderer.y))
    _ground(renderer, view, water_side)
    _road(renderer, view)
    for side in (-1, 1):
        if side != water_side:
            _roadside(renderer, view, side)
    if water_side:
        _cranes(renderer, view, water_side)
    _traffic(renderer, view)
    renderer.stand(BONNET)
    if generator.chance(renderer.amount("bonnet", 0.3)):
        renderer.paint(
            renderer.ellipse(1.08, view.vanish, 0.17, renderer.aspect * 0.55), "bonnet", renderer.colour("bonnet")
        )


def _hazed(renderer: Renderer, colour: Colour, s: float) -> Colour:
    """The colour of something at scale ``s``: the farther, the more of the haze."""
    return renderer.hazed(colour, renderer.style.haze * max(0.0, 1.0 - s * 1.6))


def _sky(renderer: Renderer, view: _View) -> None:
    area = renderer.box(0.0, 0.0, view.horizon + 0.03, renderer.aspect)
    renderer.paint(area, "sky", renderer.colour("sky"), "clouds", renderer.amount("clouds", 0.08), 1.2)
    low = np.array(renderer.style.haze_colour, np.float32)[:, None, None]
    down = np.minimum(renderer.y[area.rows] / np.float32(view.horizon), np.float32(1))
    part = renderer.image[:, area.rows]
    part += (low - part) * (down * down * np.float32(0.7))


def _skyline(renderer: Renderer, view: _View) -> None:
    """Far houses or woods along the horizon."""
    generator = renderer.generator
    x = 0.0
    while x < renderer.aspect:
        width = generator.uniform(0.10, 0.28)
        top = view.horizon - generator.uniform(0.02, 0.14)
        if generator.chance(renderer.amount("town", 0.6)):
            colour = _hazed(renderer, renderer.colour("building"), 0.0)
            renderer.paint(
                renderer.box(top, x, view.horizon + 0.03, x + width), "building", colour, "windows", 0.08, 0.6
            )
        else:
            colour = _hazed(renderer, renderer.colour("tree"), 0.0)
            hill = renderer.ellipse(view.horizon + 0.03, x + width / 2, view.horizon - top + 0.03, width * 0.75)
            renderer.paint(hill, "tree", colour, "leaves", 0.12, 0.6)
        x += width


def _ground(renderer: Renderer, view: _View, water_side: int) -> None:
    below = renderer.box(view.horizon, 0.0, 1.0, renderer.aspect)
    paved = renderer.generator.chance(renderer.amount("town", 0.6))
    name, kind = ("pavement", "slabs") if paved else ("grass", "blades")
    renderer.paint(below, name, renderer.colour(name), kind, 0.12)
    if water_side:
        edge = (renderer.x - np.float32(view.vanish)) * np.float32(water_side)
        depth = np.maximum(renderer.y - np.float32(view.horizon), np.float32(0)) / np.float32(1.0 - view.horizon)
        quay = np.float32(view.road + view.verge)
        sea = (edge >= depth * quay) & (renderer.y >= np.float32(view.horizon - 0.01))
        renderer.paint(renderer.everywhere(sea), "water", renderer.colour("water"), "ripples", 0.12, 0.7)
        wall = (edge >= depth * quay) & (edge < depth * (quay + np.float32(0.03))) & (depth > 0)
        renderer.shade(renderer.everywhere(wall), 0.5)


def _road(renderer: Renderer, view: _View) -> None:
    generator = renderer.generator
    top = int(view.horizon * renderer.height) + 1
    area = Area(slice(min(top, renderer.height), renderer.height), slice(0, renderer.width))
    scale = (renderer.y[area.rows] - np.float32(view.horizon)) / np.float32(1.0 - view.horizon)
    scale = np.maximum(scale, np.float32(0.01))
    u = (renderer.x - np.float32(view.vanish)) / scale
    away = np.abs(u)
    kerb = away < np.float32(view.road + 0.16 * view.zoom)
    depth = np.float32(1) / scale
    if generator.chance(renderer.amount("pavement", 0.85)):
        renderer.paint(area._replace(inside=kerb), "pavement", renderer.colour("pavement"), "slabs", 0.12)
        joint = kerb & (depth * np.float32(2.5) - np.floor(depth * np.float32(2.5)) < np.float32(0.22))
        renderer.shade(area._replace(inside=joint), 0.82)
    renderer.paint(area._replace(inside=away < np.float32(view.road)), "road", renderer.colour("road"), "speckle", 0.05)
    shift = np.float32(generator.uniform(0.0, 2.0))
    beat = depth * np.float32(1.2) + shift
    dashes = (np.abs(u) < np.float32(0.035)) & (beat - np.floor(beat) < np.float32(0.55))
    edges = np.abs(away - np.float32(view.road * 0.9)) < np.float32(0.022)
    lines = dashes | edges if generator.chance(renderer.amount("edge_lines", 0.5)) else dashes
    lines &= depth < np.float32(8)
    renderer.paint(area._replace(inside=lines), "marking", renderer.colour("marking"), "speckle", 0.05)


def _roadside(renderer: Renderer, view: _View, side: int) -> None:
    """Houses, trees and gaps along one side, from far to near."""
    generator = renderer.generator
    depth = generator.uniform(5.0, 7.0)
    inner = view.road + view.verge
    while depth > 1.0:
        length = generator.uniform(0.35, 0.9) * depth * 0.55
        near = max(depth - length, 0.75)
        if generator.chance(renderer.amount("houses", 0.7)):
            _house(renderer, view, side, inner, 1.0 / depth, 1.0 / near)
        elif generator.chance(0.75):
            _tree(renderer, view, side * (inner + generator.uniform(0.0, 0.3)), 2.0 / (depth + near))
        depth = near - generator.uniform(0.0, 0.3)


def _house(renderer: Renderer, view: _View, side: int, inner: float, far: float, near: float) -> None:
    """A block with a face along the road and one towards the camera."""
    generator = renderer.generator
    colour = _hazed(renderer, renderer.colour("building"), near)
    tall = generator.uniform(0.45, 1.1) * view.zoom * renderer.amount("storeys", 1.0)
    kind = "bricks" if generator.chance(0.2) else "windows"
    scale = min(max(near * 1.3, 0.6), 1.6)
    renderer.stand(lambda: view.beside(side * inner, far, near, renderer.x))
    corners = [(view.ground(s) - up * s, view.across(side * inner, s)) for s, up in ((far, tall), (near, tall))]
    foot = [(view.ground(s), view.across(side * inner, s)) for s in (near, far)]
    dark = (colour[0] * 0.72, colour[1] * 0.72, colour[2] * 0.74)
    renderer.paint(renderer.polygon(*corners, *foot), "building", dark, kind, 0.16, scale)
    edge, end = view.across(side * inner, near), view.across(side * (inner + generator.uniform(0.6, 1.4)), near)
    top = view.ground(near) - tall * near
    renderer.stand(view.away(near))
    front = renderer.box(top, min(edge, end), view.ground(near), max(edge, end))
    renderer.paint(front, "building", colour, kind, 0.16, scale)
    if generator.chance(0.5):
        roof = renderer.box(top - 0.05 * near, min(edge, end), top, max(edge, end))
        renderer.paint(roof, "building", (colour[0] * 0.6, colour[1] * 0.45, colour[2] * 0.45))


def _tree(renderer: Renderer, view: _View, u: float, s: float) -> None:
    generator = renderer.generator
    x, foot, tall = view.across(u, s), view.ground(s), generator.uniform(0.45, 0.85) * s * view.zoom
    renderer.stand(view.away(s))
    renderer.paint(renderer.box(foot - tall * 0.5, x - 0.03 * s, foot, x + 0.03 * s), "tree", renderer.colour("trunk"))
    colour = _hazed(renderer, renderer.colour("tree"), s)
    for _ in range(3):
        wide = tall * generator.uniform(0.22, 0.36)
        crown = renderer.ellipse(
            foot - tall * generator.uniform(0.55, 0.9),
            x + tall * generator.uniform(-0.2, 0.2),
            wide * generator.uniform(0.8, 1.1),
            wide,
        )
        tone = generator.uniform(0.8, 1.15)
        renderer.paint(crown, "tree", (colour[0] * tone, colour[1] * tone, colour[2] * tone), "leaves", 0.2, 0.8)


def _cranes(renderer: Renderer, view: _View, side: int) -> None:
    """Harbour cranes on the far shore or the quay."""
    generator = renderer.generator
    for _ in range(1 + generator.count(renderer.amount("cranes", 1.0))):
        s = generator.uniform(0.12, 0.4)
        x = view.across(side * generator.uniform(0.9, 2.0), s)
        renderer.stand(view.away(s))
        foot, tall = view.horizon + 0.02 + s * 0.12, generator.uniform(0.9, 1.4) * s + 0.1
        colour = _hazed(renderer, renderer.colour("crane"), s)
        thick = 0.012 + 0.03 * s
        boom = generator.pick((-1, 1)) * tall * generator.uniform(0.5, 0.9)
        for leg in (-0.12, 0.12):
            renderer.paint(renderer.box(foot - tall, x + leg * tall, foot, x + leg * tall + thick), "crane", colour)
        top = renderer.box(
            foot - tall, min(x, x + boom) - 0.1 * tall, foot - tall + thick, max(x, x + boom) + 0.1 * tall
        )
        renderer.paint(top, "crane", colour)
        renderer.paint(
            renderer.box(foot - tall * 0.55, x - 0.12 * tall, foot - tall * 0.4, x + 0.12 * tall), "crane", colour
        )


def _traffic(renderer: Renderer, view: _View) -> None:
    """What stands and moves on road and pavement, far things first."""
    generator = renderer.generator
    crowd = [("car", 2.2), ("truck", 0.6), ("person", 2.0), ("pole", 1.6)]
    things = [
        (generator.uniform(0.14, 0.85), name)
        for name, default in crowd
        for _ in range(generator.count(renderer.amount(name, default)))
    ]
    for s, name in sorted(things):
        side = generator.pick((-1, 1))
        renderer.stand(view.away(s * 0.8 if name == "truck" else s))
        if name == "car":
            _car(renderer, view, side * view.road * generator.uniform(0.4, 0.62), s)
        elif name == "truck":
            _truck(renderer, view, side * view.road * generator.uniform(0.45, 0.6), s * 0.8)
        elif name == "person":
            lane = generator.uniform(-0.9, 0.9) if generator.chance(0.2) else side * generator.uniform(1.02, 1.3)
            _person(renderer, view, lane * view.road, s)
        else:
            _pole(renderer, view, side * (view.road + 0.06), s)


def _shadow(renderer: Renderer, view: _View, x: float, s: float, half: float) -> None:
    renderer.shade(renderer.ellipse(view.ground(s), x, 0.035 * s, half * s * 1.15), 0.55)


@a_thing("car")
def _car(renderer: Renderer, view: _View, u: float, s: float) -> None:
    generator, z = renderer.generator, view.zoom
    x, foot, half, tall = view.across(u, s), view.ground(s), 0.20 * s * z, 0.28 * s * z
    _shadow(renderer, view, x, s, 0.22 * z)
    colour = _hazed(renderer, renderer.colour("car"), s)
    for wheel in (-0.72, 0.72):
        tyre = renderer.box(foot - tall * 0.3, x + (wheel - 0.18) * half, foot, x + (wheel + 0.18) * half)
        renderer.paint(tyre, "car", renderer.colour("tyre"))
    cabin = renderer.polygon(
        (foot - tall, x - half * 0.62), (foot - tall, x + half * 0.62), (foot - tall * 0.5, x + half * 0.86),
        (foot - tall * 0.5, x - half * 0.86),
    )  # fmt: skip
    renderer.paint(cabin, "car", colour)
    renderer.paint(
        renderer.box(foot - tall * 0.9, x - half * 0.6, foot - tall * 0.58, x + half * 0.6),
        "car",
        renderer.colour("glass"),
    )
    renderer.paint(renderer.box(foot - tall * 0.6, x - half, foot - tall * 0.16, x + half), "car", colour)
    light: Colour = (1.3, 1.2, 0.9) if u < 0 else (0.95, 0.10, 0.08)
    if renderer.amount("lights", 0.0) and generator.chance(renderer.amount("lights", 0.0)):
        light = (light[0] * 3, light[1] * 3, light[2] * 3)
    for lamp in (-0.78, 0.78):
        spot = renderer.box(foot - tall * 0.5, x + (lamp - 0.16) * half, foot - tall * 0.36, x + (lamp + 0.16) * half)
        renderer.paint(spot, "car", light)


@a_thing("truck")
def _truck(renderer: Renderer, view: _View, u: float, s: float) -> None:
    z = view.zoom
    x, foot, half, tall = view.across(u, s), view.ground(s), 0.25 * s * z, 0.62 * s * z
    _shadow(renderer, view, x, s, 0.27 * z)
    colour = _hazed(renderer, renderer.colour("truck"), s)
    for wheel in (-0.7, 0.7):
        tyre = renderer.box(foot - tall * 0.16, x + (wheel - 0.16) * half, foot, x + (wheel + 0.16) * half)
        renderer.paint(tyre, "truck", renderer.colour("tyre"))
    renderer.paint(renderer.box(foot - tall, x - half, foot - tall * 0.1, x + half), "truck", colour, "ribs", 0.06, 0.5)
    renderer.paint(renderer.box(foot - tall * 0.2, x - half, foot - tall * 0.12, x + half), "truck", (0.18, 0.18, 0.19))


@a_thing("person")
def _person(renderer: Renderer, view: _View, u: float, s: float) -> None:
    generator, z = renderer.generator, view.zoom
    x, foot, tall = view.across(u, s), view.ground(s), generator.uniform(0.34, 0.42) * s * z
    wide = tall * 0.15
    _shadow(renderer, view, x, s, 0.07 * z)
    stride = wide * generator.uniform(0.1, 0.9)
    trousers = renderer.colour("trousers")
    if renderer.things is not None:
        renderer.things.point("head", foot - tall * 0.91, x)
        renderer.things.point("hip", foot - tall * 0.44, x)
        for side, way in (("left", -1), ("right", 1)):
            renderer.things.point(f"{side} shoulder", foot - tall * 0.8, x + way * wide * 0.8)
            renderer.things.point(f"{side} foot", foot - tall * 0.03, x + way * stride)
    for leg in (-stride, stride):
        renderer.paint(
            renderer.box(foot - tall * 0.45, x + leg - wide * 0.4, foot, x + leg + wide * 0.4), "person", trousers
        )
    renderer.paint(
        renderer.box(foot - tall * 0.82, x - wide, foot - tall * 0.42, x + wide), "person", renderer.colour("coat")
    )
    renderer.paint(
        renderer.ellipse(foot - tall * 0.91, x, tall * 0.09, tall * 0.075), "person", renderer.colour("skin")
    )


def _pole(renderer: Renderer, view: _View, u: float, s: float) -> None:
    generator, z = renderer.generator, view.zoom
    x, foot = view.across(u, s), view.ground(s)
    lantern = generator.chance(0.5)
    tall = (generator.uniform(0.85, 1.1) if lantern else generator.uniform(0.45, 0.6)) * s * z
    renderer.paint(renderer.box(foot - tall, x - 0.02 * s, foot, x + 0.024 * s), "pole", renderer.colour("pole"))
    if lantern:
        arm = -0.14 * s if u > 0 else 0.14 * s
        renderer.paint(
            renderer.box(foot - tall, min(x, x + arm), foot - tall + 0.03 * s, max(x, x + arm)),
            "pole",
            renderer.colour("lamp"),
        )
        return
    colour, size = renderer.colour("sign"), 0.085 * s * z
    if generator.chance(0.5):
        renderer.paint(renderer.ellipse(foot - tall, x, size, size), "sign", colour)
        renderer.paint(renderer.ellipse(foot - tall, x, size * 0.5, size * 0.5), "sign", (0.9, 0.9, 0.9))
    else:
        renderer.paint(renderer.box(foot - tall - size, x - size, foot - tall + size, x + size), "sign", colour)
        renderer.paint(
            renderer.box(foot - tall - size * 0.3, x - size * 0.6, foot - tall + size * 0.3, x + size * 0.6),
            "sign",
            (0.9, 0.9, 0.9),
        )
