"""How COCO's objects become masks: outlines, overlaps, crowds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muster.data import VOID, open_dataset
from tests.data.layout_writers import describe, save, write_json

CATEGORIES = [{"id": 9, "name": "car"}, {"id": 4, "name": "road"}]


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """The outline of a rectangle."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def write(folder: Path, objects: list[dict[str, Any]], **description: object) -> np.ndarray[Any, Any]:
    """One image of 8 x 10 pixels in either split; the mask of the first."""
    for split in ("train", "val"):
        save(folder / split / "a.png", np.full((8, 10, 3), len(split), np.uint8))
        images = [{"id": 1, "file_name": "a.png", "height": 8, "width": 10}]
        annotations = [{"id": number, "image_id": 1, "iscrowd": 0} | each for number, each in enumerate(objects)]
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        write_json(folder / f"annotations/instances_{split}.json", content)
    describe(folder, **description)
    dataset = open_dataset(str(folder))
    assert dataset.spec.classes[-2:] == ("road", "car")
    mask: np.ndarray[Any, Any] = dataset.train[0].mask.numpy()
    return mask


LARGE = {"category_id": 4, "segmentation": box(0, 0, 8, 8), "area": 64}
SMALL = {"category_id": 9, "segmentation": box(4, 2, 10, 6), "area": 24}


def expected(below: int, **regions: tuple[slice, slice]) -> np.ndarray[Any, Any]:
    mask = np.full((8, 10), below, np.uint8)
    for value, region in regions.items():
        mask[region] = int(value.removeprefix("of_"))
    return mask


ROAD, CAR = (slice(0, 8), slice(0, 8)), (slice(2, 6), slice(4, 10))
BOTH = (slice(2, 6), slice(4, 8))


@pytest.mark.parametrize("order", [[LARGE, SMALL], [SMALL, LARGE]])
def test_the_smaller_object_lies_on_top(tmp_path: Path, order: list[dict[str, Any]]) -> None:
    assert np.array_equal(write(tmp_path, order), expected(0, of_1=ROAD, of_2=CAR))


def test_pixels_that_two_classes_claim_can_be_void(tmp_path: Path) -> None:
    mask = write(tmp_path, [LARGE, SMALL], overlap="void")
    assert np.array_equal(mask, expected(0, of_1=ROAD, of_2=CAR, of_255=BOTH))
    same = [LARGE, SMALL | {"category_id": 4}]
    assert np.array_equal(write(tmp_path, same, overlap="void"), expected(0, of_1=ROAD) | expected(0, of_1=CAR))


def test_what_is_no_object_can_be_void_or_a_category(tmp_path: Path) -> None:
    assert np.array_equal(write(tmp_path, [SMALL], background="void"), expected(VOID, of_1=CAR))
    assert np.array_equal(write(tmp_path, [SMALL], background="road"), expected(0, of_1=CAR))


def test_crowds_lie_below_or_are_void(tmp_path: Path) -> None:
    counts = [0, 64, 16]  # by columns, as COCO counts: the first eight
    crowd = LARGE | {"iscrowd": 1, "area": 1, "segmentation": {"size": [8, 10], "counts": counts}}
    assert np.array_equal(write(tmp_path, [SMALL, crowd]), expected(0, of_1=ROAD, of_2=CAR))
    assert np.array_equal(write(tmp_path, [SMALL, crowd], crowd="void"), expected(0, of_255=ROAD, of_2=CAR))


def test_categories_that_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, [LARGE, SMALL])
    describe(tmp_path, ignore_classes=["road"])
    dataset = open_dataset(str(tmp_path))
    assert dataset.spec.classes == ("background", "car")
    assert np.array_equal(dataset.train[0].mask.numpy(), expected(0, of_255=ROAD, of_1=CAR))
