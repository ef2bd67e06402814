"""Every spec of a published segmentation dataset: its true form on disk is told, and read by the real reader."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

from muster.commands.main import start
from muster.data import open_dataset
from muster.data.dataset_yaml import read_description, read_heading
from muster.data.layout import look_at
from muster.data.published import Published, all_published, published_named, read_published
from muster.errors import DatasetError
from tests.data.layout_writers import describe, save
from tests.data.spec_writers import VOID, WRITERS, put_image, put_values, write_cityscapes_19, write_cityscapes_33

SPECS = {each.key: each for each in all_published() if each.task == "segmentation"}
ROOT = Path(__file__).parents[2]
PARTIAL = "ignore:.*is not the whole of"

A22 = {
    "pascal_context": 60, "pascal_voc": 22, "ade20k": 150, "coco_panoptic": 134, "kitti": 30, "camvid": 23,
    "cityscapes33": 33, "idd": 35, "bdd100k": 20, "mapillary_vistas": 66, "isprs": 6, "isaid": 16, "sun_rgbd": 37,
    "scannet": 41, "suim": 8, "vkitti2": 9, "vgallery": 8,
}  # fmt: skip
"""Numbers of classes of A22, table 2."""


def reference(published: Published, folder: Path) -> str:
    """What opens a copy: one that nothing tells is named."""
    return str(folder) if published.told_by else f"{folder}:{published.key}"


def test_every_spec_has_a_writer() -> None:
    assert set(WRITERS) == set(SPECS)


@pytest.mark.parametrize("key", sorted(set(SPECS) & set(A22)))
def test_numbers_of_classes_are_those_of_the_paper(key: str) -> None:
    published = published_named(key)
    assert published.num_classes == A22[key]
    assert published.crop_size is not None
    assert set(published.statistics) == {"mean", "std"}


@pytest.mark.parametrize("published", SPECS.values(), ids=list(SPECS))
def test_facts_are_sound_without_data(published: Published, tmp_path: Path) -> None:
    """Read by the code that reads ``dataset.yaml``."""
    if "colour_map" in published.dataset:
        pytest.skip("its classes are in a file of the copy")
    described = read_description(read_heading(tmp_path, str(published.path)), {})
    assert described.spec.num_classes == published.num_classes
    assert described.spec.probe_images == published.probe_images


@pytest.mark.filterwarnings(PARTIAL)
@pytest.mark.parametrize("published", SPECS.values(), ids=list(SPECS))
def test_a_tiny_copy_comes_back(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "a copy"
    wanted = WRITERS[published.key](folder)
    dataset = open_dataset(reference(published, folder))
    assert dataset.published == published
    assert (dataset.spec.name, dataset.spec.num_classes) == (published.name, published.num_classes)
    for split in (dataset.train, dataset.test):
        again = pickle.loads(pickle.dumps(split))
        found = {sample.identifier: sample.mask.tolist() for sample in again}
        assert found == {name: [list(row) for row in rows] for name, rows in wanted[split.name].items()}
    assert len(open_dataset(dataset.reference).train) == len(dataset.train)


@pytest.mark.filterwarnings(PARTIAL)
def test_torchvision_reads_the_same_masks_of_cityscapes(tmp_path: Path) -> None:
    from torchvision.datasets import Cityscapes

    write_cityscapes_19(tmp_path)
    ours, theirs = open_dataset(str(tmp_path)).train, Cityscapes(str(tmp_path), "train", target_type="semantic")
    table = {each.id: each.train_id if each.train_id >= 0 else VOID for each in Cityscapes.classes}
    names = {each.train_id: each.name for each in Cityscapes.classes if 0 <= each.train_id < VOID}
    assert ours.spec.classes == tuple(names[index] for index in range(19))
    found = {
        Path(path).name.removesuffix("_leftImg8bit.png"): np.vectorize(table.get)(np.array(mask))
        for path, (_, mask) in zip(theirs.images, theirs, strict=True)
    }
    assert set(found) == {name.rpartition("/")[2] for name in ours.identifiers}
    for sample in ours:
        assert np.array_equal(found[sample.identifier.rpartition("/")[2]], sample.mask.numpy())


def mine(path: Path, **more: object) -> Path:
    """A file of facts of one's own, of a dataset in folders that nothing recognises."""
    content = {
        "name": "Mine", "readers": ["patterns"], "told_by": ["left"], "task": "segmentation", "domain": "made up",
        "num_classes": 2, "counts": {"train": 1, "test": 1}, "source": "here", "get": "all", "licence": "none",
        "citation": "none",
        "dataset": {
            "classes": ["a", "b"],
            "mask_values": {7: "a", 9: "b"},
            "splits": {
                "train": {"images": "left/*.png", "masks": "right/*.png"},
                "test": {"images": "low/*.png", "masks": "deep/*.png"},
            },
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content | more))
    return path


def write_mine(folder: Path) -> None:
    for images, masks in (("left", "right"), ("low", "deep")):
        put_image(folder / images / f"{images}.png", [[7, 9]])
        put_values(folder / masks / f"{images}.png", [[7, 9]])


def test_a_dataset_of_ones_own_needs_a_file_and_no_code(tmp_path: Path) -> None:
    spec = mine(tmp_path / "mine.yaml")
    write_mine(tmp_path / "data")
    dataset = open_dataset(f"{tmp_path / 'data'}:{spec}")
    assert dataset.train[0].mask.tolist() == [[0, 1]]
    assert dataset.reference == f"{tmp_path / 'data'}:{spec}"
    assert open_dataset(dataset.reference).spec == dataset.spec
    describe(tmp_path / "data", spec="../mine.yaml", name="ours", classes=["b", "a"])
    named = open_dataset("data", tmp_path)
    assert (named.spec.name, named.train[0].mask.tolist()) == ("ours", [[1, 0]])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_classes": 3}, r"mine\.yaml: num_classes is 3, but 2 classes are named"),
        ({"dataset": {"clases": ["a", "b"]}}, r"mine\.yaml: .*'clases'.*Did you mean 'classes'"),
        ({"dataset": {"classes": ["a", "b"], "mask_values": {7: "c"}}}, r"mine\.yaml: key 'mask_values': 7: .*'c'"),
        ({"dataset": {"classes": ["a", "b"], "sequences": "x"}}, r"mine\.yaml: key 'sequences': .*brackets"),
        ({"dataset": {"classes": ["a", "b"], "splits": {"train": {"masks": "x"}}}}, r"'splits\.train': .*images"),
        ({"crop_size": [0, 5]}, r"mine\.yaml: crop_size: expected rows and columns, but got \[0, 5\]"),
        ({"statistics": {"mean": [0.5, 0.5, 0.5]}}, r"statistics: expected mean and std, but got mean"),
        ({"unverified": ["license"]}, r"unverified name license, which is no key"),
        ({"checked": {"counts": "a/b"}, "unverified": ["counts"]}, r"counts: expected under checked or unverified"),
        ({"readers": []}, r"Mine \(mine\.yaml\) is not read so far"),
        ({"readers": ["voc"]}, r"Mine \(mine\.yaml\) is read as voc, not as patterns"),
    ],
)
def test_a_wrong_file_is_named(more: dict[str, object], message: str, tmp_path: Path) -> None:
    spec = mine(tmp_path / "mine.yaml", **more)
    write_mine(tmp_path / "data")
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"{tmp_path / 'data'}:{spec}", reader="patterns")


def test_a_dataset_that_is_not_there_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset folder 'cityscapes'.*gtFine_trainvaltest\.zip"):
        open_dataset("cityscapes", tmp_path)
    with pytest.raises(DatasetError, match=r"no dataset folder 'x'.*data_semantics\.zip"):
        open_dataset("x:kitti", tmp_path)
    (tmp_path / "x").mkdir()
    with pytest.raises(DatasetError, match=r"'kiti'.*Did you mean 'kitti'"):
        open_dataset("x:kiti", tmp_path)


@pytest.mark.filterwarnings(PARTIAL)
def test_a_folder_may_be_read_in_two_ways(tmp_path: Path) -> None:
    wanted = write_cityscapes_33(tmp_path / "city")
    dataset = open_dataset("city:cityscapes33", tmp_path)
    assert dataset.train[0].mask.tolist() == next(iter(wanted["train"].values()))
    assert open_dataset("city", tmp_path).spec.num_classes == 19
    some = open_dataset("city:cityscapes33#1", tmp_path)
    assert some.reference == f"{tmp_path / 'city'}:cityscapes33#1"
    assert 1 < some.spec.num_classes < 33
    describe(tmp_path / "named", spec="cityscapes33", root="../city")
    assert look_at(tmp_path / "named")[1].published == published_named("cityscapes33")


@pytest.mark.filterwarnings(PARTIAL)
def test_train_ids_are_not_taken_for_ids(tmp_path: Path) -> None:
    """Where the scripts' train ids are alone, 19 classes are read of them, and 33 are not there."""
    write_cityscapes_19(tmp_path)
    for path in sorted(tmp_path.rglob("*_labelIds.png")):
        put_values(path.with_name(path.name.replace("labelIds", "labelTrainIds")), [[255, 255, 0, 1], [255, 6, 18, 10]])
        path.unlink()
    assert open_dataset(str(tmp_path)).train[0].mask.tolist() == [[255, 255, 0, 1], [255, 6, 18, 10]]
    with pytest.raises(DatasetError, match=r"without mask.*gtFine_trainvaltest\.zip"):
        open_dataset(f"{tmp_path}:cityscapes33")


@pytest.mark.filterwarnings(PARTIAL)
def test_a_check_finds_what_is_wrong_with_a_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong size, a value that means nothing, a mask that breaks off, too few images; and then one is missing."""
    folder = tmp_path / "cityscapes"
    write_cityscapes_19(folder)
    masks = folder / "gtFine/train/aachen"
    noise = np.random.default_rng(0).integers(7, 9, (32, 32))
    for number, rows, size in ((1, [[7, 8]], (2, 4)), (2, [[7, 8, 7, 77], [7, 7, 7, 7]], (2, 4)), (3, noise, (32, 32))):
        put_image(folder / f"leftImg8bit/train/aachen/aachen_{number}_leftImg8bit.png", np.zeros(size).tolist())
        put_values(masks / f"aachen_{number}_gtFine_labelIds.png", rows)
    cut = masks / "aachen_3_gtFine_labelIds.png"
    cut.write_bytes(cut.read_bytes()[:120])
    arguments = ["cityscapes", "--data_root", str(tmp_path), "--output"]
    assert start("check", arguments=[*arguments, str(tmp_path / "out")]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "This copy is not the whole of Cityscapes: it has 5 of 2975 (train), 1 of 500 (test)" in printed
    assert "https://www.cityscapes-dataset.com: leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip" in printed
    found = yaml.safe_load((tmp_path / "out" / "check.yaml").read_text("utf-8"))
    assert (found["usable"], found["published"]["name"]) == (False, "Cityscapes")
    faults = {"aachen_1_": "same size", "aachen_2_": "value(s) 77 (1 pixels)", "aachen_3_": "cannot be read"}
    for problem, (name, fault) in zip(found["problems"], faults.items(), strict=True):
        assert name in problem
        assert fault in problem
    cut.unlink()
    assert start("check", arguments=[*arguments, str(tmp_path / "again")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "1 image(s)" in told
    assert "without mask" in told
    assert "aachen_3_leftImg8bit.png" in told
    assert "gtFine_trainvaltest.zip" in told


def test_own_splits_never_cut_a_sequence(tmp_path: Path) -> None:
    films = {"a": 3, "b": 9, "c": 4, "d": 4}
    names = [f"{film}_{number}" for film, count in films.items() for number in range(count)]
    for number, name in enumerate(names):
        save(tmp_path / f"images/{name}.png", np.full((2, 2, 3), number, np.uint8))
        put_values(tmp_path / f"masks/{name}.png", [[0, 1], [1, 0]])
    describe(tmp_path, name="films", domain="made up", classes=["x", "y"], sequences="([a-z])_")
    dataset = open_dataset(str(tmp_path))
    for kept, held in ((dataset.train, dataset.test), *(dataset.train.hold_out(0.2, seed) for seed in range(8))):
        films_kept, films_held = ({name[0] for name in split.identifiers} for split in (kept, held))
        assert films_kept
        assert films_held
        assert not films_kept & films_held
        assert {film: sum(name[0] == film for name in held.identifiers) for film in films_held} == {
            film: films[film] for film in films_held
        }


def test_the_only_sequence_is_cut_aloud(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"train/images/a_{number}.png", np.full((2, 2, 3), number, np.uint8))
        put_values(tmp_path / f"train/masks/a_{number}.png", [[0, 1], [1, 0]])
    save(tmp_path / "test/images/b_0.png", np.full((2, 2, 3), 9, np.uint8))
    put_values(tmp_path / "test/masks/b_0.png", [[0, 1], [1, 0]])
    describe(tmp_path, name="films", domain="made up", classes=["x", "y"], sequences="([a-z])_")
    with pytest.warns(UserWarning, match="are of one sequence"):
        kept, held = open_dataset(str(tmp_path)).train.hold_out(0.25, 0)
    assert (len(kept), len(held)) == (3, 1)


def test_the_docs_show_every_spec() -> None:
    """Rows of the table in docs/data.md, in the order of the names."""
    rows = [
        f"| `{each.key}` | {each.name} | {each.num_classes} | {each.counts['train']} / {each.counts['test']} | "
        f"{each.split_note} |"
        for each in SPECS.values()
    ]
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    shown = page.partition("| name | dataset | classes |")[2].partition("\n\n")[0].splitlines()[2:]
    assert shown == rows, "\n" + "\n".join(rows)


def test_every_file_says_all_that_is_needed() -> None:
    for each in all_published():
        assert read_published(each.path) == each
