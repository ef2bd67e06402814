"""Images of other than three channels, and of more than 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muster.data import ImageSize, Preprocessing, TrainingTransform, channel_statistics, open_dataset, prepare_image
from muster.errors import DatasetError
from tests.data.layout_writers import describe, make_samples, save, write_geotiff, write_raster

NAMES = ["sky", "road", "tree"]


def write(folder: Path, change: Any, suffix: str = ".tif", **description: object) -> Path:
    """A dataset whose images are changed before they are written, by rasterio if the suffix is that of a TIFF."""
    describe(folder, name="tiny", domain="made up", classes=NAMES, **description)
    for split, each in make_samples(3, 1).items():
        for name, (image, mask) in each.items():
            pixels, path = change(image), folder / split / "images" / f"{name}{suffix}"
            write_raster(path, pixels) if suffix == ".tif" else save(path, pixels)
            save(folder / split / "masks" / f"{name}.png", mask)
    return folder


def with_fifth(image: Any, scale: int, dtype: Any) -> Any:
    """Five bands: the three, their mean, and a constant."""
    more = [image.mean(axis=-1, keepdims=True), np.full((*image.shape[:2], 1), 7)]
    return (np.concatenate([image, *more], axis=-1) * scale).astype(dtype)


def expect(folder: Path, *parts: str) -> None:
    with pytest.raises(DatasetError) as caught:
        channel_statistics(open_dataset(str(folder)).train)
    for part in parts:
        assert part in str(caught.value)


def test_five_bands_of_sixteen_bits_by_the_range_of_their_type(tmp_path: Path) -> None:
    train = open_dataset(str(write(tmp_path / "d", lambda image: with_fifth(image, 200, np.uint16), channels=5))).train
    image, _ = make_samples(3, 1)["train"]["train_000"]
    expected = with_fifth(image, 200, np.uint16).transpose(2, 0, 1) / 65535
    assert train.spec.channels == 5
    assert train[0].image.dtype == torch.float32
    assert np.allclose(train[0].image.numpy(), expected, atol=1e-7)
    found = channel_statistics(train)
    pixels = np.concatenate([sample.image.double().flatten(1).numpy() for sample in train], axis=1)
    assert np.allclose(found.mean, pixels.mean(axis=1), atol=1e-9)
    assert np.allclose(found.std, np.maximum(pixels.std(axis=1), 1 / 255), atol=1e-7)


def test_a_stated_range_is_clipped_and_bands_are_chosen(tmp_path: Path) -> None:
    chosen = {"bands": [5, 2], "value_range": [700, 20000]}
    train = open_dataset(str(write(tmp_path / "d", lambda image: with_fifth(image, 100, np.float32), **chosen))).train
    image, _ = make_samples(3, 1)["train"]["train_000"]
    expected = (with_fifth(image, 100, np.float64)[..., [4, 1]].transpose(2, 0, 1) - 700) / 19300
    assert train[0].image.shape[0] == train.spec.channels == 2
    assert np.allclose(train[0].image.numpy(), expected.clip(0, 1), atol=1e-6)


def test_eight_bits_stay_whole_numbers(tmp_path: Path) -> None:
    grey = open_dataset(str(write(tmp_path / "grey", lambda image: image[..., 0], ".png", channels=1))).train
    assert (grey[0].image.dtype, grey[0].image.shape[0]) == (torch.uint8, 1)
    alpha = with_fifth(make_samples(1, 1)["train"]["train_000"][0], 1, np.uint8)[..., :4]
    four = open_dataset(str(write(tmp_path / "four", lambda _: alpha[:16, :20], ".png", channels=4)))
    assert np.array_equal(four.train[0].image.permute(1, 2, 0).numpy(), alpha)


def test_png_files_of_sixteen_bits(tmp_path: Path, tools: Any) -> None:
    folder = write(tmp_path / "d", lambda image: image, ".png", value_range=[0, 60000])
    deep = np.random.default_rng(0).integers(0, 60000, (16, 20, 3))
    tools.write_png(folder / "train/images/train_000.png", deep, bits=16)
    image = open_dataset(str(folder)).train[0].image
    assert np.allclose(image.permute(1, 2, 0).numpy(), deep / 60000, atol=1e-6)
    grey = write(tmp_path / "grey", lambda image: image[..., 0].astype(np.uint16) * 256, ".png", channels=1)
    assert open_dataset(str(grey)).train[0].image.dtype == torch.float32


def test_faults(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", lambda image: with_fifth(image, 1, np.uint8), channels=4)
    expect(folder, "train_000.tif", "has 5 band(s), but 4")
    write(folder, lambda image: with_fifth(image, 1, np.float32), channels=5)
    expect(folder, "train_000.tif", "float32", "value_range: [LOW, HIGH]")
    write(folder, lambda image: with_fifth(image, 1, np.uint8), bands=[1, 9])
    expect(folder, "has 5 band(s), but at least 9")
    write_raster(folder / "train/images/train_001.tif", np.ones((16, 24, 5), np.uint16))
    describe(folder, name="tiny", domain="made up", classes=NAMES, channels=5)
    expect(folder, "2 images of 8 bits and 1 of more", "value_range: [0, 65535]")
    for key, value, told in (
        ("channels", 0, "from 1 to 1024"),
        ("bands", [0], "counted from 1"),
        ("value_range", [5, 5], "a smaller and a larger number"),
        ("value_range", 3, "the stored values that mean 0 and 1"),
    ):
        describe(folder, name="tiny", domain="made up", classes=NAMES, **{key: value})
        expect(folder, f"'{key}'", told)


def test_examples_and_prepared_images_are_those_of_eight_bits(tmp_path: Path) -> None:
    """The same numbers as uint8 and as float32 give the same to within a level of rounding."""
    whole = open_dataset(str(write(tmp_path / "a", lambda image: image, ".png", channels=3))).train
    scaled = open_dataset(str(write(tmp_path / "b", lambda image: image, ".png", value_range=[0, 255]))).train
    statistics = channel_statistics(whole)
    assert np.allclose(channel_statistics(scaled).mean, statistics.mean, atol=1e-7)
    shown = Preprocessing(statistics, ImageSize(longer=64))
    images = [prepare_image(split[0].image, shown) for split in (whole, scaled)]
    assert torch.allclose(*images, atol=1e-4)
    transform = TrainingTransform(shown, 32, colour_jitter=0.0)
    crops = [transform(split[0].image, split[0].mask, np.random.default_rng(3))[0] for split in (whole, scaled)]
    assert torch.allclose(*crops, atol=2 / 255 / min(statistics.std))


def test_a_damaged_mask_of_a_geotiff_is_told(tmp_path: Path) -> None:
    write_geotiff(tmp_path, make_samples(2, 1))
    path = tmp_path / "train/masks/train_000.tif"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DatasetError, match=r"train_000\.tif of dataset 'tiny' cannot be read"):
        open_dataset(str(tmp_path)).train.mask(0)
