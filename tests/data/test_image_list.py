"""Lists of images with their classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
        (
            "train.csv",
            "image,labels\n0.png,cat;dog\n",
            r"train\.csv has labels \(several .*test\.csv has label \(one\)",
        ),
        ("train.csv", "image,labels,label\n0.png,a,a\n", r"train\.csv: expected a column label .* but both are there"),
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


SEVERAL = "image,labels,unknown\nphotos/pets/0.png, dog;cat ,\nphotos/pets/1.png,,bird ; cat\nphotos/pets/2.png,bird,\n"


@pytest.fixture
def several(root: Path) -> Path:
    """The same images with several classes each."""
    (root / "train.csv").write_text(SEVERAL)
    (root / "test.csv").write_text("image,labels\nphotos/pets/3.png,cat;bird\nphotos/pets/4.png,\n")
    return root


def test_an_image_can_have_several_classes_and_none(several: Path) -> None:
    assert name_layout(several) == "image_list"
    dataset = opened(several)
    assert (dataset.spec.task, dataset.spec.classes) == ("multilabel", ("bird", "cat", "dog"))
    truths = [sample.mask for sample in (*dataset.train, *dataset.test)]
    assert all(truth.dtype == torch.uint8 for truth in truths)
    assert [truth.flatten().tolist() for truth in truths] == [[0, 1, 1], [255, 255, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert torch.equal(dataset.train.mask(1), truths[1])
    (several / "test.csv").unlink()
    (several / "dataset.yaml").write_text("splits: seeded\nclasses: [dog, cat, bird]\n")
    seeded = opened(several)
    assert sorted((*seeded.train.identifiers, *seeded.test.identifiers)) == [f"photos/pets/{n}.png" for n in range(3)]
    assert seeded.spec.classes == ("dog", "cat", "bird")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SEVERAL + "photos/pets/4.png,cat;dgo,\n", r"train\.csv, line 5: .*'dgo'"),
        (SEVERAL + "photos/pets/4.png,cat,bidr\n", r"train\.csv, line 5: .*'bidr'.*Did you mean 'bird'"),
        (SEVERAL + "photos/pets/4.png,cat,cat\n", r"train\.csv, line 5: 'cat' is both in labels and in unknown"),
        (SEVERAL + "photos/pets/4.png\n", r"train\.csv, line 5: expected an image and its label, but labels is empty"),
        ("image,labels\nphotos/pets/0.png,\n", r"key 'classes'|classes"),
        ("image,labels\nphotos/pets/0.png,cat\n", r"only 'cat': .*Add images of other classes\."),
    ],
)
def test_wrong_lines_of_several_classes_are_named(several: Path, content: str, message: str) -> None:
    (several / "train.csv").write_text(content)
    if "dgo" in message:
        (several / "dataset.yaml").write_text("classes: [dog, cat, bird]\n")
    with pytest.raises(DatasetError, match=message):
        opened(several)


def test_a_class_with_a_semicolon_is_refused(several: Path) -> None:
    (several / "dataset.yaml").write_text("classes: [dog, cat, 'bird; big']\n")
    with pytest.raises(DatasetError, match="'bird; big' has a semicolon"):
        opened(several)
