"""Which worlds there are: each is a look, and a label space laid over the fine classes of its scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from muster.data.worlds import aerial, driving, indoor, styles, underwater
from muster.data.worlds.renderer import Palette, Renderer, Style


@dataclass(frozen=True)
class Domain:
    """A kind of scenes.

    Attributes:
        name: What one sees.
        fine: Names of everything that is told apart while painting.
        palette: The usual colours.
        draw: Paints one scene.
    """

    name: str
    fine: tuple[str, ...]
    palette: Palette
    draw: Callable[[Renderer], None]


DRIVING = Domain("driving", driving.FINE, driving.PALETTE, driving.draw)
AERIAL = Domain("aerial", aerial.FINE, aerial.PALETTE, aerial.draw)
INDOOR = Domain("indoor", indoor.FINE, indoor.PALETTE, indoor.draw)
UNDERWATER = Domain("underwater", underwater.FINE, underwater.PALETTE, underwater.draw)


@dataclass(frozen=True)
class World:
    """A dataset to be drawn.

    Attributes:
        domain: What its description says it shows.
        scenes: Domains with the look that they have here; each image shows one of them.
        labels: Class name to the fine classes that it merges, separated by spaces. What no class names is void.
        size: Rows and columns of its images.
        train: How many training images.
        test: How many test images.
        borders: Whether a thin line between classes is void, as in datasets labelled by outlines.
    """

    domain: str
    scenes: tuple[tuple[Domain, Style], ...]
    labels: Mapping[str, str]
    size: tuple[int, int] = (64, 64)
    train: int = 160
    test: int = 60
    borders: bool = False


WORLDS: Mapping[str, World] = {
    "harbour_drive": World(
        domain="driving",
        scenes=((DRIVING, styles.HARBOUR),),
        labels={
            "sky": "sky",
            "building": "building",
            "vegetation": "tree grass",
            "road": "road marking",
            "pavement": "pavement",
            "car": "car",
            "lorry": "truck",
            "person": "person",
            "pole": "pole sign",
            "water": "water",
            "crane": "crane",
        },
        train=200,
    ),
    "city_drive": World(
        domain="driving",
        scenes=((DRIVING, styles.CITY),),
        labels={
            "road": "road",
            "lane marking": "marking",
            "sidewalk": "pavement",
            "building": "building",
            "pole": "pole",
            "sign": "sign",
            "vegetation": "tree",
            "terrain": "grass",
            "sky": "sky",
            "person": "person",
            "car": "car",
            "truck": "truck",
        },
        size=(64, 96),
        train=240,
    ),
    "night_drive": World(
        domain="driving",
        scenes=((DRIVING, styles.NIGHT),),
        labels={
            "ground": "road marking pavement grass",
            "structure": "building",
            "plants": "tree",
            "sky": "sky",
            "vehicle": "car truck",
            "pedestrian": "person",
            "post": "pole sign",
            "own car": "bonnet",
        },
        train=160,
        borders=True,
    ),
    "country_drive": World(
        domain="driving",
        scenes=((DRIVING, styles.COUNTRY),),
        labels={
            "carriageway": "road pavement",
            "marking": "marking",
            "meadow": "grass",
            "tree": "tree",
            "sky": "sky",
            "farmhouse": "building",
            "vehicle": "car truck",
        },
        size=(48, 64),
        train=140,
    ),
    "farmland": World(
        domain="aerial",
        scenes=((AERIAL, styles.FARM),),
        labels={
            "meadow": "meadow",
            "crop": "crop",
            "bare soil": "soil",
            "tree": "tree",
            "road": "road path",
            "roof": "roof",
            "water": "water",
        },
        train=180,
    ),
    "suburb": World(
        domain="aerial",
        scenes=((AERIAL, styles.SUBURB),),
        labels={
            "lawn": "meadow",
            "bare ground": "crop soil path",
            "tree": "tree",
            "asphalt": "road car_park",
            "roof": "roof",
            "vehicle": "vehicle",
            "pool": "pool",
        },
        size=(80, 80),
        train=160,
    ),
    "delta": World(
        domain="aerial",
        scenes=((AERIAL, styles.DELTA),),
        labels={
            "water": "water",
            "boat": "boat",
            "farmed": "crop soil",
            "green": "meadow tree",
            "built": "roof road path car_park",
        },
        train=120,
        borders=True,
    ),
    "parlour": World(
        domain="indoor",
        scenes=((INDOOR, styles.PARLOUR),),
        labels={
            "wall": "wall",
            "ceiling": "ceiling",
            "floor": "floor",
            "rug": "rug",
            "window": "window curtain",
            "picture": "picture",
            "bookcase": "shelf",
            "seat": "sofa chair",
            "table": "table",
            "lamp": "lamp",
            "plant": "plant",
        },
        train=200,
    ),
    "office": World(
        domain="indoor",
        scenes=((INDOOR, styles.OFFICE),),
        labels={
            "wall": "wall ceiling",
            "floor": "floor rug",
            "desk": "table",
            "chair": "chair sofa",
            "screen": "screen",
            "shelf": "shelf",
            "opening": "window door",
        },
        size=(48, 80),
        train=150,
    ),
    "attic": World(
        domain="indoor",
        scenes=((INDOOR, styles.ATTIC),),
        labels={
            "wall": "wall picture door",
            "ceiling": "ceiling",
            "floor": "floor rug",
            "window": "window curtain",
            "bed": "bed",
            "furniture": "sofa table chair shelf",
        },
        train=12,
        borders=True,
    ),
    "reef": World(
        domain="underwater",
        scenes=((UNDERWATER, styles.REEF),),
        labels={
            "water": "open_water",
            "sand": "sand",
            "rock": "rock",
            "massive coral": "brain_coral",
            "branching coral": "fan_coral",
            "seaweed": "kelp",
            "fish": "fish",
            "diver": "diver",
            "urchin": "urchin",
        },
        train=180,
    ),
    "trench": World(
        domain="underwater",
        scenes=((UNDERWATER, styles.TRENCH),),
        labels={
            "water": "open_water bubbles",
            "bottom": "sand rock",
            "growth": "brain_coral fan_coral kelp",
            "animal": "fish urchin",
            "diver": "diver",
            "wreck": "wreck",
        },
        size=(64, 80),
        train=140,
    ),
    "almanac": World(
        domain="broad",
        scenes=(
            (DRIVING, styles.VARIED),
            (AERIAL, styles.VARIED),
            (INDOOR, styles.VARIED),
            (UNDERWATER, styles.VARIED_SEA),
        ),
        labels={
            "sky": "sky",
            "building": "building roof crane",
            "plant": "tree plant kelp",
            "ground": "grass meadow crop soil sand rock",
            "paving": "road marking pavement path car_park",
            "vehicle": "car truck vehicle boat",
            "person": "person diver",
            "water": "water open_water pool",
            "interior": "wall ceiling floor rug door",
            "window": "window curtain",
            "furniture": "sofa bed table chair shelf",
            "animal": "fish brain_coral fan_coral urchin",
        },
        train=480,
        test=80,
    ),
}
"""Every world by name."""
