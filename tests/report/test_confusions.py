from __future__ import annotations

import numpy as np
import pytest

from muster.report.confusions import confusion_context, largest_confusions

CONFUSION = ((6, 2, 0), (1, 3, 4), (0, 0, 0))
"""Eight pixels of the first class, eight of the second, none of the third."""


def test_by_hand() -> None:
    found = largest_confusions(CONFUSION, ("road", "car", "tree"))
    assert [(pair.truth, pair.prediction, pair.of_class, pair.of_all) for pair in found] == [
        ("car", "tree", 0.5, 0.25),
        ("road", "car", 0.25, 0.125),
        ("car", "road", 0.125, 0.0625),
    ]


def test_a_rare_class_counts_as_much_as_a_frequent_one() -> None:
    found = largest_confusions(((9000, 1000), (8, 2)), ("sky", "bird"), count=1)
    assert (found[0].truth, found[0].of_class) == ("bird", 0.8)


def test_nothing_wrong_is_nothing_to_list() -> None:
    assert largest_confusions(((5, 0), (0, 7)), ("a", "b")) == []


def test_table_has_per_cent_of_the_class() -> None:
    rows = confusion_context(CONFUSION, ("road", "car", "tree"))["confusion_rows"]
    assert isinstance(rows, list)
    assert [[cell.text for cell in cells] for _, cells in rows] == [["75", "25", ""], ["12", "38", "50"], ["", "", ""]]
    assert [label for label, _ in rows] == ["road", "car", "tree"]


@pytest.mark.parametrize(("classes", "first"), [(14, "class 0"), (15, "1"), (40, "1")])
def test_columns_of_many_classes_are_numbered(classes: int, first: str) -> None:
    counts = np.eye(classes, dtype=int).tolist()
    context = confusion_context(counts, [f"class {index}" for index in range(classes)])
    columns, rows = context["confusion_columns"], context["confusion_rows"]
    assert isinstance(columns, list)
    assert isinstance(rows, list)
    assert columns[0] == first
    assert rows[0][0] == ("class 0" if first == "class 0" else "1 class 0")
    assert len(rows) == len(rows[0][1]) == classes


def test_equal_confusions_keep_the_order_of_the_classes() -> None:
    counts = np.ones((150, 150), dtype=int).tolist()
    found = largest_confusions(counts, [str(index) for index in range(150)], count=3)
    assert [(pair.truth, pair.prediction) for pair in found] == [("0", "1"), ("0", "2"), ("0", "3")]


def test_without_a_matrix_nothing_is_drawn() -> None:
    assert not any(confusion_context((), ("a", "b")).values())
