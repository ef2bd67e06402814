"""Types in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from muster.expected import find_misfit, in_words, is_list_of_names
from muster.models.adoption import Adoption


@dataclass(frozen=True)
class Part:
    """One of a list."""

    name: str
    size: int | None = None


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (int | Literal["auto"] | None, "a whole number, auto or null"),
        (Path | None, "a path or null"),
        (Literal["a", "b"], "one of a, b"),
        (tuple[str, ...], "a list of names, such as [a, b]"),
        (tuple[float, float], "a list of 2, [a number, a number]"),
        (Sequence[Part], "a list, each a mapping with the keys name, size"),
        (dict[str, int], "a mapping, such as {a: 1}"),
    ],
)
def test_in_words(hint: Any, words: str) -> None:
    assert in_words(hint) == words


@pytest.mark.parametrize(
    ("value", "hint", "key"),
    [
        ("x", int, "k"),
        (True, int, "k"),
        (True, float, "k"),
        (None, str, "k"),
        (["a", 1], tuple[str, ...], "k[1]"),
        ([1], tuple[float, float], "k"),
        ([{"name": "a"}, {"name": "b", "size": "c"}], Sequence[Part], "k[1].size"),
        ([{"nam": "a"}], Sequence[Part], "k[0]"),
        ([3], Sequence[Part], "k[0]"),
        ({"a": "b"}, Mapping[str, int], "k.a"),
        ({"a": [1, "b"]}, dict[str, tuple[int, ...] | None], "k.a[1]"),
    ],
)
def test_the_innermost_misfit_is_found(value: Any, hint: Any, key: str) -> None:
    misfit = find_misfit("k", value, hint)
    assert misfit is not None
    assert misfit.key == key
    assert misfit.sentence.startswith(f"{key}: expected ")


@pytest.mark.parametrize(
    ("value", "hint"),
    [(1, float), ("1e-3", float), (None, int | None), ("a", Path), ([], tuple[str, ...]), ({"a": 1}, dict[str, int])],
)
def test_what_fits(value: Any, hint: Any) -> None:
    assert find_misfit("k", value, hint) is None


def test_lists_of_names() -> None:
    assert is_list_of_names(tuple[str, ...])
    assert is_list_of_names(Sequence[str])
    assert not is_list_of_names(tuple[str, str])
    assert not is_list_of_names(tuple[int, ...])
    assert not is_list_of_names(str)


def test_a_class_that_names_its_keys_is_asked() -> None:
    """The field ``source`` is written as ``from``."""
    assert find_misfit("k", {"name": "a", "from": "smp", "model": "folder"}, Adoption) is None
    misfit = find_misfit("k", {"name": "a", "source": "smp"}, Adoption)
    assert misfit is not None
    assert "a mapping with the keys name, from, model," in misfit.sentence
