"""Tiny copies of published classification datasets in their true layouts, read by the real readers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from muster.data import Dataset, content_prefixes, open_dataset, require_usable
from muster.data.layout import name_layout
from muster.errors import DatasetError
from tests.data.layout_writers import save

PARTIAL = "ignore:.*is not the whole of"


def picture(tone: int) -> np.ndarray:
    """One colour."""
    return np.full((6, 9, 3), tone, np.uint8)


def write_birds(root: Path, classes: dict[str, str], folders: dict[str, str]) -> None:
    """Two images of each class, the first for training; ``folders`` has a number of each class that has images."""
    names = [f"{folder}/bird_{number}" for folder in folders for number in (1, 2)]
    for tone, name in enumerate(names):
        save(root / "images" / f"{name}.jpg", picture(20 * tone))
    lines = {
        "images.txt": [f"{each} {name}.jpg" for each, name in enumerate(names, start=1)],
        "image_class_labels.txt": [f"{each} {folders[name[:-7]]}" for each, name in enumerate(names, start=1)],
        "train_test_split.txt": [f"{each} {each % 2}" for each in range(1, len(names) + 1)],
        "classes.txt": [f"{number} {name}" for number, name in classes.items()],
    }
    for name, content in lines.items():
        (root / name).write_text("\n".join(content) + "\n")


def write_cub(root: Path) -> None:
    """Classes in the order of their numbers, of which 10 comes after 2."""
    classes = {"2": "002.Laysan_Albatross", "10": "010.Red_winged_Blackbird"}
    write_birds(root, classes, {"010.Red_winged_Blackbird": "10", "002.Laysan_Albatross": "2"})


def write_nabirds(root: Path) -> None:
    """Groups have numbers too; two classes have one name."""
    root.mkdir(parents=True)
    (root / "hierarchy.txt").write_text("295 0\n296 0\n")
    classes = {"0": "Birds", "295": "Common Eider (Male)", "296": "Common Eider (Male)"}
    write_birds(root, classes, {"0295": "295", "0296": "296"})


def write_pets(root: Path) -> None:
    """Breeds of two words; a comment."""
    lists = {
        "trainval": ["great_pyrenees_1 2 2 1", "Abyssinian_10 1 1 1"],
        "test": ["Abyssinian_2 1 1 1", "great_pyrenees_30 2 2 1"],
    }
    for split, lines in lists.items():
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / f"annotations/{split}.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(lines) + "\n")
        for tone, line in enumerate(lines):
            save(root / "images" / f"{line.split()[0]}.jpg", picture(50 + 10 * tone + len(line)))


def write_cifar(root: Path) -> None:
    """Two records a file; red, then green, then blue."""
    root.mkdir(parents=True)
    (root / "batches.meta.txt").write_text("airplane\nbird\n\n")
    for number, name in enumerate([*(f"data_batch_{each}" for each in range(1, 6)), "test_batch"]):
        records = [bytes([1]) + bytes([number]) * 3072, bytes([0]) + bytes([7, 8, 9 + number]) * 1024]
        (root / f"{name}.bin").write_bytes(b"".join(records))


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "CUB-200-2011": ("cub200", write_cub),
    "NABirds": ("cub200", write_nabirds),
    "Oxford-IIIT Pets": ("oxford_pets", write_pets),
    "CIFAR-10": ("cifar10", write_cifar),
}
EXPECTED = {
    "CUB-200-2011": (
        ("002.Laysan_Albatross", "010.Red_winged_Blackbird"),
        {"010.Red_winged_Blackbird/bird_1": 1, "002.Laysan_Albatross/bird_1": 0},
        {"010.Red_winged_Blackbird/bird_2": 1, "002.Laysan_Albatross/bird_2": 0},
    ),
    "NABirds": (
        ("Common Eider (Male) (295)", "Common Eider (Male) (296)"),
        {"0295/bird_1": 0, "0296/bird_1": 1},
        {"0295/bird_2": 0, "0296/bird_2": 1},
    ),
    "Oxford-IIIT Pets": (
        ("Abyssinian", "great_pyrenees"),
        {"great_pyrenees_1": 1, "Abyssinian_10": 0},
        {"Abyssinian_2": 0, "great_pyrenees_30": 1},
    ),
    "CIFAR-10": (
        ("airplane", "bird"),
        {f"data_batch_{batch}/{number:05}": 1 - number for batch in range(1, 6) for number in range(2)},
        {"test_batch/00000": 1, "test_batch/00001": 0},
    ),
}


def opened(root: Path) -> Dataset:
    return open_dataset(str(root))


@pytest.mark.parametrize("title", WRITERS)
def test_a_copy_in_the_true_layout_is_read(title: str, tmp_path: Path) -> None:
    reader, write = WRITERS[title]
    write(tmp_path / "copy")
    assert name_layout(tmp_path / "copy") == reader
    with pytest.warns(UserWarning, match=rf"is not the whole of {title}: it has .* of \d+ \(train\)"):
        dataset = opened(tmp_path / "copy")
    classes, *labels = EXPECTED[title]
    assert (dataset.spec.name, dataset.spec.task, dataset.spec.classes) == (title, "classification", classes)
    assert all((dataset.spec.domain, dataset.spec.source, dataset.spec.licence, dataset.spec.citation))
    for split, wanted in zip((dataset.train, dataset.test), labels, strict=True):
        again = pickle.loads(pickle.dumps(split))
        assert dict(zip(again.identifiers, (sample.mask.item() for sample in again), strict=True)) == wanted
        assert len(set(content_prefixes(split))) == len(split)
        require_usable(split)


@pytest.mark.filterwarnings(PARTIAL)
def test_channels_of_cifar_are_planes(tmp_path: Path) -> None:
    write_cifar(tmp_path / "copy")
    image = opened(tmp_path / "copy").test[1].image
    plain = torch.tensor([7, 8, 14], dtype=torch.uint8).repeat(1024)
    assert torch.equal(image, plain.reshape(3, 32, 32))


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "batches.meta").write_bytes(b"")
    with pytest.raises(DatasetError, match="CIFAR-10 as pickles, and expected is its binary version"):
        opened(tmp_path)


@pytest.mark.filterwarnings(PARTIAL)
@pytest.mark.parametrize(
    ("title", "name", "content", "message"),
    [
        ("CUB-200-2011", "classes.txt", "2 a\n", r"classes\.txt: no class has the number 10"),
        (
            "CUB-200-2011",
            "train_test_split.txt",
            "1 1\n",
            r"images\.txt, line 2: train_test_split\.txt does not name it",
        ),
        (
            "CUB-200-2011",
            "images.txt",
            "1 x.jpg\n1 y.jpg\n",
            r"images\.txt, line 2: 1 is there twice: also at .*line 1",
        ),
        ("CUB-200-2011", "images.txt", "1\n", r"images\.txt, line 1: expected 2 values"),
        ("CUB-200-2011", "images.txt", "1 x.jpg\n", r"1 of the 1 images .* are missing, e\.g\. .*x\.jpg .*line 1"),
        ("Oxford-IIIT Pets", "annotations/test.txt", "a_1 1 1 1\n", r"test\.txt, line 1: breed 1 is 'Abyssinian'"),
        ("Oxford-IIIT Pets", "annotations/test.txt", "Abyssinian_10 1 1 1\n", r"'Abyssinian_10' is in trainval"),
        ("Oxford-IIIT Pets", "annotations/test.txt", "Abyssinian_10 one 1 1\n", r"line 1: expected a whole number"),
        ("CIFAR-10", "data_batch_3.bin", "abc", r"data_batch_3\.bin: expected records of 3073 bytes, but it has 3"),
        ("CIFAR-10", "data_batch_3.bin", "\x02" + "x" * 3072, r"data_batch_3\.bin: record 0 has class 2 of 2"),
        ("CIFAR-10", "dataset.yaml", "classes: [bird, airplane]", r"leave 'classes' out"),
    ],
)
def test_what_is_damaged_is_named(title: str, name: str, content: str, message: str, tmp_path: Path) -> None:
    WRITERS[title][1](tmp_path / "copy")
    (tmp_path / "copy" / name).write_text(content)
    with pytest.raises(DatasetError, match=message):
        opened(tmp_path / "copy")


def test_more_classes_than_a_mask_could_hold(tmp_path: Path) -> None:
    for number in range(300):
        for split in ("train", "test"):
            (tmp_path / f"{split}{number}.png").touch()
    for split in ("train", "test"):
        lines = [f"{split}{number}.png,{number:03}" for number in range(300)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["image,label", *lines]))
    dataset = opened(tmp_path)
    assert (dataset.spec.num_classes, dataset.test.mask(299).item()) == (300, 299)
