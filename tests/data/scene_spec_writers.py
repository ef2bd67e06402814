"""The writers of :mod:`tests.data.spec_writers` for datasets that are not of streets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

Rows = list[list[Any]]
Expected = dict[str, dict[str, Rows]]

SIZE = (2, 3)


def save(path: Path, pixels: Any) -> None:
    """Write an image or a mask, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    """Write an image of noise."""
    save(path, np.random.default_rng([*map(ord, str(path))]).integers(0, 255, (*size, 3)))


def colours(rows: Rows) -> np.ndarray[Any, Any]:
    """Colours as they are written, ``#rrggbb``."""
    return np.array([[[int(cell[at : at + 2], 16) for at in (1, 3, 5)] for cell in row] for row in rows], np.uint8)


def write_text(path: Path, *lines: str) -> None:
    """Write a list, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_pascal_context(root: Path) -> Expected:
    """VOC2010 with a MATLAB file of 459 labels for each image; one image belongs to another task."""
    for folder in ("trainval", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for name, labels in {
        "2008_000008": [[2, 458, 1], [0, 415, 459]],
        "2008_000002": [[440, 440, 3], [9, 258, 459]],
    }.items():
        picture(root / f"JPEGImages/{name}.jpg")
        savemat(root / f"trainval/{name}.mat", {"LabelMap": np.array(labels, np.uint16)})
    picture(root / "JPEGImages/2007_000001.jpg")
    write_text(root / "ImageSets/Main/train.txt", "2008_000008")
    write_text(root / "ImageSets/Main/val.txt", "2008_000002")
    return {
        "train": {"2008_000008": [[1, 59, 0], [0, 51, 0]]},
        "test": {"2008_000002": [[56, 56, 0], [2, 34, 0]]},
    }


def write_voc(root: Path, masks: str = "SegmentationClass") -> Expected:
    """Palette masks and lists, as the challenge has them."""
    expected = {"2011_000003": [[0, 1, 20], [255, 15, 0]], "2007_000033": [[2, 2, 255], [0, 0, 19]]}
    palette = [level for value in range(256) for level in (value, 255 - value, value // 2)]
    for name, values in expected.items():
        picture(root / f"JPEGImages/{name}.jpg")
        for folder in {masks, "SegmentationClass"}:
            mask = Image.fromarray(np.array(values, np.uint8))
            mask.putpalette(palette)
            (root / folder).mkdir(exist_ok=True)
            mask.save(root / folder / f"{name}.png")
    lists = root / "ImageSets/Segmentation"
    write_text(lists / "train.txt", "2011_000003")
    write_text(lists / "val.txt", "2007_000033")
    return {"train": {"2011_000003": expected["2011_000003"]}, "test": {"2007_000033": expected["2007_000033"]}}


def write_voc_aug(root: Path) -> Expected:
    """The same with the masks of SBD: plain grey values, and one image more."""
    found = write_voc(root)
    picture(root / "JPEGImages/2008_000015.jpg")
    for name, values in {**found["train"], "2008_000015": [[5, 0, 0], [0, 5, 5]]}.items():
        save(root / f"SegmentationClassAug/{name}.png", values)
        found["train"][name] = values
    write_text(root / "ImageSets/Segmentation/trainaug.txt", "2008_000015", "2011_000003")
    return found


def write_ade20k(root: Path) -> Expected:
    """0 is not labelled; the file of names is not needed."""
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        picture(root / f"images/{split}/{name}.jpg")
        save(root / f"annotations/{split}/{name}.png", [[0, 1, 150], [20, 150, 2]])
    values = [[255, 0, 149], [19, 149, 1]]
    return {"train": {"ADE_train_00000001": values}, "test": {"ADE_val_00000001": values}}


COCO_CATEGORIES = {1: "person", 90: "toothbrush", 92: "banner", 200: "rug-merged"}
COCO_SEGMENTS = {7: 1, 256 * 3 + 1: 92, 65536 * 2 + 9: 200}


def write_coco_panoptic(root: Path) -> Expected:
    """Numbers of segments as colours, of one byte, two and three; 0 is not labelled."""
    for split, name, numbers in (
        ("train2017", "000000000009", [[7, 769, 131081], [0, 7, 131081]]),
        ("val2017", "000000000139", [[0, 0, 769], [769, 7, 7]]),
    ):
        picture(root / split / f"{name}.jpg")
        values = np.array(numbers)
        save(
            root / f"annotations/panoptic_{split}/{name}.png",
            np.stack([values >> shift & 255 for shift in (0, 8, 16)], -1),
        )
        content = {
            "images": [{"id": int(name), "file_name": f"{name}.jpg"}],
            "annotations": [
                {
                    "image_id": int(name),
                    "file_name": f"{name}.png",
                    "segments_info": [{"id": key, "category_id": value} for key, value in COCO_SEGMENTS.items()],
                }
            ],
            "categories": [{"id": key, "name": value} for key, value in COCO_CATEGORIES.items()],
        }
        (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(content))
    return {
        "train": {"000000000009": [[0, 80, 132], [255, 0, 132]]},
        "test": {"000000000139": [[255, 255, 80], [80, 0, 0]]},
    }


def decode_coco_slowly(root: Path, split: str, name: str, classes: tuple[str, ...]) -> Rows:
    """Pixel by pixel, with nothing of the reader's."""
    content = json.loads((root / f"annotations/panoptic_{split}.json").read_text())
    image = Image.open(root / f"annotations/panoptic_{split}/{name}.png").convert("RGB")
    (annotation,) = [each for each in content["annotations"] if each["file_name"] == f"{name}.png"]
    rows = []
    for row in range(image.height):
        cells = []
        for column in range(image.width):
            red, green, blue = image.getpixel((column, row))  # type: ignore[misc]
            found = 255
            for segment in annotation["segments_info"]:
                if segment["id"] == red + 256 * green + 256 * 256 * blue:
                    (category,) = [each for each in content["categories"] if each["id"] == segment["category_id"]]
                    found = classes.index(category["name"])
            cells.append(found)
        rows.append(cells)
    return rows


def write_isprs(root: Path) -> Expected:
    """Two cities in folders named as their archives; one colour that belongs to no class."""
    rows = [["#ff0000", "#ffffff", "#0000ff"], ["#00ffff", "#00fc00", "#ffff00"]]
    potsdam, vaihingen = "top_potsdam_2_10", "top_mosaic_09cm_area1"
    place = root / "ISPRS_semantic_labeling_Vaihingen"
    picture(root / f"2_Ortho_RGB/{potsdam}_RGB.tif")
    save(root / f"5_Labels_all/{potsdam}_label.tif", colours(rows))
    picture(place / f"top/{vaihingen}.tif")
    save(root / f"{place.name}_ground_truth_COMPLETE/{vaihingen}.tif", colours(rows[::-1]))
    values = [[0, 1, 2], [3, 255, 5]]
    return {"train": {f"{potsdam}/r0_c0": values}, "test": {f"{vaihingen}/r0_c0": values[::-1]}}


def write_isaid(root: Path) -> Expected:
    """Images, masks and numbers of objects in one folder; the first image is larger than a tile."""
    rows = [["#000000", "#00003f", "#003fff"], ["#0000ff", "#007fff", "#00649b"]]
    large = np.zeros((801, 3, 3), np.uint8)
    large[:2], large[-1] = colours(rows), colours(rows)[0]
    for split, name, mask in (("train", "P0002", large), ("val", "P0003", colours(rows))):
        picture(root / f"{split}/images/{name}.png", mask.shape[:2])
        save(root / f"{split}/images/{name}_instance_color_RGB.png", mask)
        save(root / f"{split}/images/{name}_instance_id_RGB.png", mask)
    values = [[0, 1, 6], [11, 14, 15]]
    empty = [[0, 0, 0]]
    return {
        "train": {"P0002/r0_c0": values + 798 * empty, "P0002/r1_c0": values[1:] + 798 * empty + values[:1]},
        "test": {"P0003/r0_c0": values},
    }


def write_sun_rgbd(root: Path) -> Expected:
    """Numbers of six digits in the names of images, and of eight in those of masks."""
    for split in ("train", "test"):
        picture(root / f"image/{split}/img-000001.jpg")
        save(root / f"label37/{split}/00000001.png", [[0, 1, 37], [24, 2, 0]])
    values = [[255, 0, 36], [23, 1, 255]]
    return {"train": {"000001": values}, "test": {"000001": values}}


def write_sun_rgbd_toolbox(root: Path) -> Expected:
    """Both archives: MATLAB stores columns before rows, and its paths begin with folders of the publishers' machine."""
    scenes = {"kv1/NYUdata/NYU0001": [[0, 1, 37], [24, 2, 0]], "kv2/kinect2data/000002_a": [[5, 5, 0], [0, 37, 1]]}
    toolbox, far = root / "SUNRGBDtoolbox", "/n/fs/sun3d/data/SUNRGBD"
    for folder in ("Metadata", "traintestSUNRGBD"):
        (toolbox / folder).mkdir(parents=True)
    with h5py.File(toolbox / "Metadata/SUNRGBD2Dseg.mat", "w") as file:
        group = file.create_group("SUNRGBD2Dseg")
        references = group.create_dataset("seglabel", (len(scenes), 1), h5py.ref_dtype)
        for number, rows in enumerate(scenes.values()):
            file[f"#refs#/{number}"] = np.array(rows, np.uint8).T
            references[number, 0] = file[f"#refs#/{number}"].ref
    for scene in scenes:
        picture(root / f"SUNRGBD/{scene}/image/first.jpg")
    listed = np.array(
        [(f"{far}/{scene}/image/first.jpg", "first.jpg") for scene in scenes], [("rgbpath", "O"), ("rgbname", "O")]
    )
    savemat(toolbox / "Metadata/SUNRGBDMeta.mat", {"SUNRGBDMeta": listed})
    test, train = (np.array([f"{far}/{scene}"], object) for scene in scenes)
    savemat(toolbox / "traintestSUNRGBD/allsplit.mat", {"alltrain": train, "alltest": test})
    return {
        "train": {"kv2/kinect2data/000002_a": [[4, 4, 255], [255, 36, 0]]},
        "test": {"kv1/NYUdata/NYU0001": [[255, 0, 36], [23, 1, 255]]},
    }


def write_scannet(root: Path) -> Expected:
    """Folders of scenes, of which lists say which are for training; one scene is in neither list."""
    for scene in ("scene0191_00", "scene0191_01", "scene0002_00", "scene0568_00", "scene0707_00"):
        for frame in ("000000", "000100"):
            picture(root / scene / f"color/{frame}.jpg")
            save(root / scene / f"label/{frame}.png", [[0, 1, 40], [36, 39, 0]])
    write_text(root / "scannetv2_train.txt", "scene0191_00", "scene0191_01", "scene0002_00")
    write_text(root / "scannetv2_val.txt", "scene0568_00")
    values = [[255, 1, 40], [36, 39, 255]]
    scenes = ("scene0191_00", "scene0191_01", "scene0002_00")
    frames = [f"{scene}/{frame}" for scene in scenes for frame in ("000000", "000100")]
    return {
        "train": dict.fromkeys(frames, values),
        "test": dict.fromkeys(("scene0568_00/000000", "scene0568_00/000100"), values),
    }


def write_scannet_20(root: Path) -> Expected:
    """The same files: 36 is the bathtub and 39 other furniture, 40 is none of the benchmark's."""
    values = [[255, 0, 255], [18, 19, 255]]
    return {split: dict.fromkeys(names, values) for split, names in write_scannet(root).items()}


def write_suim(root: Path) -> Expected:
    """BMP masks; one has a row more than its image, and one a border in mixed colours."""
    rows = [["#000000", "#0000ff", "#00ff00"], ["#00ffff", "#ff00ff", "#ffffff"]]
    picture(root / "train_val/images/d_r_5_.jpg")
    save(root / "train_val/masks/d_r_5_.bmp", colours([*rows, rows[0]]))
    picture(root / "TEST/images/d_r_1_.jpg")
    save(root / "TEST/masks/d_r_1_.bmp", colours([["#ff0000", "#fe0101", "#ffff00"], rows[0]]))
    (root / "TEST/masks/RO").mkdir()
    return {
        "train": {"d_r_5_": [[0, 1, 2], [3, 5, 7]]},
        "test": {"d_r_1_": [[4, 255, 6], [0, 1, 2]]},
    }


def write_vgallery(root: Path) -> Expected:
    """Six cameras in training, one in testing; people only there."""
    walls = [["#ff7f50", "#fff8dc", "#00ffff"], ["#bdb76b", "#000000", "#800000"]]
    people = [["#e6e6fa", "#e9967a", "#505050"], ["#00ff00", "#00ff00", "#ff7f50"]]
    for loop, number, rows in (
        ("training/gallery_light1_loop1", "camera_5/{}_00220", walls),
        ("testing/gallery_light1_occlusion2", "camera_0/{}_00001", people),
    ):
        picture(root / loop / "frames/rgb" / f"{number.format('rgb')}.jpg")
        save(root / loop / "frames/classsegmentation" / f"{number.format('classgt')}.png", colours(rows))
    return {
        "train": {"gallery_light1_loop1/camera_5/00220": [[0, 1, 2], [3, 255, 7]]},
        "test": {"gallery_light1_occlusion2/camera_0/00001": [[4, 5, 6], [255, 255, 0]]},
    }


WRITERS: dict[str, Callable[[Path], Expected]] = {
    "pascal_context": write_pascal_context,
    "pascal_voc": write_voc_aug,
    "pascal_voc_1464": write_voc,
    "ade20k": write_ade20k,
    "coco_panoptic": write_coco_panoptic,
    "isprs": write_isprs,
    "isaid": write_isaid,
    "sun_rgbd": write_sun_rgbd,
    "sun_rgbd_toolbox": write_sun_rgbd_toolbox,
    "scannet": write_scannet,
    "scannet20": write_scannet_20,
    "suim": write_suim,
    "vgallery": write_vgallery,
}
