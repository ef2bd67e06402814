"""Tiny copies of published segmentation datasets in their true form on disk, each with the masks that must come back.

Stored values and expected indices are written down by hand from the public label lists: 255 is void. A new spec needs
a writer here and nothing else: the tests run over all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from muster.data.published import published_named
from tests.data import scene_spec_writers
from tests.data.layout_writers import save

Rows = Sequence[Sequence[Any]]
Masks = Mapping[str, Mapping[str, Rows]]
"""By ``train`` and ``test``, and by identifier: the class index of each pixel."""

VOID = 255


def put_image(path: Path, rows: Rows) -> None:
    """An image of the size of a mask; each has its own content."""
    tone = sum(map(ord, path.as_posix())) % 200
    save(path, np.full((len(rows), len(rows[0]), 3), [tone, 10, 200 - tone], np.uint8))


def put_values(path: Path, rows: Rows) -> None:
    """A mask of stored values."""
    save(path, np.array(rows, np.uint8))


def put_palette(path: Path, rows: Rows) -> None:
    """A mask whose palette is for the eye alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(rows, np.uint8))
    image.putpalette([level for value in range(256) for level in (255 - value, value, 7)])
    image.save(path)


def put_colours(path: Path, rows: Rows) -> None:
    """A mask of colours, each written as three levels."""
    save(path, np.array(rows, np.uint8))


def write_cityscapes(folder: Path, names: Mapping[int, Any]) -> dict[str, dict[str, list[list[Any]]]]:
    """Ids of the label table, with the files that lie beside them."""
    ids = [[0, 6, 7, 8], [9, 19, 33, 23]]
    found: dict[str, dict[str, list[list[Any]]]] = {"train": {}, "test": {}}
    for split, city in (("train", "aachen"), ("train", "zurich"), ("val", "frankfurt")):
        name = f"{city}/{city}_000000_000019"
        put_image(folder / f"leftImg8bit/{split}/{name}_leftImg8bit.png", ids)
        put_values(folder / f"gtFine/{split}/{name}_gtFine_labelIds.png", ids)
        put_values(folder / f"gtFine/{split}/{name}_gtFine_color.png", ids)
        identifier = f"{city}/{city}_000000_000019"
        found["test" if split == "val" else "train"][identifier] = [[names[value] for value in row] for row in ids]
    return found


def write_cityscapes_19(folder: Path) -> Masks:
    """Train ids: road, sidewalk, traffic light, bicycle, sky; parking and ground have none."""
    return write_cityscapes(folder, {0: VOID, 6: VOID, 7: 0, 8: 1, 9: VOID, 19: 6, 33: 18, 23: 10})


def write_cityscapes_33(folder: Path) -> Masks:
    """Ids from 1 on but 3: each but the first two has two less."""
    return write_cityscapes(folder, {0: VOID, 6: 4, 7: 5, 8: 6, 9: 7, 19: 17, 33: 31, 23: 21})


def write_kitti(folder: Path) -> Masks:
    """All 200 images, as their names are in the spec: the first of those for testing is 000001."""
    ids = [[0, 3, 4, 7], [17, 26, 33, 1]]
    indices = [[VOID, VOID, 0, 3], [13, 22, 29, VOID]]
    names = [f"{number:06}" for number in range(200)]
    for name in names:
        put_image(folder / f"training/image_2/{name}_10.png", ids)
        put_values(folder / f"training/semantic/{name}_10.png", ids)
    put_image(folder / "testing/image_2/000000_10.png", ids)
    parts = published_named("kitti").dataset["splits"]
    held = parts["test"]["names"].split()
    assert (len(held), held[:3], held[-1]) == (50, ["000001", "000003", "000007"], "000196")
    return {"train": {name: indices for name in names if name not in held}, "test": dict.fromkeys(held, indices)}


def write_idd(folder: Path) -> Masks:
    """Polygons: sky over a road with a car on it, and a stroke that was deleted. Corners and edges are inside."""
    road = {"label": "road", "polygon": [[0, 2], [5, 2], [5, 3], [0, 3]]}
    objects = [
        {"label": "sky", "polygon": [[0, 0], [4, 0], [4, 1], [0, 1]]},
        road,
        {"label": "cargroup", "polygon": [[1, 2], [2, 2], [2, 3], [1, 3]]},
        {"label": "out of roi", "polygon": [[5, 3], [5, 3], [5, 3]]},
        {"label": "tunnel", "polygon": [[0, 0], [5, 0], [5, 3]], "deleted": 1},
    ]
    content = {"imgHeight": 4, "imgWidth": 6, "objects": objects}
    indices = [[32] * 5 + [VOID]] * 2 + [[0, 12, 12, 0, 0, 0], [0, 12, 12, 0, 0, VOID]]
    found: dict[str, dict[str, Rows]] = {"train": {}, "test": {}}
    for split, name, ending in (("train", "0/005506", "png"), ("train", "201/frame0029", "jpg"), ("val", "9/1", "png")):
        put_image(folder / f"leftImg8bit/{split}/{name}_leftImg8bit.{ending}", indices)
        path = folder / f"gtFine/{split}/{name}_gtFine_polygons.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        found["test" if split == "val" else "train"][name] = indices
    return found


def write_bdd100k(folder: Path) -> Masks:
    """Train ids; 255 is everything else."""
    found: dict[str, dict[str, Rows]] = {"train": {}, "test": {}}
    for split, name in (("train", "00a7ef03"), ("train", "00d79c0a"), ("val", "7d06fefd")):
        put_image(folder / f"images/10k/{split}/{name}.jpg", [[0, 18, 255]])
        put_values(folder / f"labels/sem_seg/masks/{split}/{name}.png", [[0, 18, 255]])
        found["test" if split == "val" else "train"][name] = [[0, 18, VOID]]
    return found


def write_vkitti2(folder: Path) -> Masks:
    """Colours of five scenes, of which Scene18 is for testing."""
    colours = [
        [(210, 0, 200), (90, 200, 255), (0, 199, 0), (90, 240, 0), (140, 140, 140)],
        [(100, 60, 100), (250, 100, 255), (255, 255, 0), (200, 200, 0), (255, 130, 0)],
        [(80, 80, 80), (160, 60, 60), (255, 127, 80), (0, 139, 139), (0, 0, 0)],
    ]
    indices = [[0, 1, 2, 2, 3], [4, 5, 6, 6, 7], [VOID, 8, 8, 8, VOID]]
    found: dict[str, dict[str, Rows]] = {"train": {}, "test": {}}
    for scene in ("01", "02", "06", "18", "20"):
        for weather in ("clone", "fog"):
            frames = f"Scene{scene}/{weather}/frames"
            put_image(folder / frames / "rgb/Camera_0/rgb_00000.jpg", colours)
            put_colours(folder / frames / "classSegmentation/Camera_0/classgt_00000.png", colours)
            found["test" if scene == "18" else "train"][f"Scene{scene}/{weather}/Camera_0/00000"] = indices
    return found


def write_camvid(folder: Path) -> Masks:
    """Colours; the lists are those of SegNet, with its paths, and name some of the images."""
    colours = [[(192, 0, 128), (0, 0, 0), (64, 128, 64)], [(64, 192, 0), (128, 64, 128), (128, 128, 128)]]
    indices = [[0, VOID, VOID], [22, 12, 17]]
    lists = {"train": ["0001TP_006690", "0006R0_f00930"], "val": ["0016E5_07959"], "test": ["Seq05VD_f00000"]}
    for split, names in lists.items():
        for name in names:
            put_image(folder / f"701_StillsRaw_full/{name}.png", colours)
            put_colours(folder / f"LabeledApproved_full/{name}_L.png", colours)
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in names]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return {"train": dict.fromkeys(lists["train"], indices), "test": dict.fromkeys(lists["val"], indices)}


def write_mapillary_vistas(folder: Path) -> Masks:
    """Palette masks, beside those of version 2.0, which has other classes."""
    found: dict[str, dict[str, Rows]] = {"train": {}, "test": {}}
    for split, name in (("training", "aAbB-1"), ("training", "cC_2"), ("validation", "dD3")):
        put_image(folder / split / "images" / f"{name}.jpg", [[0, 13, 65]])
        put_palette(folder / split / "v1.2/labels" / f"{name}.png", [[0, 13, 65]])
        put_palette(folder / split / "v2.0/labels" / f"{name}.png", [[0, 21, 123]])
        found["test" if split == "validation" else "train"][name] = [[0, 13, VOID]]
    return found


WRITERS: dict[str, Callable[[Path], Masks]] = {
    "bdd100k": write_bdd100k,
    "camvid": write_camvid,
    "cityscapes": write_cityscapes_19,
    "cityscapes33": write_cityscapes_33,
    "idd": write_idd,
    "kitti": write_kitti,
    "mapillary_vistas": write_mapillary_vistas,
    "vkitti2": write_vkitti2,
    **scene_spec_writers.WRITERS,
}
