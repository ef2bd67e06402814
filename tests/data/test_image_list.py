"""Lists of images with their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.data import Dataset, content_prefixes, open_dataset, require_usable
from muster.data.layout import name_layout
from muster.errors import DatasetError
from tests.data.test_image_folders import write

TRAIN = 'label,image,note\ncat,photos/pets/0.png,\ndog,"photos/pets/1.png",two\n\ncat,photos/pets/2.png,\n'
TEST = "image,label\nphotos/pets/3.png,dog\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images to train with and one to test with."""
    write(tmp_path, "photos", "pets", 5, 40)
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    return tmp_path


def opened(root: Path) -> Dataset:
    return open_dataset(str(root))


def test_a_list_says_the_classes(root: Path) -> None:
    assert name_layout(root) == "image_list"
    dataset = opened(root)
    assert (dataset.spec.task, dataset.spec.classes) == ("classification", ("cat", "dog"))
    assert dataset.train.identifiers == ("photos/pets/0.png", "photos/pets/1.png", "photos/pets/2.png")
    assert [dataset.train.mask(index).item() for index in range(3)] == [0, 1, 0]
    sample = dataset.test[0]
    assert (sample.mask.tolist(), tuple(sample.image.shape), int(sample.image[0, 0, 0])) == ([[1]], (3, 8, 13), 43)
    assert len({*content_prefixes(dataset.train), *content_prefixes(dataset.test)}) == 4
    require_usable(dataset.train)


def test_without_a_test_list_some_are_held_out(root: Path) -> None:
    (root / "test.csv").unlink()
    with pytest.warns(UserWarning, match="A list of images in .* has no test split"):
        dataset = opened(root)
    assert (len(dataset.train), len(dataset.test)) == (2, 1)


def test_a_description_names_lists_and_classes(root: Path) -> None:
    (root / "test.csv").rename(root / "held.csv")
    (root / "dataset.yaml").write_text("classes: [dog, cat]\nsplits: {test: held.csv}\n")
    assert opened(root).test.mask(0).tolist() == [[0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", TRAIN + "bird,photos/pets/9.png,\n", r"train\.csv, line 6: there is no image .*9\.png"),
        ("train.csv", TRAIN + "cat,photos/pets/0.png,\n", r"train\.csv, line 6: .*is there twice: also at .*line 2"),
        ("train.csv", TRAIN + ",photos/pets/3.png,\n", r"train\.csv, line 6: .*label is empty"),
        ("train.csv", TRAIN + "cat\n", r"train\.csv, line 6: .*image is empty"),
        ("test.csv", TEST + "photos/pets/4.png,dgo\n", r"test\.csv, line 3: .*'dgo'.*Did you mean 'dog'"),
        ("test.csv", TEST + "photos/./pets/1.png,dog\n", r"test\.csv, line 3: .*in the training list too: .*line 3"),
        ("test.csv", "image,label\n", r"empty split"),
        ("test.csv", "file,label\n", r"test\.csv: expected the columns image and label .* but image is not among file"),
        ("train.csv", "image,labels\n0.png,cat;dog\n", r"train\.csv: the column 'labels' means several classes"),
        ("train.csv", 'image,label\n0.png,"cat\n', r"train\.csv, line 2: unexpected end of data"),
        ("train.csv", b"image,label\n\xff,cat\n", r"train\.csv is not in UTF-8"),
    ],
)
def test_wrong_lines_are_named(root: Path, name: str, content: str | bytes, message: str) -> None:
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message):
        opened(root)


def test_a_class_without_an_image_is_told_in_words_of_images(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"has labelled images of one class only, dog.*labelled image: cat\.$"):
        require_usable(opened(root).test)
    (root / "dataset.yaml").write_text("classes: [cat, dog, bird]\n")
    with pytest.warns(
        UserWarning, match=r"No labelled image of 1 class.*: bird\. No result says anything about them\.$"
    ):
        require_usable(opened(root).train)
