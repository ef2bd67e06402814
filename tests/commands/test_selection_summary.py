from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from muster.commands.selection_summary import print_selection
from muster.search import Selection
from muster.search.selection import SizeStep
from tests.report.made_up import listing_only, make_pool, make_selection

SEARCHED = {"search": "beam", "guarantee": "Not all ensembles were scored."}


def said(selection: Selection) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        print_selection(selection, make_pool(), Path("folder"), console, chosen_size=False)
    return capture.get()


@pytest.mark.parametrize(
    ("selection", "listed"),
    [
        (make_selection(), "the best of all 10 candidates, "),
        (make_selection(size=5), "the only candidate of its size."),
        (listing_only(make_selection(), 1), "the only candidate within the limits."),
        (listing_only(make_selection(), 4), "the best of the 4 candidates within the limits, "),
        (listing_only(make_selection(), 1, **SEARCHED), "the only candidate that beam search found."),
        (listing_only(make_selection(), 4, **SEARCHED), "of the 4 leading candidates that beam search found, "),
    ],
)
def test_says_what_the_chosen_ensemble_was_compared_with(selection: Selection, listed: str) -> None:
    assert listed in said(selection)


def test_an_interrupted_search_is_said() -> None:
    assert "The search was interrupted." in said(replace(make_selection(), interrupted=True))
    assert "interrupted" not in said(make_selection())


@pytest.mark.parametrize(
    ("cost", "unit", "shown"),
    [
        (0.04, "seconds", "40 ms"),
        (0.0123456, "seconds", "12.3 ms"),
        (0.99996, "seconds", "1.0 s"),
        (1.6, "seconds", "1.6 s"),
        (1_020_000.0, "parameters", "1.02 M"),
    ],
)
def test_cost_of_a_size_has_its_unit(cost: float, unit: str, shown: str) -> None:
    selection = make_selection()
    step = SizeStep(3, selection.members, 0.5, cost)
    assert shown in said(replace(selection, sizes=(step,), cost_unit=unit))
