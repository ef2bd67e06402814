"""How each world looks: the colours, light, clutter and noise that set it apart within its domain."""

from __future__ import annotations

from muster.data.worlds.renderer import Style

HARBOUR = Style(
    palette={
        "sky": [(0.70, 0.66, 0.66), (0.62, 0.64, 0.70), (0.78, 0.68, 0.58)],
        "building": [(0.56, 0.34, 0.28), (0.60, 0.56, 0.50), (0.46, 0.48, 0.52), (0.64, 0.52, 0.36)],
        "water": [(0.36, 0.42, 0.46), (0.40, 0.44, 0.44), (0.46, 0.46, 0.46)],
    },
    amounts={"water": 0.6, "truck": 1.1, "person": 1.6, "town": 0.75, "houses": 0.7, "cranes": 1.2, "bonnet": 0.25},
    tint=(1.05, 0.99, 0.92),
    light=(0.6, 1.05),
    saturation=0.85,
    haze=0.5,
    haze_colour=(0.78, 0.74, 0.70),
    noise=0.07,
)

CITY = Style(
    amounts={
        "town": 0.8,
        "houses": 0.88,
        "storeys": 1.5,
        "car": 2.8,
        "person": 2.6,
        "truck": 0.7,
        "pavement": 1.0,
        "bonnet": 0.5,
    },
    light=(0.8, 1.2),
    noise=0.04,
)

NIGHT = Style(
    palette={
        "sky": [(0.10, 0.12, 0.22), (0.16, 0.15, 0.20)],
        "lamp": [(4.0, 3.6, 2.4)],
        "sign": [(1.4, 0.30, 0.26), (0.30, 0.60, 1.5), (1.7, 1.4, 0.4)],
        "marking": [(1.2, 1.2, 1.15)],
    },
    amounts={"town": 0.85, "houses": 0.75, "lights": 0.9, "car": 2.6, "pole": 2.6, "clouds": 0.2, "edge_lines": 0.8},
    tint=(0.88, 0.92, 1.15),
    light=(0.40, 0.70),
    slope=0.7,
    haze=0.6,
    haze_colour=(0.20, 0.20, 0.26),
    cell=4.5,
    grain=1.2,
    noise=0.06,
)

COUNTRY = Style(
    palette={
        "road": [(0.46, 0.44, 0.42), (0.54, 0.48, 0.42)],
        "tree": [(0.28, 0.40, 0.16), (0.46, 0.40, 0.16), (0.52, 0.34, 0.14)],
    },
    amounts={
        "town": 0.08,
        "houses": 0.16,
        "pavement": 0.05,
        "person": 0.6,
        "car": 1.4,
        "truck": 0.8,
        "pole": 1.3,
        "bonnet": 0.0,
        "water": 0.15,
    },
    tint=(1.06, 1.02, 0.90),
    light=(0.8, 1.25),
    saturation=1.2,
    haze=0.3,
    zoom=0.85,
    cell=4.0,
    noise=0.03,
)

FARM = Style(
    amounts={
        "road": 0.9,
        "roof": 2.2,
        "water": 0.3,
        "pool": 0.0,
        "car_park": 0.0,
        "vehicle": 1.0,
        "grove": 3.0,
        "boat": 0.6,
    },
    light=(0.8, 1.2),
    saturation=1.1,
    noise=0.04,
)

SUBURB = Style(
    palette={"roof": [(0.48, 0.46, 0.46), (0.56, 0.36, 0.30), (0.36, 0.34, 0.36), (0.62, 0.58, 0.52)]},
    amounts={
        "crop": 0.25,
        "soil": 0.5,
        "meadow": 2.5,
        "road": 2.2,
        "roof": 7.0,
        "pool": 0.5,
        "car_park": 0.14,
        "water": 0.15,
        "vehicle": 2.2,
        "path": 0.2,
    },
    tint=(1.0, 0.98, 1.03),
    light=(0.85, 1.3),
    saturation=0.85,
    cell=4.0,
    noise=0.06,
)

DELTA = Style(
    palette={
        "meadow": [(0.34, 0.46, 0.34), (0.42, 0.48, 0.34)],
        "soil": [(0.54, 0.48, 0.38), (0.46, 0.44, 0.38)],
        "water": [(0.30, 0.40, 0.36), (0.38, 0.42, 0.36), (0.22, 0.32, 0.34)],
    },
    amounts={"water": 1.0, "river": 1.6, "lake": 0.3, "boat": 8.0, "roof": 2.5, "road": 0.8, "path": 0.6, "pool": 0.0},
    tint=(0.94, 1.0, 1.02),
    light=(0.65, 1.05),
    saturation=0.75,
    zoom=1.25,
    cell=6.0,
    noise=0.07,
)

PARLOUR = Style(amounts={"bed": 0.3, "sofa": 1.2, "screen": 0.0}, tint=(1.06, 1.0, 0.90), light=(0.7, 1.1), noise=0.05)

OFFICE = Style(
    palette={
        "wall": [(0.76, 0.78, 0.80), (0.66, 0.70, 0.74), (0.80, 0.80, 0.78)],
        "floor": [(0.44, 0.46, 0.50), (0.52, 0.50, 0.48), (0.36, 0.38, 0.42)],
        "table": [(0.72, 0.66, 0.56), (0.78, 0.78, 0.78), (0.46, 0.36, 0.28)],
        "chair": [(0.16, 0.17, 0.19), (0.22, 0.30, 0.46)],
        "sofa": [(0.30, 0.34, 0.42), (0.36, 0.36, 0.38)],
    },
    amounts={
        "bed": 0.0,
        "sofa": 0.4,
        "screen": 4.0,
        "shelf": 3.0,
        "table": 1.8,
        "chair": 2.2,
        "rug": 0.1,
        "curtain": 0.1,
        "lamp": 0.25,
        "picture": 2.0,
    },
    tint=(0.94, 1.0, 1.05),
    light=(0.8, 1.2),
    saturation=0.85,
    zoom=0.9,
    cell=4.5,
    noise=0.04,
)

ATTIC = Style(
    palette={"wall": [(0.58, 0.46, 0.34), (0.50, 0.42, 0.34)], "ceiling": [(0.48, 0.40, 0.32), (0.60, 0.52, 0.42)]},
    amounts={"bed": 1.2, "sofa": 0.5, "screen": 0.0, "door": 1.0, "window": 3.0, "rug": 0.7},
    tint=(1.08, 1.0, 0.84),
    light=(0.6, 0.95),
    slope=0.5,
    zoom=1.1,
    noise=0.08,
)

REEF = Style(
    amounts={
        "brain_coral": 2.6,
        "fan_coral": 2.4,
        "kelp": 0.6,
        "fish": 4.0,
        "urchin": 1.6,
        "school": 0.4,
        "wreck": 0.05,
    },
    light=(0.85, 1.2),
    haze=0.5,
    haze_colour=(0.14, 0.46, 0.62),
    saturation=1.1,
    noise=0.04,
)

TRENCH = Style(
    palette={
        "open_water": [(0.06, 0.20, 0.30), (0.08, 0.24, 0.26)],
        "sand": [(0.44, 0.46, 0.42), (0.40, 0.40, 0.40)],
    },
    amounts={
        "brain_coral": 0.8,
        "fan_coral": 0.7,
        "kelp": 1.8,
        "rock": 2.8,
        "wreck": 0.6,
        "diver": 0.5,
        "fish": 2.0,
        "ridge": 0.8,
    },
    tint=(0.80, 1.0, 1.02),
    light=(0.8, 1.25),
    slope=0.6,
    haze=0.7,
    haze_colour=(0.06, 0.20, 0.26),
    saturation=0.8,
    zoom=1.2,
    cell=6.0,
    noise=0.06,
)

VARIED = Style(amounts={"water": 0.25}, light=(0.6, 1.2), slope=0.5)

VARIED_SEA = Style(light=(0.6, 1.2), slope=0.5, haze=0.5, haze_colour=(0.12, 0.38, 0.52))
