"""Which classes have labelled pixels, and that fewer than two are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muster.data import DatasetSpec, Split, cached, judge_labels, open_dataset, require_usable
from muster.errors import DatasetError


def rewrite(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:  # type: ignore[type-arg]
    for file in folder.glob("*/masks/*.png"):
        Image.fromarray(change(np.array(Image.open(file))).astype(np.uint8)).save(file)


@pytest.mark.parametrize("masks_only", [True, False])
class TestSplits:
    def test_every_class_has_pixels(self, folder: Path, masks_only: bool) -> None:
        require_usable(open_dataset(str(folder)).train, masks_only)

    def test_one_class_has_none(self, folder: Path, masks_only: bool) -> None:
        rewrite(folder, lambda mask: np.where(mask == 255, 255, mask.clip(max=1)))
        with pytest.warns(UserWarning, match=r"1 class\(es\) in the 2 images read of split 'test' .*'tiny': tree"):
            require_usable(open_dataset(str(folder)).test, masks_only)

    def test_black_and_white(self, write_folder: Callable[..., Path], masks_only: bool) -> None:
        folder = write_folder(classes=["background", "foreground"])
        rewrite(folder, lambda mask: (mask > 0) * 255)
        with pytest.raises(
            DatasetError, match=r"write in dataset.yaml: mask_values: \{0: background, 255: foreground\}"
        ):
            require_usable(open_dataset(str(folder)).train, masks_only)
        with (folder / "dataset.yaml").open("a") as file:
            file.write("mask_values: {0: background, 255: foreground}\n")
        require_usable(open_dataset(str(folder)).train, masks_only)

    def test_a_class_made_void(self, write_folder: Callable[..., Path], masks_only: bool) -> None:
        folder = write_folder(ignore_index=0)
        rewrite(folder, lambda mask: mask % 3)
        with pytest.warns(UserWarning, match=r": sky\..*ignore_index: 0 makes class sky void"):
            require_usable(open_dataset(str(folder)).train, masks_only)
        rewrite(folder, lambda mask: mask * 0)
        with pytest.raises(DatasetError, match=r"is void.*ignore_index: 0.*leave it out"):
            require_usable(open_dataset(str(folder)).train, masks_only)

    def test_problems_go_first(self, folder: Path, masks_only: bool) -> None:
        for file in (folder / "train/masks").iterdir():
            file.write_bytes(b"")
        with pytest.raises(DatasetError, match=r"(?s)a\.png.*b\.png.*the file is empty"):
            require_usable(open_dataset(str(folder)).train, masks_only)


def test_what_is_said_with_mask_values() -> None:
    spec = DatasetSpec("d", "x", ("a", "b"), ignore_index=None)
    split = Split(spec, "train", ("0",), lambda _: pytest.fail("nothing is read"))
    with pytest.raises(DatasetError, match=r"one class only, a.*mask_values in dataset.yaml say"):
        judge_labels(split, [3, 0])


def test_many_absent_classes_are_counted() -> None:
    spec = DatasetSpec("d", "x", tuple(f"c{i}" for i in range(40)))
    split = Split(spec, "train", ("0",), lambda _: pytest.fail("nothing is read"))
    with pytest.warns(UserWarning, match=r"38 class\(es\).*c2, c3, .*c21 and 18 more"):
        judge_labels(split, [1, 1] + [0] * 38)


def test_masks_alone_need_no_pixels_of_images(folder: Path) -> None:
    train = open_dataset(str(folder)).train
    whole = [train[index].mask for index in range(3)]
    for file in (folder / "train/images").iterdir():
        file.write_bytes(file.read_bytes()[:80])  # the header is left
    assert all((train.mask(index) == whole[index]).all() for index in range(3))


def test_a_full_cache_reads_masks_alone(folder: Path) -> None:
    kept, full = cached(open_dataset(str(folder)).train), cached(open_dataset(str(folder)).train, max_bytes=1)
    whole = [kept.mask(index) for index in range(3)]
    full.mask(0)
    for file in (folder / "train/images").iterdir():
        file.write_bytes(file.read_bytes()[:80])
    assert [(full.mask(index) == whole[index]).all() for index in range(3)] == [True] * 3
    assert kept[1].image.shape == (3, 16, 24)  # reading its mask has kept it
