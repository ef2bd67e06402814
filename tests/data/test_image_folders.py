"""Image folders, one a class; and the built-in sets of scenes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from muster.commands.check import check_opened
from muster.data import Dataset, class_pixel_counts, content_prefixes, open_dataset, require_usable
from muster.data.layout import name_layout
from muster.data.worlds.scenes import SCENES
from muster.errors import DatasetError


def write(root: Path, split: str, name: str, count: int, tone: int, ending: str = "png") -> None:
    folder = root / split / name
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.full((8, 10 + number, 3), tone + number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{ending}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training images of one class, two of the other, and one test image of each."""
    for split, counts in (("train", (3, 2)), ("val", (1, 1))):
        for name, count, tone in zip(("Hund", "chat é"), counts, (40, 120), strict=True):
            write(tmp_path / "pets", split, name, count, tone)
    return tmp_path / "pets"


def opened(root: Path) -> Dataset:
    return open_dataset(str(root))


def test_the_folder_says_the_class(root: Path) -> None:
    assert name_layout(root) == "image_folders"
    dataset = opened(root)
    assert dataset.spec.task == "classification"
    assert dataset.spec.classes == ("Hund", "chat é")
    assert dataset.train.identifiers == ("Hund/0", "Hund/1", "Hund/2", "chat é/0", "chat é/1")
    sample = dataset.train[4]
    assert sample.mask.tolist() == [[1]]
    assert sample.mask.dtype == torch.int64
    assert sample.image.shape == (3, 8, 11)
    assert int(sample.image[0, 0, 0]) == 121
    assert dataset.train.mask(2).tolist() == [[0]]
    assert class_pixel_counts(dataset.train, 2).tolist() == [3, 2]
    assert len(set(content_prefixes(dataset.train))) == 5
    require_usable(dataset.test)


def test_a_description_sets_the_order(root: Path) -> None:
    content = {"name": "pets", "domain": "animals", "classes": ["chat é", "Hund"]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    dataset = opened(root)
    assert dataset.train.identifiers[0] == "chat é/0"
    assert dataset.train[0].mask.item() == 0
    assert dataset.spec.domain == "animals"


def test_images_deeper_down_are_of_the_class_too(root: Path) -> None:
    write(root / "train", "Hund", "spitz", 1, 200)
    assert "Hund/spitz/0" in opened(root).train.identifiers


def test_a_class_of_the_test_split_alone_is_refused(root: Path) -> None:
    write(root, "val", "Hnud", 1, 1)
    with pytest.raises(DatasetError, match=r"folder 'Hnud' is no class of 'pets'.*Did you mean 'Hund'"):
        opened(root)


def test_a_missing_test_split_is_named(root: Path) -> None:
    (root / "val").rename(root / "holdout")
    with pytest.raises(DatasetError, match=r"Expected test/ or val/ beside train/ in .*pets"):
        opened(root)


def test_two_endings_of_one_name_are_refused(root: Path) -> None:
    write(root, "train", "Hund", 1, 1, "jpg")
    with pytest.raises(DatasetError, match="differ in their endings alone"):
        opened(root)


def test_a_damaged_image_is_named(root: Path) -> None:
    (root / "train" / "Hund" / "1.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"Hund/1\.png"):
        require_usable(opened(root).train)


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_balanced_and_show_their_class(name: str) -> None:
    dataset = open_dataset(f"scenes/{name}")
    counts = class_pixel_counts(dataset.train, dataset.spec.num_classes)
    assert len(set(counts.tolist())) == 1
    assert counts.sum() == len(dataset.train)
    again = open_dataset(dataset.reference).test[3]
    assert torch.equal(again.image, dataset.test[3].image)
    assert again.mask.item() == 3 % dataset.spec.num_classes


def test_no_set_of_scenes_shows_an_image_of_another_or_of_a_world() -> None:
    seen: set[str] = set()
    for reference in [*(f"scenes/{name}" for name in SCENES), "worlds/reef", "worlds/suburb"]:
        dataset = open_dataset(reference)
        prefixes = {*content_prefixes(dataset.train), *content_prefixes(dataset.test)}
        assert not seen & prefixes, reference
        seen |= prefixes


def test_unknown_scenes_are_named() -> None:
    with pytest.raises(DatasetError, match="Did you mean 'places'"):
        open_dataset("scenes/place")


def test_a_check_shows_images_beside_their_class(root: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    assert check_opened(opened(root), tmp_path, console) == 0
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "images of train" in told
    assert "10 x 8" in told
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 100
