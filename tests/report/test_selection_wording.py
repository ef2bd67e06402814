"""The sentences of a selection, made from its numbers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from muster.report.wording import confidence_sentence, interruption_line, search_sentence, size_sentence
from muster.search import SearchStatus
from muster.selection import Selection
from muster.selection.record_parts import BootstrapConfidence, SizeStep
from tests.report.made_up import listing_only, make_selection


def searched(listed: int = 4, metric: str = "soft_iou_eep", **status: Any) -> str:
    selection = listing_only(make_selection(), listed)
    return search_sentence(replace(selection, metric=metric, score=0.5, search=SearchStatus(**status)))


def test_an_exhaustive_search_needs_no_words() -> None:
    assert search_sentence(make_selection()) == ""


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            {"strategy": "beam", "candidates": 35, "evaluated": 1234},
            "Not all ensembles were scored (1,234 sets were): nothing is promised of how far it is from the best.",
        ),
        (
            {"strategy": "racing", "candidates": 35, "evaluated": 35, "dropped": 20, "confidence": 0.95},
            (
                "Not all ensembles were scored (35 sets were): with confidence 0.95 (normal approximation) the best of "
                "the 35 candidates on these pixels: the other 20 fell too far behind on a random part of them. Other "
                "images may differ."
            ),
        ),
        (
            {"strategy": "racing", "candidates": 35, "evaluated": 35, "optimality": "proven", "bound": 0.5},
            (
                "The best of the 35 candidates: all were scored on all pixels. No ensemble of this size scores above "
                "0.5000."
            ),
        ),
        (
            {"strategy": "beam", "candidates": 10, "evaluated": 8, "optimality": "bounded", "bound": 0.75},
            (
                "Not all ensembles were scored (8 sets were): at most 0.2500 below the SoftIoU-EEP of the best 3 of "
                "the 5 members. No ensemble of this size scores above 0.7500."
            ),
        ),
        (
            {"strategy": "racing", "candidates": 9, "evaluated": 4, "completeness": "interrupted", "fraction": 0.25},
            (
                "The search was interrupted (4 sets were looked at): of how far these ensembles are from the best "
                "nothing is promised."
            ),
        ),
        (
            {"strategy": "greedy", "candidates": 9, "evaluated": 4, "completeness": "interrupted", "bound": 0.4},
            (
                "The search was interrupted (4 sets were looked at): of how far these ensembles are from the best only "
                "a bound is known. No ensemble of this size scores above 0.4000."
            ),
        ),
    ],
)
def test_what_a_search_vouches_for(status: dict[str, Any], told: str) -> None:
    assert searched(**status) == told


def test_the_best_of_a_sum_is_known() -> None:
    proven: dict[str, Any] = {"strategy": "greedy", "candidates": 10, "evaluated": 5, "optimality": "proven"}
    told = searched(metric="base", **proven)
    assert told.startswith("The best ensemble of this size: base of an ensemble is the sum over its members, and these")
    assert told.endswith("Of the others only those that differ in one member were scored.")
    assert searched(metric="ms_leep", listed=1, **proven).endswith("and these have the largest.")


def test_interruptions_on_one_line() -> None:
    selection = make_selection()
    assert interruption_line(selection) == ""
    assert interruption_line(replace(selection, interrupted=True)).startswith("The search was interrupted. It gives")
    half = interruption_line(replace(selection, interrupted=True, fraction=0.5))
    assert half == "Interrupted: the scores rest on a random 50 % of the probe pixels."


def test_who_is_best_otherwise() -> None:
    assert confidence_sentence(None) == ""
    confidence = BootstrapConfidence(0.01, -0.1, 0.1, 0.95, 40, 7, (0.25, 0.75, 0.0))
    assert confidence_sentence(confidence) == (
        "The chosen ensemble is ahead of the best of 2 other candidates by 0.01; over 40 resamples of the 7 probe "
        "images, 95 % of its margins lie between -0.1 and 0.1, and it is best in 25 % of them (candidate 2 in 75 %): "
        "other images could have put another candidate first."
    )
    clear = confidence_sentence(replace(confidence, low=0.005, selection_frequency=(1.0, 0.0)))
    assert "the one other candidate" in clear
    assert clear.endswith("it is best in 100 % of them: a clear lead.")


def sized(scores: list[float], size: int, costs: list[float] | None = None, **changes: Any) -> Selection:
    total = costs or [10.0 * place for place in range(1, len(scores) + 1)]
    steps = [
        SizeStep(place, ("a",) * place, *row) for place, row in enumerate(zip(scores, total, strict=True), start=1)
    ]
    return replace(make_selection(), size=size, sizes=tuple(steps), least_gain=0.02, **changes)


def test_reasons_of_a_size() -> None:
    assert size_sentence(make_selection()) == ""
    assert size_sentence(sized([0.5, 0.6, 0.65, 0.655], 3)) == (
        "3 members: they score 30.0 % better than the best single member, at 3 times its parameters. "
        "4 members would add 1.0 % of its score for another 1 times its parameters, which should add 2.0 %."
    )
    assert size_sentence(sized([0.5, 0.505], 1, cost_unit="seconds")) == (
        "1 member: 2 members would add 1.0 % of its score for another 1 times its inference time, "
        "which should add 2.0 %."
    )
    assert size_sentence(sized([0.5, 0.49], 1)) == (
        "1 member: 2 members would lose 2.0 % of its score for another 1 times its parameters."
    )
    assert size_sentence(sized([0.5, 0.5], 1)) == (
        "1 member: 2 members would add nothing for another 1 times its parameters."
    )
    assert size_sentence(sized([0.5, 0.6], 2)) == (
        "2 members: they score 20.0 % better than the best single member, at 2 times its parameters. "
        "This is the largest size that was looked at; a larger one might still be worth its cost."
    )
    assert size_sentence(sized([0.5], 1)) == "1 member: no other size was looked at."
    assert "infinitely better" in size_sentence(sized([0.0, 0.1], 2))
    assert "at 0.5 times its parameters" in size_sentence(sized([0.5, 0.501], 2, [100.0, 50.0]))


def test_why_no_larger_size_was_looked_at() -> None:
    assert size_sentence(sized([0.5, 0.6], 2, sizes_end="budget")).endswith(
        " No ensemble of 3 keeps within the budget."
    )
    assert size_sentence(sized([0.5, 0.6], 2, sizes_end="interrupted")).endswith(
        " Ctrl-C came before all ensembles of 3 were scored."
    )
