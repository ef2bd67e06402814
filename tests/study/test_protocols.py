"""Which ensemble a metric chooses, and which members A22 fine-tunes, on scores made by hand."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from muster.study.protocols import AT_RANDOM, MOST_FREQUENT, a22_members, best_ensemble, ensemble_scores


def rows(predictor: str, metric: str, scores: dict[str, float]) -> pd.DataFrame:
    """By the members' names between spaces."""
    made = [(predictor, metric, len(members.split()), members, score) for members, score in scores.items()]
    return pd.DataFrame(made, columns=["predictor", "metric", "size", "members", "score"])


SUMMED = rows("", "logme", {"d": 1.0, "a": 3.0, "b": 2.0, "c": 2.0})
LISTED = rows("eep", "iou_eep", {"a": 0.9, "b": 0.1, "c": 0.1, "a b": 0.3, "a c": 0.5, "b c": 0.5})


def test_an_additive_metric_sums_over_members() -> None:
    found = ensemble_scores(SUMMED, 2).set_index("members")["score"].to_dict()
    assert found == {"a b": 5.0, "a c": 5.0, "a d": 4.0, "b c": 4.0, "b d": 3.0, "c d": 3.0}
    assert ensemble_scores(SUMMED, 5).empty


def test_a_listed_metric_is_read() -> None:
    assert ensemble_scores(LISTED, 2)["score"].tolist() == [0.3, 0.5, 0.5]
    assert ensemble_scores(LISTED, 3).empty


def test_of_equal_candidates_the_first_is_chosen() -> None:
    scores = pd.concat([SUMMED, LISTED])
    assert best_ensemble(scores, "eep", "iou_eep", 2) == ("a", "c")
    assert best_ensemble(scores, "eep", "logme", 2) == ("a", "b")
    assert best_ensemble(scores, "linear_probe", "logme", 3) == ("a", "b", "c")
    assert best_ensemble(scores, "eep", "iou_eep", 1) == ("a",)
    assert best_ensemble(scores, "linear_probe", "iou_eep", 2) == ()


def test_a22_takes_the_most_frequent_and_some_at_random() -> None:
    names = [f"m{number:02}" for number in range(20)]
    good = {"m03", "m05", "m07", "m11", "m13"}
    alone = {name: 10.0 * (name in good) for name in names}
    pairs = {" ".join(pair): float(sum(name in good for name in pair)) for pair in combinations(names, 2)}
    scores = pd.concat([rows("", "logme", alone), rows("eep", "iou_eep", pairs | dict.fromkeys(names, 0.0))])
    chosen = a22_members(scores, 2, seed=0)
    assert good <= set(chosen)
    assert len(chosen) == MOST_FREQUENT + AT_RANDOM
    assert list(chosen) == sorted(chosen)
    assert a22_members(scores, 2, seed=0) == chosen
    assert a22_members(scores, 2, seed=1) != chosen
    assert a22_members(rows("", "logme", {"a": 1.0, "b": 2.0, "c": 0.0}), 2, seed=0) == ("a", "b", "c")
