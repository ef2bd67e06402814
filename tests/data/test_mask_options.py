"""Masks of other kinds, names and meanings, and images that Pillow alone would refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muster.data import VOID, Sample, open_dataset
from muster.data import large_images as large
from muster.data.colour_map import read_colour_map
from muster.data.large_images import ALWAYS_FINE, free_memory, require_memory
from muster.errors import DatasetError

Write = Callable[..., Path]


def first(folder: Path) -> Sample:
    return open_dataset(str(folder)).train[0]


def expect(folder: Path, *parts: str) -> None:
    with pytest.raises(DatasetError) as caught:
        first(folder)
    for part in parts:
        assert part in str(caught.value)


def mask(folder: Path, values: Any, name: str = "a.png") -> None:
    """Write the mask of the first image: one row of values, repeated."""
    (folder / "train/masks/a.png").unlink(missing_ok=True)
    Image.fromarray(np.resize(np.array(values, np.uint8), (16, 24))).save(folder / "train/masks" / name)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".TIFF", ".png"])
@pytest.mark.parametrize("kind", ["L", "P", "1"])
def test_masks_of_every_kind_come_back(write_folder: Write, suffix: str, kind: str) -> None:
    folder = write_folder()
    values = np.resize(np.array([[0, 1, 0, 1, 1]], np.uint8), (16, 24))
    image = Image.fromarray(values * 255).convert("1") if kind == "1" else Image.fromarray(values)
    if kind == "P":
        image.putpalette([9, 8, 7, 200, 100, 50] + [0] * 762)
    (folder / "train/masks/a.png").unlink()
    image.save(folder / f"train/masks/a{suffix}")
    assert np.array_equal(first(folder).mask.numpy(), values)


def test_a_lossless_tiff_of_sixteen_bits(write_folder: Write) -> None:
    folder = write_folder(mask_values={0: "sky", 1000: "road", 65535: None}, classes=["sky", "road"])
    values = np.resize(np.array([[0, 1000, 65535]], np.uint16), (16, 24))
    (folder / "train/masks/a.png").unlink()
    Image.fromarray(values).save(folder / "train/masks/a.tif", compression="tiff_lzw")
    assert first(folder).mask[0, :3].tolist() == [0, 1, VOID]


def test_classes_from_one_on(write_folder: Write) -> None:
    folder = write_folder(reduce_zero_label=True)
    mask(folder, [[0, 1, 2, 3, 255]])
    assert first(folder).mask[0, :5].tolist() == [VOID, 0, 1, 2, VOID]
    mask(folder, [[0, 4]])
    expect(folder, "value(s) 4", "3 classes (1 to 3) and 0 and 255 for void")
    mixed = write_folder(reduce_zero_label=True, mask_values={1: "sky", 2: "road"})
    expect(mixed, "reduce_zero_label says nothing beside mask_values")


def test_who_forgets_it_is_told(write_folder: Write) -> None:
    folder = write_folder(ignore_index=0)
    mask(folder, [[0, 1, 2, 3]])
    expect(folder, "value(s) 3", "reduce_zero_label: true")


def test_several_values_of_void(write_folder: Write) -> None:
    folder = write_folder(ignore_index=[0, 7, 255])
    mask(folder, [[0, 1, 2, 7, 255]])
    assert first(folder).mask[0, :5].tolist() == [VOID, 1, 2, VOID, VOID]
    assert open_dataset(str(folder)).spec.ignore_index is None


def test_classes_that_are_ignored(write_folder: Write) -> None:
    folder = write_folder(ignore_classes=["road"])
    mask(folder, [[0, 1, 2, 255]])
    assert open_dataset(str(folder)).spec.classes == ("sky", "tree")
    assert first(folder).mask[0, :4].tolist() == [0, VOID, 1, VOID]


@pytest.mark.parametrize("beside", [True, False])
def test_masks_with_a_suffix(write_folder: Write, beside: bool) -> None:
    folder = write_folder(mask_suffix="_mask")
    for file in folder.glob("*/masks/*.png"):
        place = file.parent.with_name("images") if beside else file.parent
        file.rename(place / f"{file.stem}_mask.png")
    if beside:
        for split in ("train", "val"):
            (folder / split / "masks").rmdir()
    dataset = open_dataset(str(folder))
    assert dataset.train.identifiers == ("a", "b", "c é")
    assert dataset.train[0].mask.shape == (16, 24)
    if beside:
        (folder / "train/images/b_mask.png").unlink()
        expect(folder, "1 image(s)", "without mask", "images/b.png")
    else:
        (folder / "train/masks/b_mask.png").rename(folder / "train/masks/b.png")
        expect(folder, "mask_suffix is '_mask'", "1 mask(s)", "masks/b.png")


FORMS = {
    "class_dict.csv": "name,r,g,b\nsky,70,130,180\nroad,128,64,128\n",
    "label_colors.txt": "70 130 180\t\tsky\n128 64 128\t\troad\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nsky:70,130,180::\nroad:128,64,128::\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_colour_maps_of_three_forms(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name], "utf-8")
    assert read_colour_map(tmp_path / name) == {"#4682b4": "sky", "#804080": "road"}


def test_a_colour_map_that_is_named(write_folder: Write) -> None:
    folder = write_folder(colour_map="colours.csv", classes=["road", "sky"], ignore_classes=[])
    (folder / "colours.csv").write_text(FORMS["class_dict.csv"] + "Void,0,0,0\n", "utf-8")
    row = [(70, 130, 180), (128, 64, 128), (0, 0, 0)]
    Image.fromarray(np.resize(np.array([row], np.uint8), (16, 24, 3))).save(folder / "train/masks/a.png")
    assert first(folder).mask[0, :3].tolist() == [1, 0, VOID]
    other = write_folder(colour_map="colours.csv", classes=["road", "sea"])
    expect(other, "name other classes", "'sea'", "ignore_classes")


def test_images_beyond_the_limit_of_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(folder / "train/images/a.png")
    assert first(folder).image.shape == (3, 16, 24)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_an_image_that_does_not_fit_into_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "ALWAYS_FINE", 100)
    monkeypatch.setattr(large, "free_memory", lambda: 1000)
    expect(folder, "train/images/a.png", "24 x 16 pixels", "GB of memory are free", "tiles")
    monkeypatch.setattr(large, "free_memory", lambda: None)  # the system does not tell
    assert first(folder).image.shape == (3, 16, 24)


def test_free_memory() -> None:
    free = free_memory()
    assert free is None or free > 0
    require_memory(4096, 4096, "An image")
    assert ALWAYS_FINE == 4096 * 4096
