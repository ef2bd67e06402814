"""`score_ensembles`, `score_base` and `Ranking`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import ENSEMBLE_METRICS, METRICS
from muster.search.ranking import Ranking
from muster.search.score import list_candidates, score_base, score_ensembles

Numbers = np.ndarray[Any, Any]


def slow_scores(eeps: Numbers, labels: Numbers, members: tuple[int, ...]) -> dict[str, float]:
    """All four metrics in one pass over the pixels, in float64."""
    _, pixels, classes = eeps.shape
    tp, union = [0] * classes, [0] * classes
    soft_tp, soft_union = [0.0] * classes, [0.0] * classes
    ms_leep = e_leep = 0.0
    for i, label in enumerate(labels.tolist()):
        sums = [sum(float(eeps[s, i, c]) for s in members) for c in range(classes)]
        predicted, p = sums.index(max(sums)), sums[label] / len(members)
        ms_leep += sum(math.log(float(eeps[s, i, label])) for s in members) / pixels
        e_leep += math.log(p) / pixels
        if predicted == label:
            tp[label] += 1
            union[label] += 1
            soft_tp[label] += p
            soft_union[label] += p
        else:
            for c in (label, predicted):
                union[c] += 1
                soft_union[c] += 1 - p
    present = sorted(set(labels.tolist()))
    return {
        "ms_leep": ms_leep,
        "e_leep": e_leep,
        "iou_eep": sum(tp[c] / union[c] for c in present) / len(present),
        "soft_iou_eep": sum(soft_tp[c] / soft_union[c] for c in present) / len(present),
    }


@pytest.fixture
def pool() -> tuple[Numbers, Numbers]:
    """Five members of different quality, four classes of which the labels lack number 2."""
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 3], size=80, p=[0.5, 0.3, 0.2])
    noise = generator.dirichlet(np.ones(4), size=(5, 80))
    skill = np.linspace(0.1, 0.5, 5)[:, None, None]
    return skill * np.eye(4)[labels] + (1 - skill) * noise, labels


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_agrees_with_slow_version(pool: Any, size: int, dtype: Any, tolerance: float) -> None:
    eeps, labels = pool
    ranking = score_ensembles(eeps.astype(dtype), labels, size=size)
    assert ranking.members.tolist() == [list(row) for row in combinations(range(5), size)]
    assert list(ranking.scores) == ["ms_leep", "e_leep", "iou_eep", "soft_iou_eep"]
    for row, members in enumerate(ranking.members.tolist()):
        for metric, expected in slow_scores(eeps, labels, members).items():
            assert ranking.scores[metric][row] == pytest.approx(expected, abs=tolerance), (metric, members)


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_equals_the_metric_of_each_candidate(pool: Any, metric: str) -> None:
    eeps, labels = pool
    ranking = score_ensembles(eeps, labels, size=3, metrics=(metric,))
    expected = [METRICS[metric].function(eeps[row], labels) for row in ranking.members]
    assert ranking.scores[metric].tolist() == expected


def test_result_has_the_promised_types(pool: Any) -> None:
    eeps, labels = pool
    ranking = score_ensembles(torch.from_numpy(eeps).half(), torch.from_numpy(labels))
    assert ranking.members.dtype == np.int64
    assert ranking.members.shape == (10, 3)
    assert all(values.dtype == np.float64 and values.shape == (10,) for values in ranking.scores.values())


def test_sequence_of_members_equals_stack(pool: Any) -> None:
    eeps, labels = pool
    stacked, listed = score_ensembles(eeps, labels), score_ensembles(list(torch.from_numpy(eeps)), labels)
    for metric, values in stacked.scores.items():
        np.testing.assert_array_equal(values, listed.scores[metric])


def test_threads_do_not_matter(pool: Any) -> None:
    eeps, labels = (np.tile(pool[0], (1, 1000, 1)), np.tile(pool[1], 1000))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(score_ensembles(eeps.astype(np.float32), labels, size=2))
    finally:
        torch.set_num_threads(before)
    for metric in ENSEMBLE_METRICS:
        np.testing.assert_allclose(results[0].scores[metric], results[1].scores[metric], rtol=0, atol=1e-9)


def test_better_members_rank_higher(pool: Any) -> None:
    eeps, labels = pool
    perfect, useless = np.eye(4)[labels], np.full((80, 4), 0.25)
    ranking = score_ensembles([useless, eeps[2], perfect], labels, size=1)
    for metric in ENSEMBLE_METRICS:
        assert ranking.order(metric).tolist() == [2, 1, 0], metric


def test_progress_is_told(pool: Any) -> None:
    calls: list[tuple[int, int]] = []
    eeps, labels = pool
    score_ensembles(
        eeps, labels, size=4, metrics=("iou_eep",), progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 6}, r"`size` between 1 and the 5 members there are, but got 6"),
        ({"size": 0}, r"`size` between 1 and the 5 members there are, but got 0"),
        ({"metrics": ("e_lep",)}, r"Unknown ensemble metric 'e_lep'. Did you mean 'e_leep'\?"),
        ({"metrics": ("base",)}, r"Unknown ensemble metric 'base'"),
        ({"metrics": ()}, r"`metrics` to be a list of at least one name"),
        ({"metrics": "e_leep"}, r"`metrics` to be a list of at least one name, but got 'e_leep'"),
    ],
)
def test_bad_options(pool: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_ensembles(*pool, **options)


def test_bad_arrays(pool: Any) -> None:
    eeps, labels = pool
    broken = eeps.copy()
    broken[3, 7, 1] = np.nan
    with pytest.raises(ValueError, match=r"`eeps\[3\]` to hold probabilities between 0 and 1, but got NaN"):
        score_ensembles(broken, labels)
    with pytest.raises(ValueError, match=r"`labels` between 0 and 3, but got 0 to 255"):
        score_ensembles(eeps, np.where(labels == 3, 255, labels))
    with pytest.raises(ValueError, match=r"`labels` to have shape \[80\]"):
        inspect.unwrap(score_ensembles)(eeps, labels[1:])


def test_candidates_of_every_size() -> None:
    for size in range(1, 6):
        assert list_candidates(5, size).shape == (math.comb(5, size), size)
    assert list_candidates(4, 3).tolist() == [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]


def test_score_base_worked_by_hand() -> None:
    # Terms: 0.5 * 10 * 2 = 10, 0.25 * 100 * 4 = 100, 1 * 1 * 3 = 3.
    miou, images, classes = [0.5, 0.25, 1.0], [10, 100, 1], [2, 4, 3]
    assert score_base(miou, images, classes, list_candidates(3, 2)).tolist() == [110.0, 13.0, 103.0]
    with pytest.raises(ValueError, match=r"`members` between 0 and 2, but got 0 to 3"):
        score_base(miou, images, classes, list_candidates(4, 2))


def test_order_breaks_ties_by_row_or_by_name() -> None:
    ranking = Ranking(list_candidates(3, 2), {"e_leep": np.array([-1.0, -0.5, -1.0])})  # {0,1}, {0,2}, {1,2}
    assert ranking.order("e_leep").tolist() == [1, 0, 2]
    assert ranking.order("e_leep", names=["a", "b", "c"]).tolist() == [1, 0, 2]
    # Sorted names of the tied rows: {z, b} -> b z, {b, a} -> a b, which comes first.
    assert ranking.order("e_leep", names=["z", "b", "a"]).tolist() == [1, 2, 0]


def test_with_scores_leaves_the_original() -> None:
    ranking = Ranking(list_candidates(3, 2), {"e_leep": np.zeros(3)})
    wider = ranking.with_scores("base", np.array([1.0, 3.0, 2.0]))
    assert list(ranking.scores) == ["e_leep"]
    assert wider.order("base").tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda r: r.order("e_lep"), r"Unknown metric of this ranking 'e_lep'. Did you mean 'e_leep'\?"),
        (lambda r: r.order("e_leep", names=["a", "b"]), r"at least 3 different names"),
        (lambda r: r.order("e_leep", names=["a", "b", "b"]), r"at least 3 different names"),
        (lambda r: inspect.unwrap(type(r).with_scores)(r, "x", np.zeros(2)), r"Expected 3 scores of 'x'"),
        (lambda r: r.with_scores("x", np.array([0.0, np.nan, 0.0])), r"'x', but that of members \[0, 2\] is nan"),
        (lambda r: Ranking(r.members[0], {}), r"candidates x size, but got shape \[2\]"),
        (lambda r: Ranking(r.members[:0], {}), r"candidates x size, but got shape \[0, 2\]"),
    ],
)
def test_ranking_refuses(attempt: Callable[[Ranking], object], message: str) -> None:
    ranking = Ranking(list_candidates(3, 2), {"e_leep": np.zeros(3)})
    with pytest.raises(ValueError, match=message):
        attempt(ranking)
