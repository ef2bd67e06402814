"""Depth data in folders: the true forms on disk, their units, what a check says, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat

from muster.commands.main import start
from muster.data import content_prefixes, open_dataset, require_usable
from muster.data.layout import name_layout
from muster.errors import DatasetError
from muster.tasks.task import in_classes

Array = np.ndarray[Any, np.dtype[Any]]


def write(folder: Path, stem: str, seed: int, kind: str = "png", scale: float = 1000) -> Array:
    """An image with depths of 1 to 9 m, some of them not known."""
    generator = np.random.default_rng(seed)
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(folder / "images" / f"{stem}.jpg")
    depths = generator.integers(1000, 9000, (6, 8)) / 1000
    depths[0, :3] = np.nan
    if kind == "png":
        stored = np.nan_to_num(depths * scale).round().astype(np.uint16)
        Image.fromarray(stored).save(folder / "depth" / f"{stem}.png")
    else:
        np.save(folder / "depth" / f"{stem}.npy", depths.astype(np.float32))
    return depths.astype(np.float32)


@pytest.mark.parametrize(("kind", "scale"), [("png", 1000), ("png", 256), ("npy", None)])
def test_what_was_written_comes_back(tmp_path: Path, kind: str, scale: float | None) -> None:
    written = {
        split: [write(tmp_path / "rooms" / split, f"{n}", n + 10 * place, kind, scale or 1) for n in range(4)]
        for place, split in enumerate(("train", "test"))
    }
    if scale is not None:
        (tmp_path / "rooms" / "dataset.yaml").write_text(f"domain: rooms\nscale: {scale}\n")
    assert name_layout(tmp_path / "rooms") == "images_and_depths"
    dataset = open_dataset(str(tmp_path / "rooms"))
    assert (dataset.spec.name, dataset.spec.task, dataset.spec.classes) == ("rooms", "depth", ("depth",))
    for split in (dataset.train, dataset.test):
        for sample, depths in zip(pickle.loads(pickle.dumps(split)), written[split.name], strict=True):
            assert sample.mask.dtype == torch.float32
            step = 0.5 / scale + 1e-6 if scale else 0.0
            assert np.allclose(sample.mask.numpy(), depths, atol=step, rtol=0, equal_nan=True)
        require_usable(in_classes(split))


def test_a_check_tells_the_range(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / "data", f"{number}", number)
    (tmp_path / "data" / "dataset.yaml").write_text("scale: 1000\n")
    assert start("check", arguments=[str(tmp_path / "data"), "--output", str(tmp_path / "check")]) == 0
    found = yaml.safe_load((tmp_path / "check" / "check.yaml").read_text("utf-8"))
    assert found["splits"]["train"]["void_pixels"] == 3 * found["splits"]["train"]["images"]
    assert any(note.startswith("Depths of train are 1") and "6.2 % of the pixels" in note for note in found["notes"])
    assert (tmp_path / "check" / "contact_sheet.png").is_file()


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ({}, "nothing says how many of them are a metre"),
        ({"scale": 0}, "key 'scale': expected a positive number"),
        ({"scale": True}, "key 'scale': expected a positive number"),
        ({"scale": 1000, "classes": ["a", "b"]}, "key 'classes': the truth here is depth, no class"),
        ({"scale": 1000, "mask_values": {0: "a"}}, "key 'mask_values' has no effect"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, description: dict[str, Any], told: str) -> None:
    for number in range(5):
        write(tmp_path, f"{number}", number)
    if description:
        (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(DatasetError, match=told):
        open_dataset(str(tmp_path)).train.mask(0)


def test_files_that_hold_no_depths_are_refused(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path, f"{number}", number, "npy")
    dataset = open_dataset(str(tmp_path))
    path = tmp_path / "depth" / f"{dataset.train.identifiers[0]}.npy"
    np.save(path, np.zeros((6, 8, 3)))
    with pytest.raises(DatasetError, match=r"expected numbers of shape \[height, width\], but got float64 \[6, 8, 3\]"):
        dataset.train.mask(0)
    path.write_bytes(b"no array")
    with pytest.raises(DatasetError, match="is no NumPy array of numbers"):
        dataset.train.mask(0)
    np.save(path, np.array([object()]), allow_pickle=True)
    with pytest.raises(DatasetError, match="is no NumPy array of numbers"):
        dataset.train.mask(0)
    np.save(path, np.ones((5, 8)))
    with pytest.raises(DatasetError, match="to have the same size"):
        dataset.train.mask(0)
    (tmp_path / "depth" / "more.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 depth map\(s\) in .* without image of the same stem"):
        open_dataset(str(tmp_path))


@pytest.mark.filterwarnings("ignore:.*is not the whole of NYU Depth V2")
def test_nyu_depth_is_read_as_it_was_published(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (5, 3, 8, 6), dtype=np.uint8)  # as MATLAB writes: columns before rows
    depths = generator.uniform(0.7, 10, (5, 8, 6)).astype(np.float32)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["depths"] = images, depths
    with pytest.raises(DatasetError, match=r"splits.mat is missing"):
        open_dataset(str(tmp_path))
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[3], [1], [5]]), "testNdxs": np.array([[2], [4]])})
    dataset = open_dataset(str(tmp_path))
    assert (dataset.spec.name, dataset.spec.task, dataset.spec.domain) == ("NYU Depth V2", "depth", "indoor")
    assert (dataset.train.identifiers, dataset.test.identifiers) == (("0003", "0001", "0005"), ("0002", "0004"))
    sample = pickle.loads(pickle.dumps(dataset.train))[0]
    assert np.array_equal(sample.image.numpy(), images[2].transpose(0, 2, 1))
    assert np.array_equal(sample.mask.numpy(), depths[2].T)
    assert len(set(content_prefixes(dataset.train))) == 3
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "nyu_depth_v2_labeled.mat").write_bytes(b"no HDF5")
    savemat(tmp_path / "broken" / "splits.mat", {"trainNdxs": [1, 2], "testNdxs": [3, 4]})
    with pytest.raises(DatasetError, match=r"is no MATLAB file of version 7\.3"):
        open_dataset(str(tmp_path / "broken")).train.mask(0)
