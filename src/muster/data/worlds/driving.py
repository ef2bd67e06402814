"""Street scenes seen through a windscreen.

A point of the ground has a scale ``s``: 0 at the horizon, 1 at the lower edge of the picture, the inverse of distance.
Sizes of things are measured in picture heights at scale 1, so something of height ``H`` is ``H * s`` tall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.data.worlds.canvas import Area, Canvas, Colour, Palette

FINE = (
    "sky", "building", "tree", "grass", "road", "marking", "pavement", "car", "truck", "person", "pole", "sign",
    "water", "crane", "bonnet",
)  # fmt: skip

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

    def ground(self, s: float) -> float:
        return self.horizon + s * (1.0 - self.horizon)

    def across(self, u: float, s: float) -> float:
        return self.vanish + u * s


def draw(canvas: Canvas) -> None:
    """Paint one street scene, far things first."""
    dice, zoom = canvas.dice, canvas.style.zoom
    view = _View(
        horizon=dice.uniform(0.32, 0.48),
        vanish=canvas.aspect * dice.uniform(0.32, 0.68),
        road=dice.uniform(0.45, 0.75) * zoom,
        verge=dice.uniform(0.14, 0.34) * zoom,
        zoom=zoom,
    )
    _sky(canvas, view)
    _skyline(canvas, view)
    water_side = dice.pick((-1, 1)) if dice.chance(canvas.amount("water", 0.0)) else 0
    _ground(canvas, view, water_side)
    _road(canvas, view)
    for side in (-1, 1):
        if side != water_side:
            _roadside(canvas, view, side)
    if water_side:
        _cranes(canvas, view, water_side)
    _traffic(canvas, view)
    if dice.chance(canvas.amount("bonnet", 0.3)):
        canvas.paint(canvas.ellipse(1.08, view.vanish, 0.17, canvas.aspect * 0.55), "bonnet", canvas.colour("bonnet"))


def _hazed(canvas: Canvas, colour: Colour, s: float) -> Colour:
    """The colour of something at scale ``s``: the farther, the more of the haze."""
    return canvas.hazed(colour, canvas.style.haze * max(0.0, 1.0 - s * 1.6))


def _sky(canvas: Canvas, view: _View) -> None:
    area = canvas.box(0.0, 0.0, view.horizon + 0.03, canvas.aspect)
    canvas.paint(area, "sky", canvas.colour("sky"), "clouds", canvas.amount("clouds", 0.08), 1.2)
    low = np.array(canvas.style.haze_colour, np.float32)[:, None, None]
    down = np.minimum(canvas.y[area.rows] / np.float32(view.horizon), np.float32(1))
    part = canvas.image[:, area.rows]
    part += (low - part) * (down * down * np.float32(0.7))


def _skyline(canvas: Canvas, view: _View) -> None:
    """Far houses or woods along the horizon."""
    dice = canvas.dice
    x = 0.0
    while x < canvas.aspect:
        width = dice.uniform(0.10, 0.28)
        top = view.horizon - dice.uniform(0.02, 0.14)
        if dice.chance(canvas.amount("town", 0.6)):
            colour = _hazed(canvas, canvas.colour("building"), 0.0)
            canvas.paint(canvas.box(top, x, view.horizon + 0.03, x + width), "building", colour, "windows", 0.08, 0.6)
        else:
            colour = _hazed(canvas, canvas.colour("tree"), 0.0)
            hill = canvas.ellipse(view.horizon + 0.03, x + width / 2, view.horizon - top + 0.03, width * 0.75)
            canvas.paint(hill, "tree", colour, "leaves", 0.12, 0.6)
        x += width


def _ground(canvas: Canvas, view: _View, water_side: int) -> None:
    below = canvas.box(view.horizon, 0.0, 1.0, canvas.aspect)
    paved = canvas.dice.chance(canvas.amount("town", 0.6))
    name, kind = ("pavement", "slabs") if paved else ("grass", "blades")
    canvas.paint(below, name, canvas.colour(name), kind, 0.12)
    if water_side:
        edge = (canvas.x - np.float32(view.vanish)) * np.float32(water_side)
        depth = np.maximum(canvas.y - np.float32(view.horizon), np.float32(0)) / np.float32(1.0 - view.horizon)
        quay = np.float32(view.road + view.verge)
        sea = (edge >= depth * quay) & (canvas.y >= np.float32(view.horizon - 0.01))
        canvas.paint(canvas.everywhere(sea), "water", canvas.colour("water"), "ripples", 0.12, 0.7)
        wall = (edge >= depth * quay) & (edge < depth * (quay + np.float32(0.03))) & (depth > 0)
        canvas.shade(canvas.everywhere(wall), 0.5)


def _road(canvas: Canvas, view: _View) -> None:
    dice = canvas.dice
    top = int(view.horizon * canvas.height) + 1
    area = Area(slice(min(top, canvas.height), canvas.height), slice(0, canvas.width))
    scale = (canvas.y[area.rows] - np.float32(view.horizon)) / np.float32(1.0 - view.horizon)
    scale = np.maximum(scale, np.float32(0.01))
    u = (canvas.x - np.float32(view.vanish)) / scale
    away = np.abs(u)
    kerb = away < np.float32(view.road + 0.16 * view.zoom)
    depth = np.float32(1) / scale
    if dice.chance(canvas.amount("pavement", 0.85)):
        canvas.paint(area._replace(inside=kerb), "pavement", canvas.colour("pavement"), "slabs", 0.12)
        joint = kerb & (depth * np.float32(2.5) - np.floor(depth * np.float32(2.5)) < np.float32(0.22))
        canvas.shade(area._replace(inside=joint), 0.82)
    canvas.paint(area._replace(inside=away < np.float32(view.road)), "road", canvas.colour("road"), "speckle", 0.05)
    shift = np.float32(dice.uniform(0.0, 2.0))
    beat = depth * np.float32(1.2) + shift
    dashes = (np.abs(u) < np.float32(0.035)) & (beat - np.floor(beat) < np.float32(0.55))
    edges = np.abs(away - np.float32(view.road * 0.9)) < np.float32(0.022)
    lines = dashes | edges if dice.chance(canvas.amount("edge_lines", 0.5)) else dashes
    lines &= depth < np.float32(8)
    canvas.paint(area._replace(inside=lines), "marking", canvas.colour("marking"), "speckle", 0.05)


def _roadside(canvas: Canvas, view: _View, side: int) -> None:
    """Houses, trees and gaps along one side, from far to near."""
    dice = canvas.dice
    depth = dice.uniform(5.0, 7.0)
    inner = view.road + view.verge
    while depth > 1.0:
        length = dice.uniform(0.35, 0.9) * depth * 0.55
        near = max(depth - length, 0.75)
        if dice.chance(canvas.amount("houses", 0.7)):
            _house(canvas, view, side, inner, 1.0 / depth, 1.0 / near)
        elif dice.chance(0.75):
            _tree(canvas, view, side * (inner + dice.uniform(0.0, 0.3)), 2.0 / (depth + near))
        depth = near - dice.uniform(0.0, 0.3)


def _house(canvas: Canvas, view: _View, side: int, inner: float, far: float, near: float) -> None:
    """A block with a face along the road and one towards the camera."""
    dice = canvas.dice
    colour = _hazed(canvas, canvas.colour("building"), near)
    tall = dice.uniform(0.45, 1.1) * view.zoom * canvas.amount("storeys", 1.0)
    kind = "bricks" if dice.chance(0.2) else "windows"
    scale = min(max(near * 1.3, 0.6), 1.6)
    corners = [(view.ground(s) - up * s, view.across(side * inner, s)) for s, up in ((far, tall), (near, tall))]
    foot = [(view.ground(s), view.across(side * inner, s)) for s in (near, far)]
    dark = (colour[0] * 0.72, colour[1] * 0.72, colour[2] * 0.74)
    canvas.paint(canvas.polygon(*corners, *foot), "building", dark, kind, 0.16, scale)
    edge, end = view.across(side * inner, near), view.across(side * (inner + dice.uniform(0.6, 1.4)), near)
    top = view.ground(near) - tall * near
    front = canvas.box(top, min(edge, end), view.ground(near), max(edge, end))
    canvas.paint(front, "building", colour, kind, 0.16, scale)
    if dice.chance(0.5):
        roof = canvas.box(top - 0.05 * near, min(edge, end), top, max(edge, end))
        canvas.paint(roof, "building", (colour[0] * 0.6, colour[1] * 0.45, colour[2] * 0.45))


def _tree(canvas: Canvas, view: _View, u: float, s: float) -> None:
    dice = canvas.dice
    x, foot, tall = view.across(u, s), view.ground(s), dice.uniform(0.45, 0.85) * s * view.zoom
    canvas.paint(canvas.box(foot - tall * 0.5, x - 0.03 * s, foot, x + 0.03 * s), "tree", canvas.colour("trunk"))
    colour = _hazed(canvas, canvas.colour("tree"), s)
    for _ in range(3):
        wide = tall * dice.uniform(0.22, 0.36)
        crown = canvas.ellipse(
            foot - tall * dice.uniform(0.55, 0.9),
            x + tall * dice.uniform(-0.2, 0.2),
            wide * dice.uniform(0.8, 1.1),
            wide,
        )
        tone = dice.uniform(0.8, 1.15)
        canvas.paint(crown, "tree", (colour[0] * tone, colour[1] * tone, colour[2] * tone), "leaves", 0.2, 0.8)


def _cranes(canvas: Canvas, view: _View, side: int) -> None:
    """Harbour cranes on the far shore or the quay."""
    dice = canvas.dice
    for _ in range(1 + dice.count(canvas.amount("cranes", 1.0))):
        s = dice.uniform(0.12, 0.4)
        x = view.across(side * dice.uniform(0.9, 2.0), s)
        foot, tall = view.horizon + 0.02 + s * 0.12, dice.uniform(0.9, 1.4) * s + 0.1
        colour = _hazed(canvas, canvas.colour("crane"), s)
        thick = 0.012 + 0.03 * s
        boom = dice.pick((-1, 1)) * tall * dice.uniform(0.5, 0.9)
        for leg in (-0.12, 0.12):
            canvas.paint(canvas.box(foot - tall, x + leg * tall, foot, x + leg * tall + thick), "crane", colour)
        top = canvas.box(foot - tall, min(x, x + boom) - 0.1 * tall, foot - tall + thick, max(x, x + boom) + 0.1 * tall)
        canvas.paint(top, "crane", colour)
        canvas.paint(
            canvas.box(foot - tall * 0.55, x - 0.12 * tall, foot - tall * 0.4, x + 0.12 * tall), "crane", colour
        )


def _traffic(canvas: Canvas, view: _View) -> None:
    """What stands and moves on road and pavement, far things first."""
    dice = canvas.dice
    crowd = [("car", 2.2), ("truck", 0.6), ("person", 2.0), ("pole", 1.6)]
    things = [
        (dice.uniform(0.14, 0.85), name)
        for name, default in crowd
        for _ in range(dice.count(canvas.amount(name, default)))
    ]
    for s, name in sorted(things):
        side = dice.pick((-1, 1))
        if name == "car":
            _car(canvas, view, side * view.road * dice.uniform(0.4, 0.62), s)
        elif name == "truck":
            _truck(canvas, view, side * view.road * dice.uniform(0.45, 0.6), s * 0.8)
        elif name == "person":
            lane = dice.uniform(-0.9, 0.9) if dice.chance(0.2) else side * dice.uniform(1.02, 1.3)
            _person(canvas, view, lane * view.road, s)
        else:
            _pole(canvas, view, side * (view.road + 0.06), s)


def _shadow(canvas: Canvas, view: _View, x: float, s: float, half: float) -> None:
    canvas.shade(canvas.ellipse(view.ground(s), x, 0.035 * s, half * s * 1.15), 0.55)


def _car(canvas: Canvas, view: _View, u: float, s: float) -> None:
    dice, z = canvas.dice, view.zoom
    x, foot, half, tall = view.across(u, s), view.ground(s), 0.20 * s * z, 0.28 * s * z
    _shadow(canvas, view, x, s, 0.22 * z)
    colour = _hazed(canvas, canvas.colour("car"), s)
    for wheel in (-0.72, 0.72):
        tyre = canvas.box(foot - tall * 0.3, x + (wheel - 0.18) * half, foot, x + (wheel + 0.18) * half)
        canvas.paint(tyre, "car", canvas.colour("tyre"))
    cabin = canvas.polygon(
        (foot - tall, x - half * 0.62), (foot - tall, x + half * 0.62), (foot - tall * 0.5, x + half * 0.86),
        (foot - tall * 0.5, x - half * 0.86),
    )  # fmt: skip
    canvas.paint(cabin, "car", colour)
    canvas.paint(
        canvas.box(foot - tall * 0.9, x - half * 0.6, foot - tall * 0.58, x + half * 0.6), "car", canvas.colour("glass")
    )
    canvas.paint(canvas.box(foot - tall * 0.6, x - half, foot - tall * 0.16, x + half), "car", colour)
    light: Colour = (1.3, 1.2, 0.9) if u < 0 else (0.95, 0.10, 0.08)
    if canvas.amount("lights", 0.0) and dice.chance(canvas.amount("lights", 0.0)):
        light = (light[0] * 3, light[1] * 3, light[2] * 3)
    for lamp in (-0.78, 0.78):
        spot = canvas.box(foot - tall * 0.5, x + (lamp - 0.16) * half, foot - tall * 0.36, x + (lamp + 0.16) * half)
        canvas.paint(spot, "car", light)


def _truck(canvas: Canvas, view: _View, u: float, s: float) -> None:
    z = view.zoom
    x, foot, half, tall = view.across(u, s), view.ground(s), 0.25 * s * z, 0.62 * s * z
    _shadow(canvas, view, x, s, 0.27 * z)
    colour = _hazed(canvas, canvas.colour("truck"), s)
    for wheel in (-0.7, 0.7):
        tyre = canvas.box(foot - tall * 0.16, x + (wheel - 0.16) * half, foot, x + (wheel + 0.16) * half)
        canvas.paint(tyre, "truck", canvas.colour("tyre"))
    canvas.paint(canvas.box(foot - tall, x - half, foot - tall * 0.1, x + half), "truck", colour, "ribs", 0.06, 0.5)
    canvas.paint(canvas.box(foot - tall * 0.2, x - half, foot - tall * 0.12, x + half), "truck", (0.18, 0.18, 0.19))


def _person(canvas: Canvas, view: _View, u: float, s: float) -> None:
    dice, z = canvas.dice, view.zoom
    x, foot, tall = view.across(u, s), view.ground(s), dice.uniform(0.34, 0.42) * s * z
    wide = tall * 0.15
    _shadow(canvas, view, x, s, 0.07 * z)
    stride = wide * dice.uniform(0.1, 0.9)
    trousers = canvas.colour("trousers")
    for leg in (-stride, stride):
        canvas.paint(
            canvas.box(foot - tall * 0.45, x + leg - wide * 0.4, foot, x + leg + wide * 0.4), "person", trousers
        )
    canvas.paint(
        canvas.box(foot - tall * 0.82, x - wide, foot - tall * 0.42, x + wide), "person", canvas.colour("coat")
    )
    canvas.paint(canvas.ellipse(foot - tall * 0.91, x, tall * 0.09, tall * 0.075), "person", canvas.colour("skin"))


def _pole(canvas: Canvas, view: _View, u: float, s: float) -> None:
    dice, z = canvas.dice, view.zoom
    x, foot = view.across(u, s), view.ground(s)
    lantern = dice.chance(0.5)
    tall = (dice.uniform(0.85, 1.1) if lantern else dice.uniform(0.45, 0.6)) * s * z
    canvas.paint(canvas.box(foot - tall, x - 0.02 * s, foot, x + 0.024 * s), "pole", canvas.colour("pole"))
    if lantern:
        arm = -0.14 * s if u > 0 else 0.14 * s
        canvas.paint(
            canvas.box(foot - tall, min(x, x + arm), foot - tall + 0.03 * s, max(x, x + arm)),
            "pole",
            canvas.colour("lamp"),
        )
        return
    colour, size = canvas.colour("sign"), 0.085 * s * z
    if dice.chance(0.5):
        canvas.paint(canvas.ellipse(foot - tall, x, size, size), "sign", colour)
        canvas.paint(canvas.ellipse(foot - tall, x, size * 0.5, size * 0.5), "sign", (0.9, 0.9, 0.9))
    else:
        canvas.paint(canvas.box(foot - tall - size, x - size, foot - tall + size, x + size), "sign", colour)
        canvas.paint(
            canvas.box(foot - tall - size * 0.3, x - size * 0.6, foot - tall + size * 0.3, x + size * 0.6),
            "sign",
            (0.9, 0.9, 0.9),
        )
