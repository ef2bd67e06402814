"""Datasets in the layouts of others, spoilt, and what ``muster check`` says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.layout_writers import WRITTEN, describe, make_samples, save, write_raster
from tests.odd_inputs.bench import Bench
from tests.odd_inputs.case import Case

Commands = Callable[[Bench], Sequence[str]]
Spoil = Callable[[Path], object]

USABLE = ("The dataset can be used.", "contact_sheet.png")


def checking(layout: str, *spoils: Spoil, more: Sequence[str] = ()) -> Commands:
    """``muster check`` on a tiny copy of a layout to which something was done."""

    def make(bench: Bench) -> Sequence[str]:
        folder = bench.home / "theirs"
        folder.mkdir()
        WRITTEN[layout].write(folder, make_samples(3, 2))
        for spoil in spoils:
            spoil(folder)
        return ["check", "theirs", *more]

    return make


def remove(name: str) -> Spoil:
    """Take a file or a folder away."""
    return lambda folder: shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()


def text(name: str, content: str) -> Spoil:
    """Write a text in place of a file."""
    return lambda folder: (folder / name).write_text(content, "utf-8")


def described(**content: Any) -> Spoil:
    """Write a dataset.yaml."""
    return lambda folder: describe(folder, **content)


def named(classes: Sequence[str] = ("a", "b"), **content: Any) -> Spoil:
    """Write a dataset.yaml that says all that is needed."""
    return described(name="a", domain="b", classes=list(classes), **content)


def paint(name: str, colour: Any) -> Spoil:
    """Change the first pixel of an image."""

    def spoil(folder: Path) -> None:
        pixels = np.array(Image.open(folder / name))
        pixels[0, 1] = colour
        save(folder / name, pixels)

    return spoil


def as_rgb(name: str) -> Spoil:
    """Take the palette away: colours are all that is left."""
    return lambda folder: Image.open(folder / name).convert("RGB").save(folder / name)


def in_json(name: str, change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change what a JSON file holds."""

    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text("utf-8"))
        change(content)
        (folder / name).write_text(json.dumps(content), "utf-8")

    return spoil


INSTANCES = "annotations/instances_train2017.json"
PANOPTIC = "annotations/panoptic_train2017.json"
MASK = "SegmentationClass/train_000.png"

VOC = [
    Case("VOC as it is", checking("voc"), (*USABLE, "1 aeroplane", "pottedplant"), status=0),
    Case(
        "VOC without its list",
        checking("voc", remove("ImageSets/Segmentation/val.txt")),
        ("ImageSets/Segmentation/val.txt", "Lists there: train.txt", "splits: seeded"),
    ),
    Case(
        "VOC without lists, divided on request",
        checking("voc", remove("ImageSets"), described(splits="seeded")),
        USABLE,
        status=0,
        absent=("has no test split",),
    ),
    Case(
        "a VOC list of a missing image",
        checking("voc", text("ImageSets/Segmentation/val.txt", "test_100\nnowhere\n")),
        ("1 of 2 listed images are not in", "nowhere"),
    ),
    Case(
        "a VOC list with an image twice",
        checking("voc", text("ImageSets/Segmentation/val.txt", "test_100\ntest_100\n")),
        ("val.txt", "'test_100' is listed twice"),
    ),
    Case(
        "VOC lists that share an image",
        checking("voc", text("ImageSets/Segmentation/val.txt", "test_100\ntrain_001\n")),
        ("1 image(s) are in both splits", "train_001"),
    ),
    Case(
        "a VOC mask without its palette",
        checking("voc", as_rgb(MASK)),
        (MASK, "is in colours", "colour_map", "cannot be used"),
        status=1,
    ),
    Case(
        "a VOC mask of a class too many", checking("voc", paint(MASK, 21)), (MASK, "value(s) 21", "(0 to 20)"), status=1
    ),
    Case(
        "VOC with other classes than masks",
        checking("voc", described(classes=["a", "b"])),
        (MASK, "value(s) 2", "2 classes (0 to 1)"),
        status=1,
    ),
    Case(
        "a colour that CVAT's label map does not name",
        checking("voc, as CVAT exports it", paint(MASK, (1, 2, 3))),
        (MASK, "colour(s) '#010203' (1 pixels)"),
        status=1,
    ),
]

COLOURS = [
    Case(
        "a colour-coded mask of an unknown colour",
        checking("colour_coded", paint("train_labels/train_000_L.png", (9, 9, 9))),
        ("train_labels/train_000_L.png", "'#090909' (1 pixels)"),
        status=1,
    ),
    Case(
        "a colour map with a colour twice",
        checking("colour_coded", text("class_dict.csv", "name,r,g,b\na,0,0,0\nb,1,1,1\nc,0,0,0\n")),
        ("class_dict.csv, line 4", "#000000 is 'a' above already"),
    ),
    Case(
        "a colour map with a level of 256",
        checking("colour_coded", text("class_dict.csv", "a,0,0,256\n")),
        ("class_dict.csv, line 1", "from 0 to 255", "a,0,0,256"),
    ),
    Case(
        "an empty colour map",
        checking("colour_coded", text("class_dict.csv", "\n")),
        ("class_dict.csv holds no colour",),
    ),
    Case(
        "colour-coded masks without a test split",
        checking("colour_coded", remove("test_labels")),
        ("has no test split with labels", "1 of the 3 images", "splits.yaml", *USABLE),
        status=0,
    ),
    Case(
        "a colour map beside mask_values",
        checking("images_and_masks", named(["a"], colour_map="x", mask_values={0: "a"})),
        ("colour_map and mask_values say the same twice",),
    ),
]

OTHERS = [
    Case(
        "a Cityscapes id that is none",
        checking("cityscapes", paint("gtFine/train/aachen/aachen_train_000_gtFine_labelIds.png", 40)),
        ("aachen_train_000_gtFine_labelIds.png", "value(s) 40"),
        status=1,
    ),
    Case(
        "a Cityscapes image without a mask",
        checking("cityscapes", remove("gtFine/val/aachen/aachen_test_100_gtFine_labelIds.png")),
        ("1 image(s)", "without mask", "aachen_test_100_leftImg8bit.png"),
    ),
    Case(
        "ADE20K without the names of its classes",
        checking("ade20k", remove("objectInfo150.txt")),
        ("missing 'classes'",),
    ),
    Case(
        "an ADE20K mask of a class too many",
        checking("ade20k", paint("annotations/training/train_000.png", 4)),
        ("annotations/training/train_000.png", "value(s) 4", "3 classes (1 to 3) and 0 and 255 for void"),
        status=1,
    ),
    Case(
        "nnU-Net's layout of volumes",
        checking("nnunet", in_json("dataset.json", lambda content: content.update(file_ending=".nii.gz"))),
        ("dataset.json", "'.nii.gz'", "two dimensions"),
    ),
    Case(
        "nnU-Net's layout without test labels",
        checking("nnunet", remove("labelsTs")),
        ("has no test split with labels", "1 of the 3 images", *USABLE),
        status=0,
    ),
    Case(
        "labels of nnU-Net that are regions",
        checking("nnunet", in_json("dataset.json", lambda content: content["labels"].update(cell=[1, 2]))),
        ("dataset.json", "'labels'", "one number for each name"),
    ),
    Case(
        "a channel of nnU-Net that is missing",
        checking("nnunet, a file for each channel", remove("imagesTr/train_000_0002.png")),
        ("imagesTr/train_000_0002.png", "cannot be read: No such file"),
    ),
    Case(
        "channels of nnU-Net without names",
        checking(
            "nnunet, a file for each channel", in_json("dataset.json", lambda content: content.pop("channel_names"))
        ),
        ("dataset.json", "'channel_names'", "_0000, _0001, ..."),
    ),
    Case(
        "a description of nnU-Net that is no JSON",
        checking("nnunet", text("dataset.json", "{")),
        ("dataset.json", "cannot be read as JSON"),
    ),
    Case(
        "a saved set without its table",
        checking("huggingface", remove("train/data-00000-of-00001.arrow")),
        ("The set in", "train", "cannot be read"),
    ),
    Case(
        "a saved set with columns of other names",
        checking("huggingface", named("abc", columns={"image": "photo"})),
        ("no column 'photo' of images for image", "image, label"),
    ),
    Case(
        "a saved set of another name",
        checking("huggingface", named("abc", splits={"test": "tset"})),
        ("Unknown set 'tset'", "Known: train, validation"),
    ),
    Case(
        "a layout that is none",
        checking("voc", more=("--reader", "vco")),
        ("Unknown layout 'vco'", "Did you mean 'voc'"),
    ),
    Case(
        "a layout whose folders are not there",
        checking("voc", more=("--reader", "cityscapes")),
        ("empty split", "leftImg8bit/train"),
    ),
    Case(
        "a pattern without a star",
        checking("patterns", named(reader="patterns", splits={"train": {"images": "x.png", "masks": "y.png"}})),
        ("a * for each part of a name", "'x.png'"),
    ),
    Case(
        "patterns without masks",
        checking("patterns", named(reader="patterns", splits={"train": {"images": "x/*"}})),
        ("'splits.train'", "masks is missing"),
    ),
    Case(
        "patterns that are not there",
        checking("patterns", named(reader="patterns")),
        ("'splits'", "expected train and test"),
    ),
    Case(
        "a dataset one folder below",
        lambda bench: [*checking("voc")(bench)[:1], _inside(bench.home / "theirs")],
        ("is no dataset folder, but there is one in it", "VOC2012 (voc)"),
    ),
    Case(
        "a test image that is a training image",
        checking(
            "images_and_masks",
            lambda folder: [
                shutil.copy(folder / f"train/{part}/train_000.png", folder / f"test/{part}/copy.png")
                for part in ("images", "masks")
            ],
        ),
        ("1 test image(s) are also training images", "copy of the test split is train_000", *USABLE),
        status=0,
    ),
    Case(
        "a check below the dataset",
        checking("voc", more=("--output", "theirs/check")),
        ("--output", "theirs"),
    ),
]


def _inside(folder: Path) -> str:
    """Put a dataset into a folder in a folder."""
    shutil.move(folder, folder.with_name("moved"))
    folder.mkdir()
    shutil.move(folder.with_name("moved"), folder / "VOC2012")
    return folder.name


def _first_object(**content: Any) -> Spoil:
    """Change what is said of the first object of COCO's."""
    return in_json(INSTANCES, lambda whole: whole["annotations"][0].update(content))


COCO = [
    Case("COCO with gaps between ids, and crowds", checking("coco_instances"), ("2 tree", *USABLE), status=0),
    Case(
        "COCO with both kinds of annotations",
        checking(
            "coco_instances",
            remove("dataset.yaml"),
            lambda folder: WRITTEN["coco_panoptic"].write(folder, make_samples(3, 2)),
        ),
        ("looks like coco_instances and like coco_panoptic", "reader: coco_instances"),
    ),
    Case(
        "COCO with boxes alone",
        checking("coco_instances", _first_object(segmentation=[])),
        ("Annotation 0 of image 'train_000'", "has no outline", "Boxes alone"),
        status=1,
    ),
    Case(
        "COCO with a polygon of two points",
        checking("coco_instances", _first_object(segmentation=[[0, 0, 5, 5]])),
        ("Annotation 0", "fewer than three points"),
        status=1,
    ),
    Case(
        "COCO with a category that is not named",
        checking("coco_instances", _first_object(category_id=99)),
        ("Annotation 0", "category 99", "[3, 17]"),
        status=1,
    ),
    Case(
        "COCO with an annotation of no image",
        checking("coco_instances", _first_object(image_id=99)),
        (INSTANCES, "annotation 0 is of image 99"),
    ),
    Case(
        "COCO with a missing image",
        checking("coco_instances", remove("train2017/train_001.png")),
        ("images that are missing", "train2017/train_001.png"),
    ),
    Case(
        "COCO with sizes that are not those of the images",
        checking("coco_instances", in_json(INSTANCES, lambda content: content["images"][0].update(height=17))),
        ("image 'train_000'", "no outline of 20 x 17"),
        status=1,
    ),
    Case(
        "COCO with a way to overlap that is none",
        checking("coco_instances", described(overlap="larger")),
        ("'overlap'", "smaller or void", "'larger'"),
    ),
    Case(
        "a single file of COCO's annotations",
        checking("coco_instances", remove("annotations/instances_val2017.json")),
        ("has no test split with labels", *USABLE),
        status=0,
    ),
    Case(
        "panoptic segments that are not named",
        checking("coco_panoptic", in_json(PANOPTIC, lambda content: content["annotations"][0]["segments_info"].pop())),
        ("annotations/panoptic_train2017/train_000.png", "segment(s) 196610", "does not name them"),
        status=1,
    ),
    Case(
        "panoptic annotations without their PNG files",
        checking("coco_panoptic", remove("annotations/panoptic_val2017")),
        ("expected the PNG files of panoptic_val2017.json",),
    ),
]


def _fields(bench: Bench) -> Path:
    folder = bench.home / "tiny"
    WRITTEN["geotiff"].write(folder, make_samples(4, 2))
    return folder


def _few_bands(bench: Bench) -> Sequence[str]:
    """One image has three bands."""
    write_raster(_fields(bench) / "train/images/train_001.tif", np.ones((16, 24, 3), np.uint16))
    return ["check", "tiny"]


def _on_fields(words: Callable[[Bench], Sequence[str]]) -> Commands:
    return lambda bench: (_fields(bench), words(bench))[1]


def _chosen_first(bench: Bench) -> Sequence[str]:
    chosen = ["--pool", str(bench.stock / "pool"), "--target", "tiny", "--size", "2"]
    return bench.finetuning(*chosen, selection="")


BANDS = [
    Case("four bands of 16 bits, for muster check", _on_fields(lambda _: ["check", "tiny"]), USABLE, status=0),
    Case("four bands of 16 bits, for train.py", _on_fields(lambda bench: bench.training()), ("small_fpn",), status=0),
    Case(
        "four bands of 16 bits, and members of three, for finetune.py", _on_fields(_chosen_first), ("mIoU",), status=0
    ),
    Case("an image with a band too few", _few_bands, ("train_001.tif", "has 3 band(s), but 4"), status=1),
]

CASES = [*VOC, *COLOURS, *OTHERS, *COCO, *BANDS]
