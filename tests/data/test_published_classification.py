"""Tiny copies of published classification datasets in their true layouts, read by the real readers."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.io import savemat

from muster.commands.main import start
from muster.data import LAYOUTS, Dataset, content_prefixes, open_dataset, require_usable
from muster.data.layout import look_at, name_layout
from muster.data.layouts.caltech101 import TRAINING_IMAGES
from muster.data.published import FOLDER, Published, all_published, read_published
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
    root.mkdir(parents=True, exist_ok=True)
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
    root.mkdir(parents=True, exist_ok=True)
    (root / "batches.meta.txt").write_text("airplane\nbird\n\n")
    for number, name in enumerate([*(f"data_batch_{each}" for each in range(1, 6)), "test_batch"]):
        records = [bytes([1]) + bytes([number]) * 3072, bytes([0]) + bytes([7, 8, 9 + number]) * 1024]
        (root / f"{name}.bin").write_bytes(b"".join(records))


def write_dogs(root: Path, lists: str = "lists") -> None:
    """Lists as MATLAB's cells, classes numbered in another order than their folders."""
    rows = {
        "train": (["n02085936-Maltese_dog/n02085936_1.jpg", "n02085620-Chihuahua/n02085620_7.jpg"], [2, 1]),
        "test": (["n02085620-Chihuahua/n02085620_3.jpg", "n02085936-Maltese_dog/n02085936_2.jpg"], [1, 2]),
    }
    for split, (files, labels) in rows.items():
        for tone, file in enumerate(files):
            save(root / "Images" / file, picture(20 * tone + len(split)))
        cells = np.array(files, dtype=object)[:, None]
        (root / lists).mkdir(exist_ok=True)
        savemat(root / lists / f"{split}_list.mat", {"file_list": cells, "labels": np.array(labels, float)[:, None]})


def write_flowers(root: Path) -> None:
    """Classes 5 and 77, each with an image in every list."""
    for number in range(1, 7):
        save(root / f"jpg/image_{number:05}.jpg", picture(30 * number))
    savemat(root / "imagelabels.mat", {"labels": np.array([[77, 5, 77, 5, 5, 77]], np.uint8)})
    savemat(root / "setid.mat", {"trnid": np.array([[2, 3]]), "valid": np.array([[1, 4]]), "tstid": np.array([[6, 5]])})


def write_caltech(root: Path) -> None:
    """Two classes of three and two images, and the one that is none."""
    for name, count in (("accordion", 3), ("ant", 2), ("BACKGROUND_Google", 4)):
        for number in range(1, count + 1):
            file = root / "101_ObjectCategories" / name / f"image_{number:04}.jpg"
            save(file, picture(40 * number + 10 * (name == "ant")))


SYNSETS = {"n01440764": 2, "n01443537": 1}
VALIDATION = ("n01443537", "n01440764", "n01443537")


def write_imagenet_images(root: Path) -> None:
    for tone, name in enumerate(SYNSETS):
        picture_of(root / "train" / name / f"{name}_{7 + tone}.JPEG", 30 * tone)
    for row in range(1, len(VALIDATION) + 1):
        picture_of(root / "val" / f"ILSVRC2012_val_{row:08}.JPEG", 100 + 10 * row)


def picture_of(file: Path, tone: int) -> None:
    """Its ending is in capital letters."""
    save(file.with_suffix(".jpg"), picture(tone))
    file.with_suffix(".jpg").rename(file)


def write_imagenet(root: Path) -> None:
    """With the development kit: numbers in another order than the names, and a class of classes."""
    write_imagenet_images(root)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, name, "words", 0) for name, number in SYNSETS.items()] + [(1001, "n02512938", "fish", 2)]
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    savemat(kit / "meta.mat", {"synsets": np.array(rows, dtype=kinds)[:, None]})
    lines = "".join(f"{SYNSETS[name]}\n" for name in VALIDATION)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)


def write_imagenet_of_kaggle(root: Path) -> None:
    """With its list, in another order than the names."""
    write_imagenet_images(root / "ILSVRC" / "Data" / "CLS-LOC")
    lines = [f"ILSVRC2012_val_{row:08},{name} 1 2 3 4 {name} 5 6 7 8 " for row, name in enumerate(VALIDATION, start=1)]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(lines)]) + "\n")


def write_imagenet_folders(root: Path) -> None:
    """As scripts sort it: folders in val/ too."""
    write_imagenet_images(root)
    for row, name in enumerate(VALIDATION, start=1):
        (root / "val" / name).mkdir(exist_ok=True)
        (root / "val" / f"ILSVRC2012_val_{row:08}.JPEG").rename(root / "val" / name / f"{row}.JPEG")


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "CUB-200-2011": ("cub200", write_cub),
    "NABirds": ("cub200", write_nabirds),
    "Oxford-IIIT Pets": ("oxford_pets", write_pets),
    "CIFAR-10": ("cifar10", write_cifar),
    "Stanford Dogs": ("stanford_dogs", write_dogs),
    "Caltech-101": ("caltech101", write_caltech),
    "Flowers102": ("flowers102", write_flowers),
    "ImageNet": ("imagenet", write_imagenet),
    "ImageNet of Kaggle": ("imagenet", write_imagenet_of_kaggle),
    "ImageNet in folders": ("image_folders", write_imagenet_folders),
}
_IMAGENET = ({"n01440764/n01440764_7": 0, "n01443537/n01443537_8": 1},
             {f"ILSVRC2012_val_{row:08}": label for row, label in ((1, 1), (2, 0), (3, 1))})  # fmt: skip
EXPECTED = {
    "Flowers102": (
        ("5", "77"),
        {"image_00002": 0, "image_00003": 1, "image_00001": 1, "image_00004": 0},
        {"image_00006": 1, "image_00005": 0},
    ),
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
    "Stanford Dogs": (
        ("Chihuahua", "Maltese_dog"),
        {"n02085936-Maltese_dog/n02085936_1": 1, "n02085620-Chihuahua/n02085620_7": 0},
        {"n02085620-Chihuahua/n02085620_3": 0, "n02085936-Maltese_dog/n02085936_2": 1},
    ),
    "Caltech-101": (
        ("accordion", "ant"),
        {"accordion/image_0001": 0, "ant/image_0001": 1},
        {"accordion/image_0002": 0, "accordion/image_0003": 0, "ant/image_0002": 1},
    ),
    "ImageNet": (tuple(SYNSETS), *_IMAGENET),
    "ImageNet of Kaggle": (tuple(SYNSETS), *_IMAGENET),
    "ImageNet in folders": (tuple(SYNSETS), _IMAGENET[0], {"n01440764/2": 0, "n01443537/1": 1, "n01443537/3": 1}),
}


def opened(root: Path) -> Dataset:
    return open_dataset(str(root))


@pytest.mark.parametrize("title", WRITERS)
def test_a_copy_in_the_true_layout_is_read(title: str, tmp_path: Path) -> None:
    reader, write = WRITERS[title]
    (tmp_path / "copy").mkdir()
    write(tmp_path / "copy")
    assert name_layout(tmp_path / "copy") == reader
    name = title.partition(" of ")[0].partition(" in ")[0]
    with pytest.warns(UserWarning, match=rf"is not the whole of {name}: it has .* of \d+ \(train\).* is to be had at"):
        dataset = opened(tmp_path / "copy")
    classes, *labels = EXPECTED[title]
    assert (dataset.spec.name, dataset.spec.task, dataset.spec.classes) == (name, "classification", classes)
    assert all((dataset.spec.domain, dataset.spec.source, dataset.spec.licence, dataset.spec.citation))
    for split, wanted in zip((dataset.train, dataset.test), labels, strict=True):
        again = pickle.loads(pickle.dumps(split))
        assert dict(zip(again.identifiers, (sample.mask.item() for sample in again), strict=True)) == wanted
        assert len(set(content_prefixes(split))) == len(split)
        require_usable(split)


def test_wrong_lists_of_dogs_are_named(tmp_path: Path) -> None:
    write_dogs(tmp_path)
    path, files = tmp_path / "lists" / "test_list.mat", ["a-b/1.jpg", "a-b/2.jpg"]
    cells = np.array(files, dtype=object)[:, None]
    for content, message in (
        ({"labels": [[1.0]]}, r"test_list\.mat: expected the variable file_list, but it holds labels"),
        ({"file_list": cells, "labels": [[1.0]]}, r"as many labels as files, but got 1 for 2"),
        ({"file_list": cells, "labels": [[1.0], [0.5]]}, r"row 1: class 1 is 'n02085620-Chihuahua' elsewhere"),
        (
            {"file_list": cells, "labels": [[3.0], [0.5]]},
            r"row 2: expected the number of a class, from 1, but got 0\.5",
        ),
        ({"file_list": [[1.0], [2.0]], "labels": [[3.0], [3.0]]}, r"row 1: expected FOLDER/IMAGE, but got 1\.0"),
        ({"file_list": cells, "labels": [[3.0], [3.0]]}, r"2 of the 2 images that .*test_list\.mat name are missing"),
    ):
        savemat(path, content)
        with pytest.raises(DatasetError, match=message):
            opened(tmp_path)


@pytest.mark.filterwarnings(PARTIAL)
def test_thirty_images_of_each_class_are_for_training(tmp_path: Path) -> None:
    for name, count in (("ant", 40), ("bass", TRAINING_IMAGES + 1), ("chair", TRAINING_IMAGES)):
        for number in range(count):
            file = tmp_path / "101_ObjectCategories" / name / f"image_{number:04}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    dataset = opened(tmp_path)
    counts = [[sum(each.startswith(name) for each in split.identifiers) for name in ("ant", "bass", "chair")]
              for split in (dataset.train, dataset.test)]  # fmt: skip
    assert counts == [[30, 30, 15], [10, 1, 15]]
    assert opened(tmp_path).train.identifiers == dataset.train.identifiers


def test_every_file_of_facts_can_be_read() -> None:
    """And says of which layouts it is, all of which there are."""
    assert len({each.name for each in all_published()}) == len(list(FOLDER.glob("*.yaml"))) > 8
    for each in all_published():
        assert set(each.readers) <= set(LAYOUTS.names())
        assert all((each.domain, each.source, each.get, each.licence, each.citation))
        # Another reading of a folder that is told already; lists of texts, and boxes, in folders that look like others.
        named = {"cityscapes33", "scannet20", "carer", "ag_news", "tweeteval_sentiment"}
        named |= {"coco_detection", "coco_keypoints", "voc2007_detection"}
        assert each.told_by or each.key in named
        assert set(each.unverified) <= {"classes", "num_classes", "counts", "licence"}


@pytest.mark.parametrize("published", all_published(), ids=lambda each: each.key)
def test_facts_name_a_second_source_or_that_there_is_none(published: Published) -> None:
    """Of classes (their number, where the copy names them), of numbers of images, and of the licence."""
    classes = "classes" if "classes" in published.dataset else "num_classes"
    told = {*published.checked, *published.unverified}
    assert {classes, "counts", "licence"} <= told
    assert all(re.search(r"[\w.-]+/[\w.-]*|A22|M21|et al", source) for source in published.checked.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": None}, r"facts\.yaml: missing counts"),
        ({"counts": {"train": 3}}, r"counts: expected train and test, but got train"),
        ({"licens": "none"}, r"facts\.yaml: .*'licens'.*Did you mean 'licence'"),
        ({"num_classes": "ten"}, r"facts\.yaml: num_classes: expected a whole number, but got 'ten'"),
    ],
)
def test_facts_are_checked(change: dict[str, object], message: str, tmp_path: Path) -> None:
    content = yaml.safe_load((FOLDER / "cifar10.yaml").read_text("utf-8"))
    content = {key: value for key, value in {**content, **change}.items() if value is not None}
    (tmp_path / "facts.yaml").write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(DatasetError, match=message):
        read_published(tmp_path / "facts.yaml")


@pytest.mark.filterwarnings(PARTIAL)
def test_a_check_compares_a_copy_with_what_was_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "copy").mkdir()
    write_dogs(tmp_path / "copy")
    assert start("check", arguments=[str(tmp_path / "copy"), "--output", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "This copy is not the whole of Stanford Dogs: it has 2 of 120 (classes), 2 of 12000 (train)" in printed
    assert "vision.stanford.edu/aditya86/ImageNetDogs/: images.tar and lists.tar." in printed
    assert "No second source was found for: licence" in printed
    found = yaml.safe_load((tmp_path / "out" / "check.yaml").read_text("utf-8"))["published"]
    assert (found["name"], found["missing"][2]) == ("Stanford Dogs", "2 of 8580 (test)")
    write_birds(tmp_path / "mine", {"1": "a", "2": "b"}, {"a": "1", "b": "2"})
    (tmp_path / "mine/classes.txt").rename(tmp_path / "mine/names.txt")
    assert look_at(tmp_path / "mine", "cub200")[1].published is None


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
        ("Stanford Dogs", "lists/test_list.mat", "abc", r"test_list\.mat is no MATLAB file of a version up to 7"),
        ("Stanford Dogs", "dataset.yaml", "classes: [a, b]", r"leave 'classes' out: the lists say them"),
        ("Caltech-101", "101_ObjectCategories/bass/image_0001.jpg", "", r"bass: expected at least 2 images.*got 1"),
        ("ImageNet", "ILSVRC2012_devkit_t12/data/meta.mat", "", r"meta\.mat is no MATLAB file"),
        ("Flowers102", "setid.mat", "abc", r"setid\.mat is no MATLAB file .*102flowers\.tgz"),
        (
            "ImageNet",
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            "1\n1001\n",
            r"ground_truth\.txt, line 2: .*meta\.mat knows no class of the number 1001",
        ),
        (
            "ImageNet",
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            "1\n" * 4,
            r"1 of the 4 images that lists in .* missing, e\.g\. .*00000004\.JPEG .*ImageNet is to be had at https",
        ),
        (
            "ImageNet of Kaggle",
            "LOC_val_solution.csv",
            "ImageId\n",
            r"expected the columns ImageId and PredictionString",
        ),
        (
            "ImageNet of Kaggle",
            "LOC_val_solution.csv",
            "ImageId,PredictionString\nx,n99 1 2 3 4\n",
            r"line 2: class n99 has no folder in train/",
        ),
        ("ImageNet of Kaggle", "LOC_val_solution.csv", "ImageId,PredictionString\nx,\n", r"line 2: expected the name"),
    ],
)
def test_what_is_damaged_is_named(title: str, name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    WRITERS[title][1](tmp_path / "copy")
    (tmp_path / "copy" / name).parent.mkdir(exist_ok=True)
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


def write_saved(root: Path, test: list[int], **more: list[int]) -> None:
    """A set of whole images, saved by the library itself."""
    import datasets
    from PIL import Image

    kinds = {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    kinds |= {name: datasets.ClassLabel(names=["pet", "toy"]) for name in more}
    sets = {
        name: datasets.Dataset.from_dict(
            {
                "img": [Image.fromarray(picture(start + 30 * number)) for number in range(len(labels))],
                "label": labels,
                **{column: values[: len(labels)] for column, values in more.items()},
            },
            features=datasets.Features(kinds),
        )
        for name, start, labels in (("train", 0, [1, 0, 1]), ("test", 130, test))
    }
    datasets.DatasetDict(sets).save_to_disk(root)


def test_a_saved_set_of_whole_images(tmp_path: Path) -> None:
    write_saved(tmp_path / "two", [0, 1], label_coarse=[1, 0, 0])
    dataset = opened(tmp_path / "two")
    assert (dataset.spec.task, dataset.spec.classes) == ("classification", ("cat", "dog"))
    assert [dataset.train.mask(index).item() for index in range(3)] == [1, 0, 1]
    sample = pickle.loads(pickle.dumps(dataset.test))[1]
    assert (sample.mask.tolist(), sample.image.unique().tolist()) == ([[1]], [160])
    require_usable(dataset.test)
    (tmp_path / "two" / "dataset.yaml").write_text("columns: {label: label_coarse}\nsplits: seeded\n")
    coarse = opened(tmp_path / "two")
    assert coarse.spec.classes == ("pet", "toy")
    held = {**dict.fromkeys(coarse.train.identifiers, 0), **dict.fromkeys(coarse.test.identifiers, 1)}
    assert sorted(held) == [f"{number:07}" for number in range(3)]
    assert sum(held.values()) == 1
    truth = {
        name: split.mask(at).item()
        for split in (coarse.train, coarse.test)
        for at, name in enumerate(split.identifiers)
    }
    assert truth == {"0000000": 1, "0000001": 0, "0000002": 0}
    (tmp_path / "two" / "dataset.yaml").write_text("columns: {label: colour}\n")
    with pytest.raises(DatasetError, match="not clear which column has the class of an image: label, label_coarse"):
        opened(tmp_path / "two")


def test_a_saved_set_without_labels_is_refused(tmp_path: Path) -> None:
    write_saved(tmp_path / "one", [-1, -1])
    with pytest.raises(
        DatasetError, match=r"column 'label' of row 0 in .*test is -1, but expected a class from 0 to 1"
    ):
        opened(tmp_path / "one")


def write_parquet(root: Path, labels: dict[str, list[object]], kind: object, files: int = 2) -> None:
    """What a hub has, by the library itself: several files a set, and more than one row group in each."""
    import datasets
    from PIL import Image

    (root / "data").mkdir(parents=True)
    for begin, (name, values) in enumerate(labels.items()):
        pixels = [Image.fromarray(picture(100 * begin + 9 * number)) for number in range(len(values))]
        columns = {"image": pixels, "label": values}
        whole = datasets.Dataset.from_dict(
            columns, features=datasets.Features({"image": datasets.Image(), "label": kind})
        )
        for number in range(files):
            part = whole.shard(files, number, contiguous=True)
            part.to_parquet(root / "data" / f"{name}-{number:05}-of-{files:05}.parquet", batch_size=2)


def test_parquet_files_of_a_hub_are_read(tmp_path: Path) -> None:
    import datasets

    labels: dict[str, list[object]] = {"train": [1, 0, 1, 1, 0, 0, 1], "validation": [0, 1]}
    write_parquet(tmp_path, labels, datasets.ClassLabel(names=["cat", "dog"]))
    assert name_layout(tmp_path) == "huggingface"
    dataset = opened(tmp_path)
    assert (dataset.spec.task, dataset.spec.classes) == ("classification", ("cat", "dog"))
    for begin, (split, wanted) in enumerate(zip((dataset.train, dataset.test), labels.values(), strict=True)):
        again = pickle.loads(pickle.dumps(split))
        assert [sample.mask.item() for sample in again] == wanted
        order = (*range(len(wanted)), *reversed(range(len(wanted))))
        assert [again[at].image.unique().tolist() for at in order] == [[100 * begin + 9 * at] for at in order]
        assert len(set(content_prefixes(split))) == len(split)
    (tmp_path / "data/train-00001-of-00002.parquet").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 2 files of the set 'train' are missing, e\.g\. number 1"):
        opened(tmp_path)
    (tmp_path / "data/train-00001-of-00002.parquet").write_bytes(b"abc")
    with pytest.raises(DatasetError, match=r"train-00001-of-00002\.parquet is no Parquet file"):
        opened(tmp_path)


def test_parquet_files_with_lists_of_classes(tmp_path: Path) -> None:
    import datasets

    kind = datasets.Sequence(datasets.ClassLabel(names=["cat", "dog", "owl"]))
    write_parquet(tmp_path, {"train": [[0, 2], [], [1]], "test": [[2]]}, kind, files=1)
    dataset = opened(tmp_path)
    assert dataset.spec.task == "multilabel"
    assert [sample.mask.flatten().tolist() for sample in dataset.train] == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    (tmp_path / "dataset.yaml").write_text("splits: {train: test, test: trian}\n")
    with pytest.raises(DatasetError, match=r"'trian'.*Did you mean 'train'"):
        opened(tmp_path)


def test_parquet_files_that_do_not_say_what_they_hold_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [b"x"], "label": [0]}), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(DatasetError, match=r"train-00000-of-00001\.parquet does not say what its columns are"):
        opened(tmp_path)
