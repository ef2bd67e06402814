"""Some of the classes of another dataset, for every task that has classes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from muster.data import VOID, Dataset, Sample, Split, content_prefixes, open_dataset
from muster.data.class_subset import class_subset, draw_classes
from muster.errors import DatasetError
from tests.odd_inputs.bench import write_dataset


def described(folder: Path, **content: object) -> Dataset:
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"reader": "class_subset", **content}))
    return open_dataset(str(folder))


def test_shares_are_those_of_the_paper_and_every_class_is_drawn() -> None:
    drawn = [draw_classes(100, None, seed) for seed in range(50)]
    counts = sorted(map(len, drawn))
    assert 40 <= counts[0] < 50 < 90 < counts[-1] <= 100
    assert {place for each in drawn for place in each} == set(range(100))
    assert len(set(drawn)) == 50
    assert [len(draw_classes(10, share, 0)) for share in (0.01, 0.6, 1.0)] == [2, 6, 10]


def test_whole_images_of_some_classes_by_a_folder_and_by_a_reference(tmp_path: Path) -> None:
    whole, found = open_dataset("scenes/places"), described(tmp_path / "some", of="scenes/places", seed=3)
    same = open_dataset("scenes/places#3")
    assert same.reference == "scenes/places#3"
    assert found.spec == replace(same.spec, source=found.spec.source)
    assert found.train.identifiers == same.train.identifiers
    assert found.spec.name == "scenes_places_classes3"
    for ours, theirs in ((found.train, whole.train), (found.test, whole.test)):
        kept = {name: theirs.spec.classes[int(theirs.mask_of(name))] for name in theirs.identifiers}
        kept = {name: label for name, label in kept.items() if label in found.spec.classes}
        assert dict.fromkeys(ours.identifiers) == dict.fromkeys(kept)  # all of them
        assert [ours.spec.classes[int(ours.mask(place))] for place in range(len(ours))] == list(kept.values())
    assert torch.equal(found.train[0].mask, found.train.mask(0))
    assert set(content_prefixes(found.train)) <= set(content_prefixes(whole.train))
    assert len(described(tmp_path / "half", of="scenes/places", share=0.5, seed=3).spec.classes) == 6


def test_other_classes_are_void_in_masks(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "tiny", images=5, tests=2, size=24)
    whole, found = open_dataset(str(folder)), described(tmp_path / "two", of="../tiny", share=0.5)
    first, second = (whole.spec.classes.index(name) for name in found.spec.classes)
    assert len(found.spec.classes) == 2
    for name in whole.train.identifiers:
        truth = whole.train.mask_of(name)
        expected = torch.full_like(truth, VOID)
        expected[truth == first], expected[truth == second] = 0, 1
        if bool((expected != VOID).any()):
            assert torch.equal(found.train.mask_of(name), expected)
        else:
            assert name not in found.train.identifiers
    assert open_dataset(f"{folder}#7").spec.name == "tiny_classes7"


TRUTHS = {"a": [1, 0, 0], "b": [0, 255, 1], "c": [0, 1, 0]}


def read(identifier: str) -> Sample:
    truth = torch.tensor(TRUTHS[identifier], dtype=torch.uint8)[:, None]
    return Sample(identifier, torch.zeros(3, 8, 8, dtype=torch.uint8), truth)


def test_images_with_several_classes_keep_those_rows() -> None:
    spec = replace(open_dataset("scenes/rooms").spec, classes=("x", "y", "z"), task="multilabel")
    split = Split(spec, "train", ("a", "b", "c"), read)
    some = class_subset(Dataset(spec, split, split, "many"), replace(spec, classes=("x", "z")), "many#0")
    assert some.train.identifiers == ("a", "b")
    assert some.train.mask(1)[:, 0].tolist() == [0, 1]
    assert torch.equal(pickle.loads(pickle.dumps(some.train)).mask(1), some.train.mask(1))
    with pytest.raises(DatasetError, match=r"'scenes_rooms' cannot be taken: it is for depth, whose truths cannot"):
        class_subset(Dataset(replace(spec, task="depth"), split, split, "many"), spec, "many#0")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "missing 'of'"),
        ({"of": "scenes/places", "share": 1.5}, "'share'.* a share above 0, at most 1"),
        ({"of": "scenes/places", "seed": -1}, "'seed'.* a whole number from 0"),
        ({"of": "scenes/places", "classes": ["reef", "trench"]}, "'classes'.* nothing, as they are drawn"),
        ({"of": "scenes/places", "min_pixels": 3}, "'min_pixels' has no effect"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path: Path, said: dict[str, object], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        described(tmp_path / "some", **said)
