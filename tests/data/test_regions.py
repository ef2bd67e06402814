"""Regions of masks as images to classify."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from muster.data import Dataset, content_prefixes, open_dataset, require_usable
from muster.data.layout import name_layout
from muster.data.regions import Box, Region, crop_around, regions_of
from muster.errors import DatasetError

Array = np.ndarray[Any, np.dtype[Any]]


def blocks() -> Array:
    """A mask of 24 x 40: grass with two cows, a strip of sky above, and void at the right."""
    mask = np.ones((24, 40), np.uint8)
    mask[:4] = 0
    mask[8:14, 4:10] = 2
    mask[14:18, 10:14] = 2  # touches the first at a corner
    mask[10:20, 22:30] = 2
    mask[:, 36:] = 255
    return mask


def write(root: Path, split: str, name: str, mask: Array) -> None:
    for part in ("images", "masks"):
        (root / split / part).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(0, 50, (*mask.shape, 3))
    Image.fromarray((noise + 60 * (mask[..., None] % 4)).astype(np.uint8)).save(root / split / "images" / f"{name}.png")
    Image.fromarray(mask).save(root / split / "masks" / f"{name}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One image to train with and one to test with, of four classes of which one never occurs."""
    write(tmp_path / "farm", "train", "a", blocks())
    write(tmp_path / "farm", "test", "bb", blocks()[:, ::-1].copy())
    content = {"name": "farm", "domain": "meadows", "licence": "CC0", "classes": ["sky", "grass", "cow", "dog"]}
    (tmp_path / "farm" / "dataset.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def opened(root: Path, **content: object) -> Dataset:
    said = {"reader": "regions", "of": "../farm", "classes": ["cow", "grass"], "min_pixels": 30, "min_side": 4}
    (root / "crops").mkdir(exist_ok=True)
    kept = {key: value for key, value in (said | content).items() if value is not ...}
    (root / "crops" / "dataset.yaml").write_text(yaml.safe_dump(kept))
    return open_dataset(str(root / "crops"))


def flooded(mask: Array, label: int) -> set[frozenset[tuple[int, int]]]:
    """Connected pixels, found one after the other."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask == label)}
    found = set()
    while left:
        waiting, region = [left.pop()], set()
        while waiting:
            row, column = waiting.pop()
            region.add((row, column))
            near = {(row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1)} & left
            left -= near
            waiting += near
        found.add(frozenset(region))
    return found


def test_regions_are_the_connected_pixels_of_a_class() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, 254, 255], np.uint8), (19, 23), p=[0.3, 0.2, 0.2, 0.3])
    wanted = []
    for label in (0, 254):
        for region in flooded(mask, label):
            rows, columns = zip(*region, strict=True)
            box = Box(min(rows), min(columns), max(rows) + 1, max(columns) + 1)
            wanted.append(Region(label, box, len(region)))
    found = list(regions_of(torch.from_numpy(mask), {0, 254}))
    assert sorted(found) == sorted(wanted)
    large = list(regions_of(torch.from_numpy(mask), {0, 254}, min_pixels=4))
    assert sorted(large) == sorted(region for region in wanted if region.pixels >= 4)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        (Box(8, 10, 18, 14), 0.0, Box(8, 7, 18, 17)),  # a square around a narrow one
        (Box(8, 10, 18, 14), 0.1, Box(7, 6, 19, 18)),
        (Box(0, 10, 10, 14), 0.1, Box(0, 6, 12, 18)),  # moved down into the image
        (Box(2, 10, 22, 14), 0.5, Box(0, 0, 24, 24)),  # no larger than the image
        (Box(4, 0, 24, 36), 0.0, Box(4, 0, 24, 36)),  # too wide for a square
        (Box(4, 0, 14, 36), 0.1, Box(0, 0, 18, 40)),
    ],
)
def test_crops_are_square_where_the_image_allows_it(box: Box, margin: float, expected: Box) -> None:
    assert crop_around(box, (24, 40), margin) == expected


def test_each_region_is_an_image_of_its_class(root: Path) -> None:
    dataset = opened(root, margin=0)
    assert name_layout(root / "crops") == "regions"
    assert (dataset.spec.name, dataset.spec.domain, dataset.spec.licence) == ("farm_regions", "meadows", "CC0")
    assert (dataset.spec.task, dataset.spec.classes) == ("classification", ("cow", "grass"))
    assert dataset.train.identifiers == ("a/grass-1", "a/cow-1", "a/cow-2")
    assert [dataset.train.mask(index).tolist() for index in range(3)] == [[[1]], [[0]], [[0]]]
    whole = open_dataset(str(root / "farm")).train[0].image
    copied = pickle.loads(pickle.dumps(dataset.train))
    for split in (dataset.train, copied):
        assert torch.equal(split[0].image, whole[:, 4:24, :36])
        assert torch.equal(split[1].image, whole[:, 10:20, 21:31])
        assert torch.equal(split[2].image, whole[:, 8:18, 4:14])
        assert split[2].mask.tolist() == [[0]]
    assert len({*content_prefixes(dataset.train), *content_prefixes(dataset.test)}) == 6
    assert all(name.startswith("bb/") for name in dataset.test.identifiers)
    require_usable(dataset.train)
    with pytest.raises(DatasetError, match=r"no image 'a/cow-3'\. Did you mean 'a/cow-"):
        dataset.train.read("a/cow-3")


def test_classes_that_no_region_shows_are_left_out_aloud(root: Path) -> None:
    with pytest.warns(UserWarning, match=r"'dog' has no region that is large enough in train and test.*left out"):
        dataset = opened(root, classes=...)
    assert dataset.spec.classes == ("sky", "grass", "cow")
    with pytest.raises(DatasetError, match=r"at least two classes in both splits, but there are such of grass\. 'cow'"):
        opened(root, min_pixels=100)


@pytest.mark.filterwarnings("ignore:.*has no region that is large enough")
def test_what_shows_too_little_is_passed_over(root: Path) -> None:
    def names(**content: object) -> list[str]:
        return [
            name.partition("/")[2]
            for name in opened(root, classes=["sky", "grass", "cow"], **content).train.identifiers
        ]

    assert names() == ["grass-1", "sky-1", "cow-1", "cow-2"]
    assert names(min_side=5) == ["grass-1", "cow-1", "cow-2"]
    assert names(min_share=0.9) == ["sky-1", "cow-1"]
    assert names(most_per_image=1) == ["grass-1", "sky-1", "cow-1"]
    assert names(margin=1) == ["grass-1", "cow-1", "cow-2"]  # around the sky and the grass it is the whole image
    assert names(ignore_classes=["sky"]) == ["grass-1", "cow-1", "cow-2"]


def test_of_regions_with_one_crop_the_larger_is_meant(root: Path) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[0, 1:] = mask[1:, 29] = 1  # its box is nearly that of the other
    mask[5:15, 5:15] = 2
    for split in ("train", "test"):
        write(root / "farm", split, split, mask)
    found = opened(root, classes=["sky", "grass", "cow"], min_pixels=20, min_side=4, margin=0.1)
    assert [name for name in found.train.identifiers if name.startswith("train/")] == ["train/sky-1", "train/cow-1"]


def test_a_limit_keeps_most_when_images_are_added(root: Path) -> None:
    def chosen() -> set[str]:
        return set(opened(root, most_per_class=5).train.identifiers)

    for number in range(6):
        write(root / "farm", "train", f"c{number}", blocks())
    before = chosen()
    assert sum("/cow-" in name for name in before) == 5
    write(root / "farm", "train", "d", blocks())
    after = chosen()
    assert before == {name for name in after if not name.startswith("d/")} | (before - after)
    assert len(before & after) >= len(before) - 3
    assert chosen() == after


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"of": ...}, r"crops/dataset\.yaml: missing 'of'"),
        ({"of": 3}, r"key 'of': expected text"),
        ({"of": "../frm"}, r"key 'of': There is no dataset folder .*frm.*Did you mean"),
        ({"of": "."}, r"key 'of': expected a dataset that is not made by the reader regions itself"),
        ({"of": "scenes/roads"}, r"key 'of': expected a segmentation dataset, not one for classification"),
        ({"classes": ["cow", "gras"]}, r"key 'classes': .*'gras'.*Did you mean 'grass'"),
        ({"min_pixels": 0}, r"key 'min_pixels': expected a whole number from 1"),
        ({"margin": "a"}, r"key 'margin': expected a share from 0 to 10"),
        ({"min_share": 2}, r"key 'min_share': expected a share from 0 to 1"),
        ({"mask_values": {0: "cow"}}, r"key 'mask_values' has no effect"),
    ],
)
def test_what_makes_no_sense_is_refused(root: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        opened(root, **content)


@pytest.mark.filterwarnings("ignore:.*has no region that is large enough")
def test_regions_of_a_built_in_world(tmp_path: Path) -> None:
    found = opened(tmp_path, of="worlds/attic", classes=..., min_pixels=200, min_side=8)
    assert found.spec.num_classes >= 2
    assert found.train[0].image.shape[0] == 3
