"""Pascal VOC's lists of whole images, in a tiny copy of their true form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from muster.data import content_prefixes, open_dataset
from muster.data.layout import name_layout
from muster.errors import DatasetError
from tests.data.layout_writers import save

MAIN = "ImageSets/Main"
SAID: dict[str, dict[str, tuple[int, int, int]]] = {
    "trainval": {"000005": (1, -1, 0), "000007": (-1, -1, -1), "000009": (-1, 1, 1)},
    "test": {"000001": (-1, 1, -1), "000002": (0, -1, 1)},
}
CLASSES = ("car", "dog", "person")


def write_voc2007(root: Path, said: Mapping[str, Mapping[str, tuple[int, int, int]]] = SAID) -> None:
    """Lists as the challenge has them: two blanks before a number without a minus."""
    for tone, image in enumerate(name for each in said.values() for name in each):
        save(root / "JPEGImages" / f"{image}.jpg", np.full((6, 9, 3), 20 * tone, np.uint8))
    (root / MAIN).mkdir(parents=True)
    for name, images in said.items():
        (root / MAIN / f"{name}.txt").write_text("".join(f"{image}\n" for image in images))
        for at, label in enumerate(CLASSES):
            lines = "".join(f"{image} {numbers[at]:2d}\n" for image, numbers in images.items())
            (root / MAIN / f"{label}_{name}.txt").write_text(lines)


@pytest.mark.filterwarnings("ignore:.*is not the whole of VOC2007")
def test_lists_say_what_is_there_and_what_is_difficult(tmp_path: Path) -> None:
    write_voc2007(tmp_path / "VOC2007")
    assert name_layout(tmp_path / "VOC2007") == "voc_classification"
    dataset = open_dataset(str(tmp_path / "VOC2007"))
    assert (dataset.spec.name, dataset.spec.task, dataset.spec.classes) == ("VOC2007", "multilabel", CLASSES)
    for split, name in ((dataset.train, "trainval"), (dataset.test, "test")):
        found = {sample.identifier: sample.mask.flatten().tolist() for sample in split}
        meant = {-1: 0, 0: 255, 1: 1}
        assert found == {image: [meant[number] for number in numbers] for image, numbers in SAID[name].items()}
        assert len(set(content_prefixes(split))) == len(split)


@pytest.mark.filterwarnings("ignore:.*is not the whole of VOC2007")
def test_without_a_test_set_the_validation_images_are_the_test_split(tmp_path: Path) -> None:
    write_voc2007(tmp_path, {"train": SAID["trainval"], "val": SAID["test"], "trainval": {}})
    (tmp_path / "SegmentationClass").mkdir()
    assert name_layout(tmp_path) == "voc"  # with masks it is taken for segmentation
    dataset = open_dataset(str(tmp_path), reader="voc_classification")
    assert (dataset.train.identifiers, dataset.test.identifiers) == (tuple(SAID["trainval"]), tuple(SAID["test"]))
    (tmp_path / "dataset.yaml").write_text("reader: voc_classification\nsplits: {train: val, test: train}\n")
    assert open_dataset(str(tmp_path)).train.identifiers == tuple(SAID["test"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (f"{MAIN}/dog_trainval.txt", "000005 2\n", r"dog_trainval\.txt, line 1: expected one of 1 \(there\).*'2'"),
        (f"{MAIN}/dog_trainval.txt", "000005 1\n" * 2, r"dog_trainval\.txt, line 2: the image '000005' is there twice"),
        (f"{MAIN}/dog_trainval.txt", "000005 1\n", r"dog_trainval\.txt: the image '000007' is missing"),
        (f"{MAIN}/dog_trainval.txt", "", r"dog_trainval\.txt names no image"),
        (f"{MAIN}/dog_trainval.txt", "000005\n", r"dog_trainval\.txt, line 1: expected 2 values"),
        (f"{MAIN}/cat_trainval.txt", "000005 1\n", r"there is no cat_test\.txt"),
        (f"{MAIN}/car_test.txt", "000005 1\n000001 1\n000002 1\n", r"dog_test\.txt: the image '000005' is missing"),
        ("dataset.yaml", "splits: {test: trainval}", r"3 image\(s\) are in both trainval and trainval: 000005"),
        ("dataset.yaml", "splits: {test: holdout}", r"expected a list CLASS_holdout\.txt"),
        ("dataset.yaml", "classes: [dog, car, person]", r"leave 'classes' out"),
    ],
)
def test_what_is_damaged_is_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    write_voc2007(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        open_dataset(str(tmp_path))


def test_missing_images_are_told(tmp_path: Path) -> None:
    write_voc2007(tmp_path)
    (tmp_path / "JPEGImages/000002.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 2 images that lists of test .* missing, e\.g\. .*000002\.jpg"):
        open_dataset(str(tmp_path))
