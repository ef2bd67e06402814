from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from muster.report.diagnostics import agreement, diagnose, label_entropy, occurrence, top_count
from muster.report.wording import warning_of
from muster.scoring import Ranking, list_candidates


def test_entropy_of_a_probe_set_by_hand() -> None:
    # Image 0 holds one class; image 1 both, 3 pixels of class 0 (4 in all) and 1 of class 1 (1 in all):
    # weights 3/4 and 1, so its shares are 3/7 and 4/7, and the probe set's are 10/14 and 4/14.
    expected = -(10 / 14) * math.log(10 / 14) - (4 / 14) * math.log(4 / 14)
    assert label_entropy(np.array([[1, 0], [3, 1]])) == pytest.approx(expected, abs=1e-12)


def test_entropy_skips_void_images_and_absent_classes() -> None:
    assert label_entropy(np.array([[0, 0, 0], [5, 5, 0]])) == pytest.approx(math.log(2))
    assert label_entropy(np.zeros((3, 2), dtype=np.int64)) == 0
    assert label_entropy(np.array([[7, 0]])) == 0


def test_occurrence_counts_the_best_candidates_only() -> None:
    rows = list_candidates(7, 2)
    scores = np.where((rows == 0).any(axis=1), 1.0, 0.0)  # six candidates hold member 0
    ranking = Ranking(rows, {"m": scores})
    often = occurrence(ranking, ranking.order("m"), list("abcdefg"))
    assert top_count(len(rows)) == 10
    assert often["a"] == 0.6
    assert sum(often.values()) == pytest.approx(2)


@pytest.mark.parametrize(("candidates", "count"), [(3, 3), (364, 10), (5000, 50), (100_001, 1001)])
def test_top_count(candidates: int, count: int) -> None:
    assert top_count(candidates) == count


def test_agreement_is_spearman() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 5, 21).astype(float), generator.random(21)
    ranking = Ranking(list_candidates(7, 2), {"a": first, "b": second, "flat": np.ones(21)})
    table = agreement(ranking)
    assert table[0, 1] == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert np.isnan(table[2]).all()


def titles(scores: dict[str, np.ndarray], entropy: float = 1.0) -> list[str]:
    ranking = Ranking(list_candidates(7, 2), scores)
    return [warning_of(finding).title for finding in diagnose(ranking, "soft_iou_eep", entropy)]


def test_a_clear_case_raises_nothing() -> None:
    spread = np.linspace(0.2, 0.5, 21)
    assert titles({"soft_iou_eep": spread, "e_leep": spread - 2, "base": -spread}) == []


def test_each_warning_has_its_cause() -> None:
    spread, alike = np.linspace(0.2, 0.5, 21), np.linspace(0.500, 0.515, 21)
    assert titles({"soft_iou_eep": alike}) == ["The scores are nearly all alike"]
    assert titles({"soft_iou_eep": spread, "e_leep": -spread}) == ["The metrics disagree"]
    assert titles({"soft_iou_eep": spread}, entropy=0.0) == ["Only one class was seen"]


def test_leading_candidates_alone_are_alike_and_no_witnesses() -> None:
    ranking = Ranking(list_candidates(7, 2), {"soft_iou_eep": np.linspace(0.5, 0.502, 21), "e_leep": -np.arange(21.0)})
    whole = diagnose(ranking, "soft_iou_eep", 1.0)
    assert [warning_of(finding).title for finding in whole] == [
        "The scores are nearly all alike",
        "The metrics disagree",
    ]
    assert diagnose(ranking, "soft_iou_eep", 1.0, whole=False) == []


def test_an_interruption_is_said_once() -> None:
    rows, scores = list_candidates(7, 2), {"soft_iou_eep": np.linspace(0.2, 0.5, 21)}
    by_search = diagnose(Ranking(rows, scores), "soft_iou_eep", 1.0, search_interrupted=True)
    assert [warning_of(finding).title for finding in by_search] == ["The search was interrupted"]
    by_scoring = diagnose(Ranking(rows, scores, 0.5), "soft_iou_eep", 1.0, search_interrupted=True)
    assert [warning_of(finding).title for finding in by_scoring] == ["Scoring was interrupted"]
