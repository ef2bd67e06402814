"""Copies of datasets whose PNG files are stored: the same images, for muster and for everybody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from muster.commands.main import start
from muster.data import content_prefixes, open_dataset
from muster.data.content import prefix_of_bytes
from muster.data.stored_png import BEGINNING, original_of, stored
from muster.errors import DatasetError
from tests.data.layout_writers import describe, make_samples, save, write_voc

RANDOM = np.random.default_rng(0)


def encoded(image: Image.Image, **options: object) -> bytes:
    from io import BytesIO

    file = BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def decoded(content: bytes) -> Image.Image:
    from io import BytesIO

    image = Image.open(BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_pixels_and_chunks_are_the_same(mode: str) -> None:
    channels = {"L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    pixels = RANDOM.integers(0, 256, (9, 14, channels), np.uint8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", "nobody")
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    exif = Image.Exif()
    exif[274] = 6
    content = encoded(image, pnginfo=told, exif=exif, dpi=(72, 72))
    made = stored(content, "0123456789abcdef", "it")
    assert made is not None
    again = decoded(made)
    assert again.mode == mode
    assert np.array_equal(np.array(again), np.array(image))
    assert again.text == {"Author": "nobody"}
    assert again.getexif()[274] == 6
    assert again.getpalette() == decoded(content).getpalette()
    assert original_of(made[:BEGINNING]) == "0123456789abcdef"
    assert original_of(content[:BEGINNING]) is None
    assert stored(made, "f" * 16, "it") is None, "it is stored already"


def test_what_others_change_is_no_longer_the_same() -> None:
    made = stored(encoded(Image.new("RGB", (5, 4), (1, 2, 3))), "0123456789abcdef", "it")
    assert made is not None
    assert original_of(encoded(decoded(made))[:BEGINNING]) is None


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(RANDOM.integers(0, 60000, (4, 5)).astype(np.uint16))),
        encoded(Image.new("1", (9, 3))),
        b"\xff\xd8\xff\xe0 a photograph",
    ],
)
def test_others_are_left_as_they_are(content: bytes) -> None:
    assert stored(content, "0" * 16, "it") is None


def test_what_breaks_off_is_an_error() -> None:
    content = encoded(Image.fromarray(RANDOM.integers(0, 256, (40, 40), np.uint8)))
    for end in (20, 60, len(content) - 20):
        with pytest.raises(DatasetError, match=r"^broken\.png cannot be read"):
            stored(content[:end], "0" * 16, "broken.png")


def test_a_copy_is_the_same_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_voc(tmp_path / "data/voc", make_samples())
    save(tmp_path / "data/voc/more/photo.jpg", np.zeros((4, 4, 3), np.uint8))
    arguments = ["voc", "--data_root", str(tmp_path / "data"), "--output", str(tmp_path / "voc"), "--workers", "2"]
    assert start("convert", arguments=arguments) == 0
    assert "13 PNG files stored" in capsys.readouterr().out
    before, after = open_dataset(str(tmp_path / "data/voc")), open_dataset(str(tmp_path / "voc"))
    for old, new in ((before.train, after.train), (before.test, after.test)):
        assert content_prefixes(new) == content_prefixes(old)
        for one, other in zip(old, new, strict=True):
            assert one.identifier == other.identifier
            assert one.image.equal(other.image)
            assert one.mask.equal(other.mask)
    first = tmp_path / "data/voc/JPEGImages/train_000.png"
    assert content_prefixes(after.train)[0] == prefix_of_bytes(first.read_bytes())
    assert (tmp_path / "voc/more/photo.jpg").samefile(tmp_path / "data/voc/more/photo.jpg")
    (tmp_path / "voc/JPEGImages/train_000.png").unlink()
    assert start("convert", arguments=arguments) == 0, "it goes on where it broke off"
    assert "1 PNG files stored" in capsys.readouterr().out


def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_voc(tmp_path / "voc", make_samples(2, 1))
    describe(tmp_path / "described", root="../voc", reader="voc")
    for words, message in (
        (["worlds/reef", "--output", "out"], "is built in"),
        ([str(tmp_path / "voc"), "--output", str(tmp_path / "voc/fast")], "lies in the dataset"),
        ([str(tmp_path / "described"), "--output", str(tmp_path / "out")], "Convert that folder"),
    ):
        assert start("convert", arguments=words) == 2
        assert message in " ".join(capsys.readouterr().err.split())
