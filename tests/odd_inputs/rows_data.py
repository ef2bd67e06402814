"""Spoilt datasets: descriptions, masks, images and splits, met by each of the three scripts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.odd_inputs.bench import Bench, make_sample
from tests.odd_inputs.case import Case

Commands = Callable[[Bench], Sequence[str]]
Spoil = Callable[[Path], object]

TWO = ["background", "foreground"]


def selecting(spoil: Spoil, **description: Any) -> Commands:
    """``select.py`` for a dataset to which something was done."""

    def make(bench: Bench) -> Sequence[str]:
        spoil(bench.dataset(**description))
        return bench.selecting()

    return make


def training(spoil: Spoil, **description: Any) -> Commands:
    """``train.py`` on a dataset to which something was done."""

    def make(bench: Bench) -> Sequence[str]:
        spoil(bench.dataset(**description))
        return bench.training()

    return make


def finetuning(spoil: Spoil, **description: Any) -> Commands:
    """``finetune.py`` that chooses members first, for a dataset to which something was done."""

    def make(bench: Bench) -> Sequence[str]:
        spoil(bench.dataset(**description))
        chosen = ["--pool", str(bench.stock / "pool"), "--target", "tiny", "--size", "2"]
        return bench.finetuning(*chosen, selection="")

    return make


def fine(_folder: Path) -> None:
    """Spoils nothing: the description is odd enough."""


def each_mask(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], split: str = "*") -> Spoil:
    """Change the values of all masks (of one split)."""

    def spoil(folder: Path) -> None:
        for file in sorted(folder.glob(f"{split}/masks/*.png")):
            Image.fromarray(change(np.array(Image.open(file)))).save(file)

    return spoil


def black_and_white(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """0 and 255."""
    return ((mask > 0) * 255).astype(np.uint8)


def one_pixel_of_each_colour(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Black, red and blue for the three classes."""
    return np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[mask]


def append(file: str, text: str) -> Spoil:
    """Add a text to a file of the dataset."""

    def spoil(folder: Path) -> None:
        with (folder / file).open("a", encoding="utf-8") as opened:
            opened.write(text)

    return spoil


def replace_by(name: str, save: Callable[[Path], object]) -> Spoil:
    """Put something else in the place of one file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        save(folder / name)

    return spoil


def rename(before: str, after: str) -> Spoil:
    """Give a file another name."""
    return lambda folder: (folder / before).rename(folder / after)


def new_image() -> Image.Image:
    """An image of the right size."""
    return Image.fromarray(make_sample(0)[0])


def save_bands(*bands: str, extra: int | None = None, depth: type[np.generic] = np.uint8) -> Callable[[Path], object]:
    """Write an uncompressed TIFF of any number of bands; the file's name may end otherwise.

    Pillow writes no TIFF of 2 or 5 bands, so this states the few tags that one needs.
    """

    def save(path: Path) -> None:
        count = len(bands)
        pixels = np.full((64, 64, count), 7, depth)
        tags = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
        for tag, value in ((256, 64), (257, 64), (259, 1), (262, 2 if count > 2 else 1), (277, count), (278, 64)):
            tags[tag] = value
        tags[258] = (8 * pixels.itemsize,) * count
        surplus = count - (3 if count > 2 else 1)
        if extra is not None and surplus > 0:
            tags[338] = (extra,) * surplus
        if np.issubdtype(depth, np.floating):
            tags[339] = (3,) * count
        tags[273], tags[279] = 0, pixels.nbytes
        tags[273] = 8 + len(tags.tobytes(8))
        header = b"II*\0\x08\0\0\0"
        path.write_bytes(header + tags.tobytes(8) + pixels.tobytes())

    return save


def with_orientation(tag: int, suffix: str = ".jpg") -> Spoil:
    """Every training image gets an EXIF orientation; their masks do not."""

    def spoil(folder: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = tag
        for file in sorted(folder.glob("train/images/*.png")):
            image = Image.open(file)
            image.load()
            file.unlink()
            image.save(file.with_suffix(suffix), exif=exif, quality=95)

    return spoil


def called(name: str) -> Spoil:
    """Give the dataset another name; its folder keeps the old one."""

    def spoil(folder: Path) -> None:
        content = yaml.safe_load((folder / "dataset.yaml").read_text("utf-8"))
        (folder / "dataset.yaml").write_text(yaml.safe_dump(content | {"name": name}), "utf-8")

    return spoil


def pipe(name: str) -> Spoil:
    """A named pipe in the place of a file."""
    return replace_by(name, os.mkfifo)


def listen(path: Path) -> None:
    """Leave a socket behind."""
    home = Path.cwd()
    try:
        os.chdir(path.parent)  # the path of a socket may have about 100 bytes only
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(home)


def flat(*splits: str) -> Spoil:
    """Turn the dataset into one without ``train/`` and ``test/``; then write a splits.yaml, if a text is given."""

    def spoil(folder: Path) -> None:
        (folder / "train/images").rename(folder / "images")
        (folder / "train/masks").rename(folder / "masks")
        (folder / "train").rmdir()
        for text in splits:
            (folder / "splits.yaml").write_text(text, "utf-8")

    return spoil


def described(**changes: Any) -> Commands:
    """``train.py`` on a dataset whose description is odd."""
    return training(fine, **changes)


LOSSY = Image.new("L", (64, 64), 1)
LONG = "n" * 300

DESCRIPTION = [
    Case(
        "a key that is there twice",
        selecting(append("dataset.yaml", "name: other\n")),
        ("dataset.yaml", "'name' is there twice"),
    ),
    Case("a dataset of one class", described(classes=["only"]), ("'classes'", "at least two classes", "'only'")),
    Case("one class, for select.py", selecting(fine, classes=["only"]), ("'classes'", "at least two classes")),
    Case("one class, for finetune.py", finetuning(fine, classes=["only"]), ("'classes'", "at least two classes")),
    Case("a dataset name of 300 letters", training(called(LONG)), ("'name'", "at most 120 bytes", "300")),
    Case(
        "a dataset name of 60 letters in 180 bytes", training(called("庭" * 60)), ("'name'", "at most 120 bytes", "180")
    ),
    Case(
        "an escape sequence in a dataset's name",
        training(called("a\x1b[31mb")),
        ("'name'", "control characters", "U+001B"),
        absent=("\x1b[31m",),
    ),
    Case(
        "a bell in a class name", described(classes=["a\x07", "b", "c"]), ("'classes[0]'", "U+0007"), absent=("\x07",)
    ),
    Case(
        "a class name that is written backwards", described(classes=["a\u202eb", "b", "c"]), ("'classes[0]'", "U+202E")
    ),
    Case(
        "an orientation that is none",
        described(orientation="upright"),
        ("'orientation'", "apply", "ignore", "'upright'"),
    ),
    Case("no probe images", selecting(fine, probe_images=0), ("'probe_images'", "at least 1", "0 (int)")),
    Case("two probe images", selecting(fine, probe_images=2), ("100 probe pixels of 2 training images",), status=0),
    Case(
        "a description nested too deeply",
        selecting(append("dataset.yaml", "notes: " + "[" * 3000)),
        ("dataset.yaml", "nested too deeply"),
    ),
    Case(
        "a date that is none",
        selecting(append("dataset.yaml", "source: 2024-13-45\n")),
        ("dataset.yaml", "cannot be read as YAML"),
    ),
    Case(
        "a description that is a folder",
        selecting(replace_by("dataset.yaml", Path.mkdir)),
        ("dataset.yaml", "it is a folder"),
    ),
    Case("a description that is a named pipe", selecting(pipe("dataset.yaml")), ("dataset.yaml", "it is a named pipe")),
    Case(
        "a description that is a link to itself",
        selecting(replace_by("dataset.yaml", lambda path: path.symlink_to(path.name))),
        ("dataset.yaml", "cannot be read"),
    ),
    Case(
        "a description that is a link to nothing",
        selecting(replace_by("dataset.yaml", lambda path: path.symlink_to("gone"))),
        ("dataset.yaml", "link to a file that is not there"),
    ),
]

VALUES = [
    Case(
        "masks of 0 and 255, for train.py",
        training(each_mask(black_and_white), classes=TWO),
        ("one class only, background", "mask_values: {0: background, 255: foreground}"),
        absent=("1.000",),
    ),
    Case(
        "masks of 0 and 255, for select.py",
        selecting(each_mask(black_and_white), classes=TWO),
        ("one class only, background", "mask_values: {0: background, 255: foreground}"),
        absent=("1.000",),
    ),
    Case(
        "masks of 0 and 255, for finetune.py",
        finetuning(each_mask(black_and_white), classes=TWO),
        ("one class only, background", "mask_values: {0: background, 255: foreground}"),
        absent=("1.000",),
    ),
    Case(
        "masks of 0 and 255 with mask_values",
        selecting(each_mask(black_and_white), classes=TWO, mask_values={0: "background", 255: "foreground"}),
        ("Report: chosen/report.html",),
        status=0,
    ),
    Case(
        "masks of 0 and 255 with three classes",
        selecting(each_mask(black_and_white)),
        ("one class only, ground", "mask_values: {0: ground, 255: sky}"),
    ),
    Case(
        "a named class that ignore_index makes void",
        selecting(fine, ignore_index=0),
        ("No labelled pixel of 1 class(es)", "ground", "ignore_index: 0 makes class ground void"),
        status=0,
    ),
    Case(
        "one of two classes that ignore_index makes void",
        training(each_mask(lambda mask: mask.clip(max=1)), classes=TWO, ignore_index=0),
        ("one class only, foreground", "ignore_index: 0 in dataset.yaml makes class background void"),
    ),
    Case(
        "masks that are all 0, for train.py",
        training(each_mask(np.zeros_like)),
        ("one class only, ground", "wall, sky"),
        absent=("1.000",),
    ),
    Case(
        "masks that are all 0, for select.py",
        selecting(each_mask(np.zeros_like)),
        ("one class only, ground", "wall, sky"),
    ),
    Case(
        "masks that are all 0, for finetune.py",
        finetuning(each_mask(np.zeros_like)),
        ("one class only, ground", "wall, sky"),
        absent=("1.000",),
    ),
    Case(
        "test masks that are all 0",
        finetuning(each_mask(np.zeros_like, "test")),
        ("'test'", "one class only, ground"),
        absent=("1.000",),
    ),
    Case(
        "training masks that are all void, for train.py",
        training(each_mask(lambda mask: mask * 0 + 255, "train")),
        ("split 'train'", "is void"),
    ),
    Case(
        "training masks that are all void, for select.py",
        selecting(each_mask(lambda mask: mask * 0 + 255, "train")),
        ("void",),
    ),
    Case(
        "test masks that are all void",
        training(each_mask(lambda mask: mask * 0 + 255, "test")),
        ("split 'test'", "is void"),
    ),
    Case(
        "a class without a pixel, for train.py",
        training(each_mask(lambda mask: mask.clip(max=1))),
        ("No labelled pixel of 1 class(es)", "sky"),
        status=0,
    ),
    Case(
        "a class without a pixel, for finetune.py",
        finetuning(each_mask(lambda mask: mask.clip(max=1), "test")),
        ("No labelled pixel of 1 class(es)", "'test'", "sky"),
        status=0,
    ),
    Case(
        "a stored value that mask_values do not name",
        selecting(fine, mask_values={0: "ground", 1: "wall"}),
        ("train/masks/0.png", "value(s) 2", "mask_values"),
    ),
    Case(
        "mask_values of an unknown class",
        selecting(fine, mask_values={0: "ground", 1: "wal"}),
        ("'mask_values'", "Unknown class 'wal'", "Did you mean 'wall'?"),
    ),
    Case(
        "mask_values of one class",
        selecting(fine, mask_values={0: "ground", 1: "ground"}),
        ("'mask_values'", "at least two classes"),
    ),
    Case(
        "mask_values against ignore_index",
        selecting(fine, mask_values={0: "ground", 7: "wall"}, ignore_index=7),
        ("'mask_values'", "ignore_index: 7 contradicts it"),
    ),
    Case(
        "mask_values in colours without quotes",
        selecting(append("dataset.yaml", "mask_values:\n  #000000: ground\n  #ff0000: wall\n")),
        ("'mask_values'", "# begins a comment"),
    ),
    Case(
        "mask_values of a value that no mask can hold",
        selecting(fine, mask_values={0: "ground", 70000: "wall"}),
        ("'mask_values'", "0 to 255", "70000"),
    ),
    Case(
        "masks in colours with mask_values",
        selecting(
            each_mask(one_pixel_of_each_colour), mask_values={"#000000": "ground", "#ff0000": "wall", "#0000FF": "sky"}
        ),
        ("Report: chosen/report.html",),
        status=0,
    ),
    Case(
        "a colour that mask_values do not name",
        selecting(each_mask(one_pixel_of_each_colour), mask_values={"#000000": "ground", "#ff0000": "wall"}),
        ("train/masks/0.png", "'#0000ff'", "mask_values"),
    ),
    Case(
        "masks in colours without mask_values",
        selecting(each_mask(one_pixel_of_each_colour)),
        ("train/masks/0.png", "is in colours", "mask_values"),
    ),
]

MASKS = [
    Case(
        "a mask that is a JPEG inside",
        selecting(replace_by("train/masks/0.png", lambda path: LOSSY.save(path, "JPEG"))),
        ("train/masks/0.png", "JPEG file inside", "masks must be PNG"),
    ),
    Case(
        "a mask that is a WebP inside",
        training(replace_by("train/masks/0.png", lambda path: LOSSY.convert("RGB").save(path, "WEBP"))),
        ("train/masks/0.png", "WEBP file inside", "masks must be PNG"),
    ),
    Case(
        "a mask that is a TIFF with a JPEG inside",
        selecting(replace_by("train/masks/0.png", lambda path: LOSSY.save(path, "TIFF", compression="jpeg"))),
        ("train/masks/0.png", "a TIFF with jpeg inside", "values were changed"),
    ),
    Case(
        "a mask with a GIF's name",
        selecting(rename("train/masks/0.png", "train/masks/0.gif")),
        ("masks/0.gif", "must be PNG"),
    ),
    Case(
        "a mask of 16 bits with a value above 255",
        selecting(
            replace_by("train/masks/0.png", lambda path: Image.fromarray(np.full((64, 64), 257, np.uint16)).save(path))
        ),
        ("train/masks/0.png", "value(s) 257", "3 classes (0 to 2)"),
    ),
    Case(
        "masks of 16 bits with sound values",
        selecting(each_mask(lambda mask: mask.astype(np.uint16))),
        ("Report: chosen/report.html",),
        status=0,
    ),
    Case(
        "a mask with transparent colours",
        selecting(
            replace_by("train/masks/0.png", lambda path: Image.new("RGBA", (64, 64)).save(path)),
            mask_values={"#000000": "ground", "#ff0000": "wall"},
        ),
        ("train/masks/0.png", "pixels are transparent"),
    ),
    Case(
        "a mask in several frames",
        selecting(
            replace_by(
                "train/masks/0.png",
                lambda path: LOSSY.save(path, save_all=True, append_images=[Image.new("L", (64, 64))]),
            )
        ),
        ("train/masks/0.png", "2 frames"),
    ),
    Case("a mask that is a named pipe", selecting(pipe("train/masks/0.png")), ("train/masks/0.png", "a named pipe")),
    Case(
        "an empty mask file",
        training(replace_by("test/masks/1.png", Path.touch)),
        ("test/masks/1.png", "the file is empty"),
    ),
    Case(
        "names that differ in capital letters",
        selecting(
            lambda folder: (
                rename("train/masks/0.png", "train/masks/A.png")(folder),
                rename("train/images/0.png", "train/images/a.png")(folder),
            )
        ),
        ("differ in capital letters",),
    ),
]

IMAGES = [
    *(
        Case(
            f"an image of {count} bands",
            selecting(replace_by("train/images/0.png", save_bands(*"abcde"[:count], extra=0))),
            ("train/images/0.png", f"{count} band(s)", "8-bit"),
        )
        for count in (2, 4, 5)
    ),
    Case(
        "an image of 4 bands that does not say what the last is",
        selecting(replace_by("train/images/0.png", save_bands(*"rgbn"))),
        ("train/images/0.png", "4 band(s)"),
    ),
    Case(
        "an image of 4 bands of 16 bits",
        selecting(replace_by("train/images/0.png", save_bands(*"rgba", extra=2, depth=np.uint16))),
        ("train/images/0.png", "4 band(s)", "16-bit"),
    ),
    Case(
        "an image in floating point",
        selecting(replace_by("train/images/0.png", save_bands("g", depth=np.float32))),
        ("train/images/0.png", "32-bit", "floating point"),
    ),
    Case(
        "a TIFF of several pages",
        selecting(
            replace_by(
                "train/images/0.png",
                lambda path: new_image().save(path, "TIFF", save_all=True, append_images=[new_image()]),
            )
        ),
        ("train/images/0.png", "2 pages"),
    ),
    Case(
        "a film among the images",
        selecting(
            replace_by(
                "train/images/0.png",
                lambda path: new_image().save(path, "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64))]),
            )
        ),
        ("train/images/0.png", "2 frames"),
    ),
    Case(
        "a GIF beside a mask",
        selecting(rename("train/images/0.png", "train/images/0.gif")),
        ("images/0.gif", "a kind that is not read"),
        absent=("without image",),
    ),
    Case(
        "a GIF with a PNG's name",
        selecting(replace_by("train/images/0.png", lambda path: new_image().save(path, "GIF"))),
        ("train/images/0.png", "it is a GIF image"),
    ),
    Case(
        "a pointer of Git LFS in place of an image",
        selecting(
            replace_by(
                "train/images/0.png", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n")
            )
        ),
        ("train/images/0.png", "Git LFS pointer"),
    ),
    Case(
        "an image that is a link to nothing",
        training(replace_by("train/images/0.png", lambda path: path.symlink_to("gone.png"))),
        ("train/images/0.png", "a link that leads nowhere"),
    ),
    Case(
        "an image that is a link to itself",
        selecting(replace_by("train/images/0.png", lambda path: path.symlink_to(path.name))),
        ("train/images/0.png", "a link that leads nowhere"),
    ),
    Case(
        "an image that is a device",
        selecting(replace_by("train/images/0.png", lambda path: path.symlink_to("/dev/zero"))),
        ("train/images/0.png", "a device"),
    ),
    Case(
        "an image that is a socket",
        selecting(replace_by("train/images/0.png", listen)),
        ("train/images/0.png", "a socket"),
    ),
    Case(
        "square images that EXIF turns, for select.py",
        selecting(with_orientation(6)),
        ("train/images/0.jpg", "EXIF orientation (6)", "orientation: apply", "orientation: ignore"),
    ),
    Case(
        "images that EXIF turns upside down, for train.py",
        training(with_orientation(3)),
        ("train/images/0.jpg", "EXIF orientation (3)", "orientation: apply"),
    ),
    Case(
        "images that EXIF mirrors, for finetune.py",
        finetuning(with_orientation(2)),
        ("train/images/0.jpg", "EXIF orientation (2)", "orientation: apply"),
    ),
    Case(
        "images that EXIF turns, and masks were drawn upright",
        selecting(with_orientation(6), orientation="apply"),
        ("Report: chosen/report.html",),
        status=0,
    ),
    Case(
        "images that EXIF turns, and masks were drawn as stored",
        selecting(with_orientation(6, ".tif"), orientation="ignore"),
        ("Report: chosen/report.html",),
        status=0,
    ),
]

SPLITS = [
    Case(
        "a split that is there twice",
        selecting(flat("train: ['0', '1']\ntest: ['2']\ntrain: ['3']\n")),
        ("splits.yaml", "'train' is there twice"),
    ),
    Case(
        "a splits.yaml that is a link to nothing",
        selecting(lambda folder: (flat()(folder), (folder / "splits.yaml").symlink_to("gone"))),
        ("splits.yaml", "link to a file that is not there"),
    ),
    Case(
        "a splits.yaml that is a named pipe",
        selecting(lambda folder: (flat()(folder), os.mkfifo(folder / "splits.yaml"))),
        ("splits.yaml", "a named pipe"),
    ),
    Case(
        "an image in both splits",
        training(flat("train: ['0', '1']\ntest: ['1', '2']\n")),
        ("splits.yaml", "in both splits"),
    ),
]


def _config(bench: Bench, text: str) -> list[str]:
    bench.dataset()
    (bench.home / "my.yaml").write_text(text, "utf-8")
    return ["select.py", "--config", "my.yaml"]


def _piped(make: Callable[[Path], object]) -> Commands:
    """A pipe in the place of the configuration."""

    def command(bench: Bench) -> Sequence[str]:
        make(bench.home / "my.yaml")
        return ["select.py", "--config", "my.yaml"]

    return command


def _spoilt_pool(name: str) -> Commands:
    def command(bench: Bench) -> Sequence[str]:
        bench.dataset()
        pipe(name)(bench.pool() / "members/a")
        return bench.selecting(pool="pool")

    return command


def _spoilt_selection(spoil: Spoil) -> Commands:
    def command(bench: Bench) -> Sequence[str]:
        spoil(bench.selection())
        return bench.finetuning(selection="selection")

    return command


def _sampled(bench: Bench) -> Sequence[str]:
    bench.dataset()
    for member in sorted((bench.pool() / "members").iterdir()):
        pipe("source_sample.safetensors")(member)
    return bench.selecting("--metrics", "[otce]", pool="pool")


def _fifo_ensemble(bench: Bench) -> Sequence[str]:
    pipe("ensemble/head.safetensors")(bench.ensemble())
    return bench.predicting(str(bench.dataset() / "train/images"), ensemble="run")


def _predicted(spoil: Spoil, name: str) -> Commands:
    def command(bench: Bench) -> Sequence[str]:
        folder = bench.home / "photos"
        folder.mkdir()
        new_image().save(folder / "fine.png")
        new_image().save(folder / name)
        spoil(folder)
        return bench.predicting("photos")

    return command


OTHER_FILES = [
    Case(
        "a target of 300 letters", lambda bench: bench.selecting(target=LONG), ("There is no dataset folder", LONG[:99])
    ),
    Case("a source sample that is a named pipe", _sampled, ("source_sample.safetensors",)),
    Case("weights of an ensemble that are a named pipe", _fifo_ensemble, ("head.safetensors", "a named pipe")),
    Case(
        "a key twice in a configuration", lambda bench: _config(bench, "size: 2\nsize: 3\n"), ("'size' is there twice",)
    ),
    Case("a configuration that is a named pipe", _piped(os.mkfifo), ("--config", "a named pipe")),
    Case(
        "a key twice in a selection",
        _spoilt_selection(append("selection.yaml", "size: 5\n")),
        ("selection.yaml", "'size' is there twice"),
    ),
    Case(
        "a selection that is a named pipe",
        _spoilt_selection(pipe("selection.yaml")),
        ("selection.yaml", "a named pipe"),
    ),
    Case("weights that are a named pipe", _spoilt_pool("model.safetensors"), ("members/a",)),
    Case("a card that is a named pipe", _spoilt_pool("card.yaml"), ("members/a",)),
    Case(
        "an ensemble that is a named pipe",
        lambda bench: (
            os.mkfifo(bench.home / "run"),
            bench.predicting(str(bench.dataset() / "train/images"), ensemble="run"),
        )[1],
        ("a named pipe",),
    ),
    Case("a GIF among images to predict", _predicted(fine, "a.gif"), ("a.gif", "not read"), status=1),
]

CASES = [*DESCRIPTION, *VALUES, *MASKS, *IMAGES, *SPLITS, *OTHER_FILES]
