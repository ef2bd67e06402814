"""Tiny datasets in the true format, below a path with spaces and letters beyond ASCII."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

CLASSES = ["sky", "road", "tree"]
DESCRIPTION = {"name": "tiny", "domain": "made up", "classes": CLASSES}

Array = np.ndarray[Any, np.dtype[Any]]


def describe(folder: Path, **changes: object) -> None:
    """Write a dataset.yaml; a change to ``...`` leaves the key out."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in (DESCRIPTION | changes).items() if value is not ...}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def make_sample(number: int, height: int = 16, width: int = 24) -> tuple[Array, Array]:
    """Noise in three levels of brightness that tell the class; one void column."""
    generator = np.random.default_rng(number)
    mask = generator.integers(0, 3, (height, width)).astype(np.uint8)
    image = (mask[..., None] * 80 + generator.integers(0, 40, (height, width, 3))).astype(np.uint8)
    mask[:, 0] = 255
    return image, mask


def write_samples(folder: Path, stems: Iterable[str], suffix: str = ".png") -> None:
    """Write images and masks for these stems."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(stems):
        image, mask = make_sample(number)
        Image.fromarray(image).save(folder / "images" / f"{stem}{suffix}")
        Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")


def write_png(path: Path, samples: Array, bits: int) -> None:
    """Write a PNG of any bit depth, grey ``[h, w]`` or RGB ``[h, w, 3]``; Pillow does not write all of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = samples.reshape(samples.shape[0], -1)
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        digits = [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -bits:].ravel() for row in rows]
        packed = [np.packbits(row).tobytes() for row in digits]
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, 2 if samples.ndim == 3 else 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in packed))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


class Tools:
    """The functions above, for tests to take from a fixture."""

    classes = CLASSES
    describe = staticmethod(describe)
    make_sample = staticmethod(make_sample)
    write_samples = staticmethod(write_samples)
    write_png = staticmethod(write_png)


@pytest.fixture
def tools() -> Tools:
    """What writes tiny datasets."""
    return Tools()


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a dataset: three training images and two of validation, unless told otherwise."""

    def write(splits: dict[str, list[str]] | None = None, suffix: str = ".png", **changes: object) -> Path:
        folder = tmp_path / "meine Gärten 庭" / "tiny"
        describe(folder, **changes)
        for name, stems in (splits or {"train": ["b", "a", "c é"], "val": ["x", "y"]}).items():
            write_samples(folder / name, stems, suffix)
        return folder

    return write


@pytest.fixture
def folder(write_folder: Callable[..., Path]) -> Path:
    """A dataset folder without a fault."""
    return write_folder()


@pytest.fixture
def flat_folder(write_folder: Callable[..., Path]) -> Path:
    """A dataset folder without splits, of ten images called 0000 to 0009."""
    return write_folder({".": [f"{number:04}" for number in range(10)]})
