"""Masks whose stored values, or colours, dataset.yaml explains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muster.data import VOID, open_dataset
from muster.data.mask_values import written
from muster.errors import DatasetError


def expect(folder: Path, *parts: str) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset(str(folder)).train[0]
    for part in parts:
        assert part in str(caught.value)


def save(folder: Path, mask: Any, mode: str | None = None) -> None:
    Image.fromarray(np.resize(np.array(mask, np.uint8), (16, 24, *np.shape(mask)[2:])), mode).save(
        folder / "train/masks/a.png"
    )


def test_stored_values(write_folder: Callable[..., Path]) -> None:
    values = {0: "sky", 7: "sky", 100: "road", 200: None, 255: "tree", 9: "void"}
    folder = write_folder(mask_values=values)
    save(folder, [[0, 7, 100, 200, 255, 9]])
    dataset = open_dataset(str(folder))
    expected = [0, 0, 1, VOID, 2, VOID]
    assert dataset.train[0].mask[0, :6].tolist() == expected
    assert dataset.train.mask(0)[0, :6].tolist() == expected
    assert dataset.spec.ignore_index is None
    save(folder, [[0, 1, 2, 250]])
    expect(folder, "train/masks/a.png", "value(s) 1, 2, 250", "288 pixels", "mask_values")


def test_another_void_value_beside_them(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(mask_values={1: "sky", 2: "road"}, ignore_index=0)
    save(folder, [[0, 1, 2]])
    assert open_dataset(str(folder)).train[0].mask[0, :3].tolist() == [VOID, 0, 1]


COLOURS = {"#000000": "sky", "#ff0000": "road", "#0000FF": "tree", "#ffffff": "void"}


def test_colours(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(mask_values=COLOURS)
    save(folder, [[[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 255, 255]]])
    assert open_dataset(str(folder)).train[0].mask[0, :4].tolist() == [0, 1, 2, VOID]
    save(folder, [[[0, 0, 0], [255, 0, 1]]])
    expect(folder, "train/masks/a.png", "colour(s) '#ff0001' (192 pixels)")


def test_colours_of_grey_and_palette_masks(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(mask_values=COLOURS)
    save(folder, [[0, 255]])
    assert open_dataset(str(folder)).train[0].mask[0, :2].tolist() == [0, VOID]
    palette = Image.fromarray(np.resize(np.array([[0, 1, 2]], np.uint8), (16, 24)))
    palette.putpalette([0, 0, 255, 255, 0, 0, 0, 0, 0])
    palette.save(folder / "train/masks/a.png")
    assert open_dataset(str(folder)).train[0].mask[0, :3].tolist() == [2, 1, 0]


@pytest.mark.parametrize(("alpha", "fine"), [(255, True), (254, False)])
def test_colours_with_alpha(write_folder: Callable[..., Path], alpha: int, fine: bool) -> None:
    folder = write_folder(mask_values=COLOURS)
    save(folder, [[[255, 0, 0, alpha]]])
    if fine:
        assert open_dataset(str(folder)).train[0].mask.unique().tolist() == [1]
    else:
        expect(folder, "384 pixels are transparent")


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({}, ["nothing", "# begins a comment"]),
        (None, ["nothing"]),
        ([0, 255], ["[0, 255]"]),
        ({0: "sky"}, ["at least two classes"]),
        ({0: "sky", 1: "void"}, ["at least two classes"]),
        ({0: "sky", "1": "road"}, ["'1'", "0 to 255"]),
        ({0: "sky", True: "road"}, ["True"]),
        ({0: "sky", -1: "road"}, ["-1"]),
        ({0: "sky", "#ff0000": "road"}, ["a mixture of both"]),
        ({"#000": "sky", "#ff0000": "road"}, ["'#000'"]),
        ({"#ff0000": "sky", "#FF0000": "road"}, ["twice"]),
        ({0: "sky", 1: "rood"}, ["Unknown class 'rood'", "Did you mean 'road'"]),
        ({0: 0, 1: 1}, ["the name of a class", "0"]),
    ],
)
def test_faults(write_folder: Callable[..., Path], values: object, parts: list[str]) -> None:
    expect(write_folder(mask_values=values), "dataset.yaml", "'mask_values'", *parts)


def test_a_class_that_is_called_void(write_folder: Callable[..., Path]) -> None:
    classes = ["sky", "road", "void"]
    expect(
        write_folder(classes=classes, mask_values={0: "sky", 1: "void"}), "'void' is a class", "leave the value empty"
    )


def test_written_as_it_is_read() -> None:
    assert written({0: "background", 255: "foreground"}) == "mask_values: {0: background, 255: foreground}"
