"""Boxes as they were published, in their true layouts, and those of the built-in worlds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CocoDetection, VOCDetection

from muster.commands.main import start
from muster.data import Dataset, open_dataset
from muster.data.boxes import CROWD, PASSED_OVER, of_known_objects
from muster.data.worlds.objects import OBJECT_WORLDS
from muster.data.worlds.render import read_world_image
from muster.errors import DatasetError

PARTIAL = "ignore:.*is not the whole of"

Boxes = list[tuple[float, float, float, float, str, bool]]

IMAGES: dict[str, dict[str, Boxes]] = {
    "train": {
        "000005": [(1.5, 2.0, 11.5, 12.0, "cat", False), (4.0, 3.0, 20.0, 15.0, "dog", True)],
        "000007": [(0.0, 0.0, 24.0, 16.0, "dog", False)],
    },
    "test": {"000009": []},
}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3)).astype(np.uint8)).save(path)


def write_coco(root: Path, points: tuple[str, ...] = ()) -> None:
    categories: list[dict[str, Any]] = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
    for split, images in (("train2017", IMAGES["train"]), ("val2017", IMAGES["test"])):
        entries, annotations = [], []
        for name, boxes in images.items():
            picture(root / split / f"{name}.jpg")
            entries.append({"id": int(name), "file_name": f"{name}.jpg", "height": 16, "width": 24})
            for left, top, right, bottom, label, crowd in boxes:
                annotations.append({
                    "id": len(annotations) + 1, "image_id": int(name), "category_id": 17 if label == "cat" else 18,
                    "bbox": [left, top, right - left, bottom - top], "area": 1.0, "iscrowd": int(crowd),
                    "segmentation": [],
                })  # fmt: skip
        content = {"images": entries, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def write_voc(root: Path) -> None:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, images in (("trainval", IMAGES["train"]), ("test", IMAGES["test"])):
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in images))
        for name, boxes in images.items():
            picture(root / f"JPEGImages/{name}.jpg")
            objects = "".join(
                f"<object><name>{label}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{int(left) + 1}</xmin>"
                f"<ymin>{int(top) + 1}</ymin><xmax>{int(right)}</xmax><ymax>{int(bottom)}</ymax></bndbox></object>"
                for left, top, right, bottom, label, hard in boxes
            )
            size = "<size><width>24</width><height>16</height><depth>3</depth></size>"
            (root / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def write_bdd(root: Path) -> None:
    (root / "labels/det_20").mkdir(parents=True)
    for split, images in (("train", IMAGES["train"]), ("val", IMAGES["test"])):
        entries: list[dict[str, Any]] = []
        for name, boxes in images.items():
            picture(root / f"images/100k/{split}/{name}.jpg")
            labels = [
                {
                    "category": {"cat": "car", "dog": "rider"}[label],
                    "attributes": {"crowd": crowd},
                    "box2d": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
                }
                for *box, label, crowd in boxes
            ]
            other = {"category": "trailer", "box2d": {"x1": 0, "y1": 0, "x2": 5, "y2": 5}}
            entries.append({"name": f"{name}.jpg", "labels": [*labels, other] if boxes else None})
        (root / f"labels/det_20/det_{split}.json").write_text(json.dumps(entries))


def write_trash(root: Path) -> None:
    """XML beside the images, and the same boxes in another form; a name with a slip, and one that is no class."""
    for split, images in (("train", IMAGES["train"]), ("test", IMAGES["test"]), ("val", {})):
        (root / "dataset" / split).mkdir(parents=True)
        for name, boxes in images.items():
            picture(root / f"dataset/{split}/{name}.jpg")
            (root / f"dataset/{split}/{name}.txt").write_text("0 0.5 0.5 0.1 0.1")
            words = {"cat": "rov", "dog": "platstic"}
            objects = "".join(
                f"<object><name>{name}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{int(left) + 1}</xmin>"
                f"<ymin>{int(top) + 1}</ymin><xmax>{int(right)}</xmax><ymax>{int(bottom)}</ymax></bndbox></object>"
                for left, top, right, bottom, name, hard in (
                    *[(*box[:4], words[box[4]], box[5]) for box in boxes],
                    (0, 0, 3, 3, "cloth", False),
                )
            )
            size = "<size><width>24</width><height>16</height><depth>3</depth></size>"
            (root / f"dataset/{split}/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


WRITERS = {
    "coco_detection": write_coco,
    "voc2007_detection": write_voc,
    "bdd100k_detection": write_bdd,
    "underwater_trash": write_trash,
}


def written(dataset: Dataset) -> dict[str, dict[str, Boxes]]:
    """What a dataset says, as it was written."""
    names = {"car": "cat", "rider": "dog", "rov": "cat", "plastic": "dog"}
    found: dict[str, dict[str, Boxes]] = {}
    for split in (dataset.train, dataset.test):
        for sample in split:
            assert sample.mask[0, :5].tolist() == [0, 0, 24, 16, -1]
            classes = [split.spec.classes[int(row[4])] for row in sample.mask[1:]]
            found.setdefault(split.name, {})[sample.identifier] = [
                (*row[:4], names.get(label, label), row[5] > 0)
                for row, label in zip(sample.mask[1:].tolist(), classes, strict=True)
            ]
    return found


@pytest.mark.filterwarnings(PARTIAL)
@pytest.mark.parametrize("key", WRITERS)
def test_a_copy_has_the_boxes_that_were_written(key: str, tmp_path: Path) -> None:
    WRITERS[key](tmp_path)
    dataset = open_dataset(str(tmp_path) if key in {"bdd100k_detection", "underwater_trash"} else f"{tmp_path}:{key}")
    assert dataset.spec.task == "detection"
    expected, of_xml = IMAGES, {"voc2007_detection", "underwater_trash"}
    if key in of_xml:  # whole pixels
        whole = [(float(int(x1)), y1, float(int(x2)), y2, *rest) for x1, y1, x2, y2, *rest in IMAGES["train"]["000005"]]
        expected = {**IMAGES, "train": {**IMAGES["train"], "000005": whole}}  # type: ignore[dict-item]
    assert written(dataset) == expected
    flags = dataset.train.mask_of("000005")[1:, 5].tolist()
    assert flags == [0, PASSED_OVER if key in of_xml else CROWD]


@pytest.mark.filterwarnings(PARTIAL)
def test_torchvision_reads_the_same_boxes(tmp_path: Path) -> None:
    voc, coco = tmp_path / "VOCdevkit/VOC2007", tmp_path / "coco"
    write_voc(voc)
    coco.mkdir()
    write_coco(coco)
    ours = open_dataset(f"{voc}:voc2007_detection").train
    theirs = VOCDetection(str(tmp_path), year="2007", image_set="trainval")
    for sample, (_, told) in zip(ours, theirs, strict=True):
        boxes = [[float(each["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")]
                 for each in told["annotation"]["object"]]  # fmt: skip
        assert (sample.mask[1:, :4] + torch.tensor([1.0, 1, 0, 0])).tolist() == boxes
    listed = open_dataset(f"{coco}:coco_detection").train
    folder = CocoDetection(str(coco / "train2017"), str(coco / "annotations/instances_train2017.json"))
    for sample, (_, told) in zip(listed, folder, strict=True):
        boxes = sample.mask[1:, :4]
        sides = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
        assert sides.tolist() == [each["bbox"] for each in told]


@pytest.mark.filterwarnings(PARTIAL)
def test_faults_name_the_file(tmp_path: Path) -> None:
    write_voc(tmp_path)
    path = tmp_path / "Annotations/000007.xml"
    path.write_text(path.read_text().replace("<xmax>24</xmax>", ""))
    with pytest.raises(DatasetError, match=r"000007.xml: bndbox/xmax is missing"):
        open_dataset(f"{tmp_path}:voc2007_detection")
    path.write_text("<annotation>")
    with pytest.raises(DatasetError, match=r"000007.xml is no XML"):
        open_dataset(f"{tmp_path}:voc2007_detection")
    other = tmp_path / "other"
    other.mkdir()
    write_coco(other)
    Image.new("RGB", (20, 16)).save(other / "train2017/000007.jpg")
    with pytest.raises(DatasetError, match=r"expected .*000007.jpg with 24 x 16 pixels .* it is 20 x 16"):
        open_dataset(f"{other}:coco_detection").train.mask_of("000007")


def test_boxes_beside_images_of_ones_own(tmp_path: Path) -> None:
    """Without a spec: classes are the names that occur, or what labels say of them."""
    write_trash(tmp_path)
    (tmp_path / "dataset" / "test").rename(tmp_path / "dataset" / "valid")
    (tmp_path / "dataset/val").rmdir()
    content: dict[str, Any] = {"name": "mine", "domain": "sea", "reader": "xml_boxes"}
    (tmp_path / "dataset/dataset.yaml").write_text(json.dumps(content))
    dataset = open_dataset(str(tmp_path / "dataset"))
    assert dataset.spec.classes == ("cloth", "platstic", "rov")
    assert dataset.train.mask_of("000005")[1:, 4].tolist() == [2, 1, 0]
    content["labels"] = {"platstic": "rov", "cloth": "void"}
    content["classes"] = ["rov", "fish"]
    (tmp_path / "dataset/dataset.yaml").write_text(json.dumps(content))
    assert open_dataset(str(tmp_path / "dataset")).train.mask_of("000005")[1:, 4].tolist() == [0, 0]
    (tmp_path / "dataset/dataset.yaml").write_text(json.dumps({**content, "labels": {"cloth": "void"}}))
    with pytest.raises(DatasetError, match=r"00000[57].xml: .*class 'platstic'"):
        open_dataset(str(tmp_path / "dataset"))
    (tmp_path / "dataset/train/000007.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 2 XML files in .*train have no image .* e\.g\. 000007\.xml"):
        open_dataset(str(tmp_path / "dataset"))
    (tmp_path / "dataset/dataset.yaml").write_text(json.dumps({**content, "splits": {"train": "tran"}}))
    with pytest.raises(DatasetError, match=r"expected a folder tran/ with images and their XML files"):
        open_dataset(str(tmp_path / "dataset"))


def test_worlds_give_what_is_seen_of_each_thing() -> None:
    dataset = open_dataset("boxes/harbour_drive")
    assert dataset.spec.classes == ("car", "lorry", "person")
    sample = dataset.train[3]
    assert sample.image.shape == (3, 128, 128)
    assert torch.equal(sample.mask, dataset.train.mask(3))
    known = sample.mask[of_known_objects(sample.mask)]
    assert len(known) >= 2
    assert (known[:, 2:4] - known[:, :2] >= 4).all()
    assert known[:, :4].min() >= 0
    assert known[:, 2:4].max() <= 128
    assert not set(dataset.train.identifiers) & set(dataset.test.identifiers)
    # A world is painted as before, told apart or not.
    before = read_world_image("reef", "0003").image
    open_dataset("boxes/reef").train[3]
    assert torch.equal(read_world_image("reef", "0003").image, before)
    with pytest.raises(DatasetError, match="farmland"):
        open_dataset("boxes/farmland")
    assert "reef" in OBJECT_WORLDS


@pytest.mark.filterwarnings("ignore:.* is not the whole of BDD100K boxes")
def test_a_check_tells_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bdd(tmp_path / "data")
    assert start("check", arguments=[str(tmp_path / "data"), "--output", str(tmp_path / "check")]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "train has 2 objects, at most 1 in an image." in told
    assert "1 objects of train, crowds or difficult ones" in told
    assert "Every pixel of split 'test' of dataset 'BDD100K boxes' (1 images) is void" in told  # it has no object
    image = tmp_path / "data/images/100k/train/000007.jpg"
    image.write_bytes(image.read_bytes()[:100])
    assert start("check", arguments=[str(tmp_path / "data"), "--output", str(tmp_path / "again")]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "1 image(s) cannot be used" in told
    assert "train has 1 objects, at most 1 in an image." in told
    labels = tmp_path / "data/labels/det_20/det_train.json"
    labels.write_text(labels.read_text().replace("rider", "raider"))
    with pytest.raises(
        DatasetError, match=r"det_train\.json: 000005\.jpg: Unknown category 'raider'. Did you mean 'rider'"
    ):
        open_dataset(str(tmp_path / "data"))
