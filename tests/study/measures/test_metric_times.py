"""Time beside agreement, worked by hand."""

from __future__ import annotations

import pandas as pd

from muster.study.measures import metric_seconds, tau_and_time
from muster.study.scores import warm_seconds

CELL = {"target": "t", "regime": "few", "subset_seed": 0, "probe_seed": 0}


def costs() -> pd.DataFrame:
    rows = [
        ("eep", "scores", "", 0, 100.0),
        *(("eep", "metric", "e_leep", size, seconds) for size, seconds in ((1, 1.0), (2, 4.0), (2, 6.0))),
        ("eep", "metric", "leep", 1, 2.5),
        ("", "metric", "logme", 1, 50.0),
    ]
    frame = pd.DataFrame(rows, columns=["predictor", "step", "metric", "size", "seconds"])
    return frame.assign(**CELL)


def test_sums_over_members_cost_what_the_members_cost() -> None:
    found = {size: metric_seconds(costs(), size).set_index("metric")["seconds"].to_dict() for size in (1, 2)}
    assert found == {1: {"e_leep": 1.0, "leep": 2.5, "logme": 50.0}, 2: {"e_leep": 5.0, "leep": 2.5, "logme": 50.0}}


def test_times_stand_beside_that_of_one_metric() -> None:
    rows = [
        ("eep", "e_leep", 0.6, "all", "mean"),
        ("eep", "e_leep", 0.1, "pretraining", "mean"),
        ("", "logme", 0.2, "all", "mean"),
        ("", "logme", 0.4, "all", "mean"),
        ("", "base", 0.3, "all", "mean"),
    ]
    agreement = pd.DataFrame(rows, columns=["predictor", "metric", "weighted_kendall", "stratum", "result"])
    agreement = agreement.assign(**CELL, size=2)
    told = tau_and_time(agreement, costs(), 2, ("eep", "e_leep")).set_index("metric")
    assert told["relative"].to_dict() == {"e_leep": 1.0, "logme": 10.0}
    assert told["weighted_kendall"].round(9).to_dict() == {"e_leep": 0.6, "logme": 0.3}
    assert tau_and_time(agreement, costs(), 2, ("eep", "unknown")).empty
    assert tau_and_time(agreement, costs().iloc[:1], 2, ("eep", "e_leep")).empty


def test_what_is_done_once_does_not_count() -> None:
    assert warm_seconds([9.0, 1.0, 2.0]) == 4.5
    assert warm_seconds([9.0]) == 9.0
    assert warm_seconds([]) == 0.0
