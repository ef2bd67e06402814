"""Images that EXIF turns, and where their masks lie."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from muster.data import open_dataset, read_image
from muster.data.orientation import lay_back, masks_lie_as_stored, turn_upright
from muster.errors import DatasetError

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10


def exif(tag: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = tag
    return made


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_every_orientation_of_every_kind_of_file(tmp_path: Path, tag: int, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(PIXELS).save(file, exif=exif(tag), lossless=True)
    upright = np.array(ImageOps.exif_transpose(Image.open(file)))
    assert np.array_equal(read_image(file).permute(1, 2, 0).numpy(), upright)
    assert np.array_equal(read_image(file, as_stored=True).permute(1, 2, 0).numpy(), PIXELS)
    assert np.array_equal(turn_upright(PIXELS, tag), upright)
    assert np.array_equal(lay_back(upright, tag), PIXELS)


def test_an_orientation_after_the_pixels(tmp_path: Path) -> None:
    """A PNG may tell its orientation last."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    data, end = exif(6).tobytes().removeprefix(b"Exif\0\0"), (tmp_path / "a.png").read_bytes()[-12:]
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-12] + chunk + end)
    assert read_image(tmp_path / "a.png").shape == (3, 3, 2)


@pytest.mark.parametrize("tag", [0, 9, 77])
def test_a_tag_without_a_meaning_turns_nothing(tmp_path: Path, tag: int) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif(tag))
    assert np.array_equal(read_image(tmp_path / "a.png").permute(1, 2, 0).numpy(), PIXELS)


@pytest.mark.parametrize(
    ("image_tag", "mask_tag", "stored", "mask", "expected"),
    [
        (None, None, (4, 6), (4, 6), False),
        (1, None, (4, 4), (4, 4), False),
        (6, None, (4, 4), (4, 4), None),  # a square tells nothing
        (3, None, (4, 6), (4, 6), None),  # nor does half a turn
        (6, None, (4, 6), (6, 4), False),
        (6, None, (4, 6), (4, 6), True),
        (6, 6, (4, 4), (4, 4), False),  # masks can have their own
        (6, 1, (4, 4), (4, 4), False),
        (None, 3, (4, 6), (4, 6), None),  # a mask that is turned alone is as odd
        (None, 6, (4, 6), (6, 4), False),
        (6, None, (4, 6), (9, 9), False),  # of another size either way, which is told elsewhere
    ],
)
def test_which_reading_sizes_prove(
    image_tag: int | None,
    mask_tag: int | None,
    stored: tuple[int, int],
    mask: tuple[int, int],
    expected: bool | None,
) -> None:
    assert masks_lie_as_stored(image_tag, mask_tag, stored, mask, None) is expected
    assert masks_lie_as_stored(image_tag, mask_tag, stored, mask, "ignore") is True
    assert masks_lie_as_stored(image_tag, mask_tag, stored, mask, "apply") is False


@pytest.mark.parametrize(("tag", "suffix"), list(itertools.product([2, 3, 6, 8], [".png", ".tif"])))
@pytest.mark.parametrize("drawn", ["apply", "ignore"])
def test_image_and_mask_lie_alike(
    write_folder: Callable[..., Path], tools: Any, tag: int, suffix: str, drawn: str
) -> None:
    """Each mask repeats its image's brightness, so it can be seen whether they lie alike."""
    folder = write_folder(orientation=drawn)
    stored, mask = tools.make_sample(3, 16, 16)
    (folder / "train/images/a.png").unlink()
    Image.fromarray(stored).save(folder / f"train/images/a{suffix}", exif=exif(tag))
    shown = turn_upright(mask, tag) if drawn == "apply" else mask
    Image.fromarray(np.ascontiguousarray(shown)).save(folder / "train/masks/a.png")
    train = open_dataset(str(folder)).train
    sample = train[0]
    labelled = sample.mask != 255
    assert torch.equal((sample.image[0] // 80)[labelled], sample.mask[labelled])
    assert torch.equal(train.mask(0), sample.mask)
    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text().replace(f"orientation: {drawn}\n", ""))
    with pytest.raises(DatasetError, match=rf"EXIF orientation \({tag}\).*'orientation: apply'.*'orientation: ignore'"):
        open_dataset(str(folder)).train[0]


def test_a_mask_that_is_turned_alone(folder: Path, tools: Any) -> None:
    Image.fromarray(tools.make_sample(1)[1]).save(folder / "train/masks/a.png", exif=exif(3))
    with pytest.raises(DatasetError, match=r"masks/a\.png .* EXIF orientation \(3\) and .*images/a\.png .*has none"):
        open_dataset(str(folder)).train[0]


def test_a_mask_with_an_orientation_of_its_own(folder: Path, tools: Any) -> None:
    image, mask = tools.make_sample(3)
    for part, pixels in (("images", image), ("masks", mask)):
        Image.fromarray(pixels).save(folder / f"train/{part}/a.png", exif=exif(8))
    sample = open_dataset(str(folder)).train[0]
    assert sample.image.shape == (3, 24, 16)
    labelled = sample.mask != 255
    assert torch.equal((sample.image[0] // 80)[labelled], sample.mask[labelled])
