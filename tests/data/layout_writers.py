"""Tiny copies of datasets in the true form of every layout on disk, written from the same images and masks.

Each writer is told what to write and returns which classes must come back; masks hold 0, 1, 2 and 255 for void.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from tests.data.conftest import make_sample

Array = np.ndarray[Any, np.dtype[Any]]
Samples = Mapping[str, Mapping[str, tuple[Array, Array]]]
"""By ``train`` and ``test``, and by name: an image ``[h, w, 3]`` and its mask ``[h, w]``."""

CLASSES = ("sky", "road", "tree")
OF_WHOLE_IMAGES = {
    "bdd_boxes", "caltech101", "cifar10", "class_subset", "coco_boxes", "coco_keypoints", "cub200", "flowers102",
    "image_folders", "image_list", "images_and_depths", "imagenet", "mpii", "numbered_csv", "nyu_depth", "oxford_pets",
    "regions", "semicolon_lists", "stanford_dogs", "sun_rgbd", "text_folders", "text_list", "tweet_eval", "voc_boxes",
    "voc_classification", "xml_boxes",
}  # fmt: skip
"""Layouts without masks of classes, or of one published dataset; they have tests of their own."""

COLOURS = {0: (70, 130, 180), 1: (128, 64, 128), 2: (107, 142, 35), 255: (0, 0, 0)}


def make_samples(train: int = 4, test: int = 2) -> Samples:
    """Noise whose brightness tells the class, in images of two sizes."""
    numbers = {"train": range(train), "test": range(100, 100 + test)}
    return {
        split: {f"{split}_{number:03}": make_sample(number, 16, 24 if number % 2 else 20) for number in each}
        for split, each in numbers.items()
    }


def save(path: Path, pixels: Array) -> None:
    """Write an image, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def describe(folder: Path, **content: object) -> None:
    """Write a dataset.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")


def coloured(mask: Array) -> Array:
    """A mask in :data:`COLOURS`."""
    table = np.zeros((256, 3), np.uint8)
    for value, colour in COLOURS.items():
        table[value] = colour
    return table[mask]


def write_images_and_masks(folder: Path, samples: Samples) -> tuple[str, ...]:
    """The project's own."""
    describe(folder, name="tiny", domain="made up", classes=list(CLASSES))
    for split, each in samples.items():
        for name, (image, mask) in each.items():
            save(folder / split / "images" / f"{name}.png", image)
            save(folder / split / "masks" / f"{name}.png", mask)
    return CLASSES


def write_patterns(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Anything, in words."""
    splits = {
        split: {"images": f"img/{split}/*/*.png", "masks": f"ann/{split}/*/*_label.tif"} for split in ("train", "test")
    }
    describe(folder, name="tiny", domain="made up", classes=list(CLASSES), reader="patterns", splits=splits)
    for split, each in samples.items():
        for name, (image, mask) in each.items():
            save(folder / "img" / split / "town" / f"{name}.png", image)
            save(folder / "ann" / split / "town" / f"{name}_label.tif", mask)
    return CLASSES


def write_polygons(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Each pixel is an object; of void there is none."""
    splits = {split: {"images": f"{split}/*.png", "masks": f"{split}/*.json"} for split in ("train", "test")}
    describe(folder, name="tiny", domain="made up", classes=list(CLASSES), reader="polygons", splits=splits)
    for split, each in samples.items():
        for name, (image, mask) in each.items():
            save(folder / split / f"{name}.png", image)
            objects = [
                {"label": CLASSES[value], "polygon": [[column, row]] * 3}
                for (row, column), value in np.ndenumerate(mask)
                if value != 255
            ]
            content = {"imgHeight": mask.shape[0], "imgWidth": mask.shape[1], "objects": objects}
            write_json(folder / split / f"{name}.json", content)
    return CLASSES


def write_voc(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Palette masks and lists; one image belongs to no list, as those of other tasks in the true dataset."""
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    for split, each in samples.items():
        (folder / f"ImageSets/Segmentation/{'val' if split == 'test' else split}.txt").write_text(
            "\n".join(each) + "\n"
        )
        for name, (image, mask) in each.items():
            save(folder / "JPEGImages" / f"{name}.png", image)
            palette = Image.fromarray(mask)
            palette.putpalette([level for value in range(256) for level in COLOURS.get(value, (value, 0, 0))])
            (folder / "SegmentationClass").mkdir(exist_ok=True)
            palette.save(folder / "SegmentationClass" / f"{name}.png")
    save(folder / "JPEGImages/of_another_task.png", next(iter(samples["train"].values()))[0])
    return (
        *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    )


def write_voc_of_cvat(folder: Path, samples: Samples) -> tuple[str, ...]:
    """As the labelling tool exports it: masks in RGB, and a label map."""
    write_voc(folder, samples)
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{','.join(map(str, COLOURS[index]))}::" for index, name in enumerate(CLASSES)]
    (folder / "labelmap.txt").write_text("\n".join([*lines, "void:0,0,0::"]) + "\n")
    for each in samples.values():
        for name, (_, mask) in each.items():
            save(folder / "SegmentationClass" / f"{name}.png", coloured(mask))
    return CLASSES


def write_colour_coded(folder: Path, samples: Samples) -> tuple[str, ...]:
    """As CamVid is passed on."""
    for split, each in samples.items():
        for name, (image, mask) in each.items():
            save(folder / split / f"{name}.png", image)
            save(folder / f"{split}_labels" / f"{name}_L.png", coloured(mask))
    named = [*((COLOURS[index], name) for index, name in enumerate(CLASSES)), (COLOURS[255], "Void")]
    lines = ["name,r,g,b", *(f"{name},{red},{green},{blue}" for (red, green, blue), name in named)]
    (folder / "class_dict.csv").write_text("\n".join(lines) + "\n")
    return CLASSES


def write_cityscapes(folder: Path, samples: Samples) -> tuple[str, ...]:
    """By city; void as the ids 0 to 6 of the true dataset are."""
    ids = np.full(256, 3, np.uint8)
    ids[:3] = 7, 8, 11
    for split, each in samples.items():
        for name, (image, mask) in each.items():
            place = f"{'val' if split == 'test' else split}/aachen/aachen_{name}"
            save(folder / "leftImg8bit" / f"{place}_leftImg8bit.png", image)
            save(folder / "gtFine" / f"{place}_gtFine_labelIds.png", ids[mask])
            save(folder / "gtFine" / f"{place}_gtFine_instanceIds.png", ids[mask].astype(np.uint16) * 1000)
            save(folder / "gtFine" / f"{place}_gtFine_color.png", coloured(mask))
    return (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    )


def write_ade20k(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Classes from 1 on; 0 is void. Two of the true classes share their first name."""
    for split, each in samples.items():
        place = "training" if split == "train" else "validation"
        for name, (image, mask) in each.items():
            save(folder / "images" / place / f"{name}.png", image)
            save(folder / "annotations" / place / f"{name}.png", np.where(mask == 255, 0, mask + 1).astype(np.uint8))
    table = ["Idx\tRatio\tTrain\tVal\tName", "1\t0.2\t3\t1\tscreen", "2\t0.1\t3\t1\tscreen, projection screen"]
    (folder / "objectInfo150.txt").write_text("\n".join([*table, "3\t0.1\t3\t1\tsky, blue sky"]) + "\n")
    return ("screen", "projection screen", "sky")


def write_nnunet(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Raw data of version 2 with a label that is not learned."""
    for split, each in samples.items():
        part = "Tr" if split == "train" else "Ts"
        for name, (image, mask) in each.items():
            save(folder / f"images{part}" / f"{name}_0000.png", image)
            save(folder / f"labels{part}" / f"{name}.png", np.where(mask == 255, 3, mask).astype(np.uint8))
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "cell": 1, "nucleus": 2, "ignore": 3},
        "numTraining": len(samples["train"]),
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return ("background", "cell", "nucleus")


def write_nnunet_of_channels(folder: Path, samples: Samples) -> tuple[str, ...]:
    """The same with a file for each channel."""
    classes = write_nnunet(folder, samples)
    for first in sorted(folder.glob("images*/*_0000.png")):
        image = np.array(Image.open(first))
        for channel in range(3):
            save(first.with_name(first.name.replace("_0000", f"_{channel:04d}")), image[..., channel])
    return classes


def write_coco_instances(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Objects as run-length codes, of categories whose ids have gaps; void is a crowd."""
    describe(folder, name="tiny", domain="made up", crowd="void", reader="coco_instances")
    categories = [{"id": 17, "name": "tree"}, {"id": 3, "name": "road"}]
    for split, each in samples.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        place = "val2017" if split == "test" else "train2017"
        for number, (name, (image, mask)) in enumerate(each.items(), start=5):
            save(folder / place / f"{name}.png", image)
            size = dict(zip(("height", "width"), mask.shape, strict=True))
            images.append({"id": number, "file_name": f"{name}.png", **size})
            for value, category, crowd in ((1, 3, 0), (2, 17, 0), (255, 3, 1)):
                code = coco_mask.encode(np.asfortranarray(mask == value))
                segmentation = {"size": code["size"], "counts": code["counts"].decode()}
                entry = {"id": len(annotations), "image_id": number, "category_id": category, "iscrowd": crowd}
                annotations.append(entry | {"segmentation": segmentation, "area": int((mask == value).sum())})
        write_json(
            folder / f"annotations/instances_{place}.json",
            {"images": images, "annotations": annotations, "categories": categories},
        )
    return ("background", "road", "tree")


def write_coco_panoptic(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Segments with numbers of three bytes; void has no segment."""
    numbers = {0: 7, 1: 256 * 9 + 1, 2: 65536 * 3 + 2}
    categories = [{"id": 1, "name": "sky"}, {"id": 3, "name": "road"}, {"id": 200, "name": "tree"}]
    for split, each in samples.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        place = "val2017" if split == "test" else "train2017"
        for number, (name, (image, mask)) in enumerate(each.items()):
            save(folder / "images" / place / f"{name}.png", image)
            images.append({"id": number, "file_name": f"{name}.png"})
            codes = np.vectorize(lambda value: numbers.get(value, 0))(mask)
            colours = np.stack([codes % 256, codes // 256 % 256, codes // 65536], axis=-1).astype(np.uint8)
            save(folder / f"annotations/panoptic_{place}" / f"{name}.png", colours)
            segments = [
                {"id": numbers[index], "category_id": category["id"], "iscrowd": 0}
                for index, category in enumerate(categories)
            ]
            annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
        write_json(
            folder / f"annotations/panoptic_{place}.json",
            {"images": images, "annotations": annotations, "categories": categories},
        )
    return CLASSES


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def write_huggingface(folder: Path, samples: Samples) -> tuple[str, ...]:
    """By the library itself."""
    import datasets

    features = datasets.Features({"id": datasets.Value("string"), "image": datasets.Image(), "label": datasets.Image()})
    sets = {
        "validation" if split == "test" else split: datasets.Dataset.from_dict(
            {
                "id": list(each),
                "image": [Image.fromarray(image) for image, _ in each.values()],
                "label": [Image.fromarray(mask) for _, mask in each.values()],
            },
            features=features,
        )
        for split, each in samples.items()
    }
    datasets.DatasetDict(sets).save_to_disk(folder)
    describe(folder, name="tiny", domain="made up", classes=list(CLASSES))
    return CLASSES


def write_geotiff(folder: Path, samples: Samples) -> tuple[str, ...]:
    """Rasters with a place on earth: four bands of 16 bits, and void as "nodata"."""
    describe(folder, name="tiny", domain="made up", classes=list(CLASSES), reader="geotiff", value_range=[0, 10000])
    for split, each in samples.items():
        for name, (image, mask) in each.items():
            bands = np.concatenate([image, image[..., :1] // 2], axis=-1).astype(np.uint16) * 39
            write_raster(folder / split / "images" / f"{name}.tif", bands)
            write_raster(folder / split / "masks" / f"{name}.tif", np.where(mask == 255, 9, mask)[..., None], nodata=9)
    return CLASSES


def write_raster(path: Path, pixels: Array, nodata: float | None = None) -> None:
    """Write a GeoTIFF of ``[h, w, bands]``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns, count = pixels.shape
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(4e5, 5.4e6, 10, 10)}
    profile = {"driver": "GTiff", "height": rows, "width": columns, "count": count, "dtype": pixels.dtype, **place}
    with rasterio.open(path, "w", **profile, nodata=nodata) as file:
        file.write(pixels.transpose(2, 0, 1))


Writer = Callable[[Path, Samples], Iterable[str]]


@dataclass(frozen=True)
class Written:
    """A way to write a layout.

    Attributes:
        reader: The layout that must recognise it.
        write: Writes it, and returns the classes that must come back.
        same_pixels: Whether images come back as they were written, pixel by pixel.
    """

    reader: str
    write: Writer
    same_pixels: bool = True


WRITTEN: dict[str, Written] = {
    "images_and_masks": Written("images_and_masks", write_images_and_masks),
    "patterns": Written("patterns", write_patterns),
    "polygons": Written("polygons", write_polygons),
    "voc": Written("voc", write_voc),
    "voc, as CVAT exports it": Written("voc", write_voc_of_cvat),
    "colour_coded": Written("colour_coded", write_colour_coded),
    "cityscapes": Written("cityscapes", write_cityscapes),
    "ade20k": Written("ade20k", write_ade20k),
    "nnunet": Written("nnunet", write_nnunet),
    "nnunet, a file for each channel": Written("nnunet", write_nnunet_of_channels),
    "coco_instances": Written("coco_instances", write_coco_instances),
    "coco_panoptic": Written("coco_panoptic", write_coco_panoptic),
    "geotiff": Written("geotiff", write_geotiff, same_pixels=False),
    "huggingface": Written("huggingface", write_huggingface),
}
