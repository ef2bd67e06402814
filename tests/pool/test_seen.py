"""Which members have seen a target: by the content of images, and by names where nothing else is known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from muster.data import ContentSketch, Dataset, open_dataset
from muster.data.content import prefix_of_text
from muster.errors import PoolError
from muster.pool import CARD, Pool, write_member
from tests.helpers import make_member, make_target

CLASSES = ("ground", "wall", "sky")
"""Those of the target."""


@dataclass(frozen=True)
class Numbered:
    """Content of images that are called by numbers, with a number to begin from."""

    start: int

    def __call__(self, identifier: str) -> str:
        return prefix_of_text(str(self.start + int(identifier)))


def target(name: str = "office", train: int = 100, test: int = 50) -> Dataset:
    """Training images number 0 and on, test images number 1000 and on."""
    made = make_target(name=name)
    numbers = [tuple(str(number) for number in range(count)) for count in (train, test)]
    return replace(
        made,
        train=replace(made.train, identifiers=numbers[0], content=Numbered(0)),
        test=replace(made.test, identifiers=numbers[1], content=Numbered(1000)),
    )


def sketch(dataset: str, *numbers: range) -> ContentSketch:
    """What is remembered of the images with these numbers."""
    return ContentSketch.of(dataset, [prefix_of_text(str(number)) for some in numbers for number in some])


def add(root: Path, name: str, *contents: ContentSketch, classes: Sequence[str] = ("x", "y", "z")) -> None:
    """A member that was trained on these datasets, the last one first."""
    member = make_member(root, name, 0, dataset=contents[0].dataset, classes=3)
    seen = tuple(content.dataset for content in contents)
    card = replace(member.card, contents=contents, seen_datasets=seen, classes=tuple(classes))
    write_member(member.folder, member.load_model(), card, {})


def silently(root: Path, dataset: Dataset) -> tuple[list[str], dict[str, str]]:
    """Candidates and the others, of which nothing is to be told."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        candidates, barred = Pool.open(root).eligible_for(dataset)
    return [member.name for member in candidates], barred


def told(root: Path, dataset: Dataset) -> tuple[list[str], list[str]]:
    """Candidates, and what is told of them."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        candidates, _ = Pool.open(root).eligible_for(dataset)
    return [member.name for member in candidates], [str(each.message) for each in found]


def test_the_same_name_and_content_is_the_target(tmp_path: Path) -> None:
    add(tmp_path, "a", sketch("Office", range(100)))
    add(tmp_path, "b", sketch("elsewhere", range(5000, 5100)))
    assert silently(tmp_path, target()) == (["b"], {"a": "was trained on the target, office"})


def test_a_part_of_the_target_by_the_same_name_is_the_target(tmp_path: Path) -> None:
    """Another version of it: images were added, or taken away."""
    add(tmp_path, "a", sketch("office", range(90, 400)))
    add(tmp_path, "b", sketch("office", range(1040, 1060)))
    assert silently(tmp_path, target()) == ([], dict.fromkeys("ab", "was trained on the target, office"))


def test_the_same_name_and_other_content_stays_a_candidate_and_is_told(tmp_path: Path) -> None:
    add(tmp_path, "a", sketch("office", range(5000, 5100)))
    add(tmp_path, "b", sketch("OFFICE", range(5000, 5100)))
    candidates, messages = told(tmp_path, target())
    assert candidates == ["a", "b"]
    assert len(messages) == 2
    assert "a: trained on another dataset that is called office as well. It shares no file with" in messages[0]


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([range(100)], id="all of it"),
        pytest.param([range(20, 50)], id="a part of it"),
        pytest.param([range(50), range(1000, 1025)], id="with other splits"),
        pytest.param([range(100), range(5000, 5100)], id="half of the source"),
    ],
)
def test_the_same_content_by_another_name_is_the_target(tmp_path: Path, numbers: list[range]) -> None:
    add(tmp_path, "a", sketch("bureau", *numbers))
    candidates, barred = silently(tmp_path, target())
    assert candidates == []
    assert "was trained on the target, office, under the name bureau" in barred["a"]
    count = sum(map(len, numbers))
    assert f"of its {count} training images are images of office" in barred["a"]


def test_what_the_member_started_from_counts_as_well(tmp_path: Path) -> None:
    add(tmp_path, "a", sketch("new", range(5000, 5100)), sketch("bureau", range(100)))
    candidates, barred = silently(tmp_path, target())
    assert candidates == []
    assert "under the name bureau" in barred["a"]


def test_a_target_within_a_large_source_is_told_apart_by_its_labels(tmp_path: Path) -> None:
    large = sketch("large", range(100), range(5000, 8000))
    add(tmp_path, "other-labels", large)
    add(tmp_path, "same-labels", large, classes=CLASSES)
    candidates, messages = told(tmp_path, target())
    assert candidates == ["other-labels"]
    assert len(messages) == 1
    assert messages[0].startswith("other-labels: trained on about ")
    assert "of the 100 training images of office (in large)" in messages[0]


def test_test_images_among_those_of_the_source_are_told_of_all_members_at_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add(tmp_path, name, sketch("elsewhere", range(5000, 5100), range(1000, 1003)))
    add(tmp_path, "c", sketch("further", range(6000, 6100)))
    candidates, messages = told(tmp_path, target())
    assert candidates == ["a", "b", "c"]
    assert len(messages) == 1
    assert messages[0].startswith("a, b: trained on 3 of the 50 test images of office (in elsewhere).")


def test_training_images_among_those_of_the_source_are_told(tmp_path: Path) -> None:
    add(tmp_path, "a", sketch("elsewhere", range(5000, 5100), range(7)))
    candidates, (message,) = told(tmp_path, target())
    assert candidates == ["a"]
    assert message.startswith("a: trained on 7 of the 100 training images of office (in elsewhere)")


def test_cards_from_before_go_by_name_with_a_warning(tmp_path: Path) -> None:
    for name, dataset in (("a", "office"), ("b", "elsewhere")):
        member = make_member(tmp_path, name, 0, dataset=dataset)
        write_member(member.folder, member.load_model(), replace(member.card, contents=()), {})
        path = member.folder / CARD
        text = path.read_text("utf-8")
        assert "contents: []\n" in text
        path.write_text(text.replace("contents: []\n", ""), "utf-8")
    with pytest.warns(UserWarning, match="card.s. of a, b do not say which images"):
        candidates, barred = Pool.open(tmp_path).eligible_for(target())
    assert [member.name for member in candidates] == ["b"]
    assert barred == {"a": "was trained on the target, office"}


def test_a_target_that_does_not_know_its_content_goes_by_name(tmp_path: Path) -> None:
    add(tmp_path, "a", sketch("office", range(5000, 5100)))
    add(tmp_path, "b", sketch("bureau", range(100)))
    assert silently(tmp_path, make_target(name="office")) == (["b"], {"a": "was trained on the target, office"})


def test_a_sketch_that_makes_no_sense_is_an_error_of_the_card(tmp_path: Path) -> None:
    add(tmp_path, "a", sketch("office", range(3)))
    path = tmp_path / "members" / "a" / CARD
    path.write_text(path.read_text("utf-8").replace("images: 3\n", "images: 4\n"), "utf-8")
    with pytest.raises(
        PoolError, match=r"members/a/card\.yaml: contents of 'office': expected 4 prefixes for 4 images"
    ):
        Pool.open(tmp_path)


def test_digits_alone_stay_text_on_a_card(tmp_path: Path) -> None:
    """A prefix of decimal digits only looks like a number to YAML."""
    for text in ("1234567890123456", "0000000000000012", "1234e10000000000", "0000000000000001 0000000000000002"):
        content = ContentSketch("digits", len(text.split()), text)
        add(tmp_path, "a", content)
        assert Pool.open(tmp_path)["a"].card.contents == (content,)


def test_a_world_of_another_size_is_the_same_target(tmp_path: Path) -> None:
    make_member(tmp_path, "large", 0, trained_on=open_dataset("worlds/attic@2000"))
    _, barred = silently(tmp_path, open_dataset("worlds/attic"))
    assert barred == {"large": "was trained on the target, attic"}
    candidates, _ = silently(tmp_path, open_dataset("worlds/office"))
    assert candidates == ["large"]
