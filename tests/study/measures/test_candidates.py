"""Reading candidates and their scores out of tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from muster.study.measures import Scores, candidates_of, strata_of, without_pool
from tests.study.measures.made_up import ENSEMBLES, MadeUp


def table(*rows: tuple[str, int, str, float]) -> pd.DataFrame:
    """Target, seed, members, mIoU."""
    filled = [(target, "few", 0, seed, len(text.split()), text, result, 1.0) for target, seed, text, result in rows]
    return pd.DataFrame(filled, columns=ENSEMBLES)


def test_candidates_come_in_the_order_of_their_members_with_a_column_a_seed() -> None:
    read = candidates_of(table(("b", 3, "x y", 0.1), ("a", 1, "y z", 0.2), ("a", 0, "x z", 0.4), ("a", 0, "y z", 0.6)))
    assert [(each.cell, each.size, len(each)) for each in read] == [(("a", "few", 0), 2, 2), (("b", "few", 0), 2, 1)]
    first = read[0]
    assert first.texts() == ["x z", "y z"]
    assert first.seeds == (0, 1)
    np.testing.assert_array_equal(first.results, [[0.4, np.nan], [0.6, 0.2]])
    # Seed 1 has a part of the candidates: a mean over both would have the noise of one run here, and of two there.
    np.testing.assert_array_equal(first.named_results()["mean"], [0.4, 0.6])
    np.testing.assert_array_equal(first.named_results()["1"], [np.nan, 0.2])


def test_results_are_means_over_seeds_that_all_have() -> None:
    read = candidates_of(table(("a", 0, "x", 0.2), ("a", 1, "x", 0.4), ("a", 0, "y", 0.5), ("a", 1, "y", 0.1)))[0]
    np.testing.assert_allclose(read.named_results()["mean"], [0.3, 0.3])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((("a", 0, "x y", 0.1), ("a", 0, "x y", 0.2)), "one row for each of finetuning_seed, members"),
        ((("a", 0, "y x", 0.1),), "2 different members in order"),
        ((("a", 0, "x x", 0.1),), "2 different members in order"),
    ],
)
def test_tables_that_cannot_be_meant(rows: tuple[tuple[str, int, str, float], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        candidates_of(table(*rows))


def test_a_score_of_single_members_is_summed_and_one_of_ensembles_is_not() -> None:
    world = MadeUp(["x", "y", "z"], sizes=(1, 2, 3))
    single = world.scores("leep", lambda target, seed, row: 10.0 ** row[0], sizes=[1], probe_seeds=[4, 5])
    together = world.scores("soft", lambda target, seed, row: float(sum(row)), sizes=[1, 2])
    read = Scores(pd.concat([single, together, single.assign(metric="logme", predictor=None)]))
    pairs, triples = candidates_of(world.ensembles())[1:]
    columns = list(read.columns(pairs))
    assert [(each.predictor, each.metric, each.probe_seed) for each in columns] == [
        ("", "logme", 4),
        ("", "logme", 5),
        ("linear_probe", "leep", 4),
        ("linear_probe", "leep", 5),
        ("linear_probe", "soft", 0),
    ]
    assert columns[2].values.tolist() == [11, 101, 110]
    assert columns[4].values.tolist() == [1, 2, 3]
    # Nobody scored triples by `soft`, and a sum of its size-1 rows would be another metric.
    assert {each.metric for each in read.columns(triples)} == {"leep", "logme"}


def test_a_missing_score_is_not_a_number() -> None:
    world = MadeUp(["x", "y", "z"], sizes=(2,))
    single = world.scores("leep", lambda target, seed, row: float(row[0]), sizes=[1]).iloc[:2]
    (column,) = Scores(single).columns(candidates_of(world.ensembles())[0])
    np.testing.assert_array_equal(column.values, [1, np.nan, np.nan])


def test_scores_that_are_there_twice() -> None:
    world = MadeUp(["x", "y"], sizes=(1,))
    single = world.scores("leep", lambda target, seed, row: float(row[0]))
    with pytest.raises(ValueError, match="one row for each of probe_seed, predictor, metric, members"):
        list(Scores(pd.concat([single, single])).columns(candidates_of(world.ensembles())[0]))


def test_strata_hold_candidates_whose_members_are_alike() -> None:
    world = MadeUp([f"m{number}" for number in range(8)], sizes=(2,))
    members = world.members(pretraining=["imagenet"] * 4 + ["none"] * 4, architecture="fpn")
    strata = list(strata_of(candidates_of(world.ensembles())[0], members))
    # One architecture: its stratum would be all candidates again.
    told = [(each.fact, each.value, int(each.kept.sum())) for each in strata]
    assert told == [("all", "", 28), ("pretraining", "imagenet", 6), ("pretraining", "none", 6)]
    assert strata[1].kept.nonzero()[0].tolist() == [0, 1, 2, 7, 8, 13]
    with pytest.raises(ValueError, match=r"Unknown fact of members 'pretrained'\. Did you mean 'pretraining'"):
        list(strata_of(candidates_of(world.ensembles())[0], members, ["pretrained"]))
    with pytest.raises(ValueError, match="it lacks m0"):
        list(strata_of(candidates_of(world.ensembles())[0], members.iloc[1:]))


def test_the_members_of_a_pool_can_be_left_out() -> None:
    world = MadeUp(["x", "y", "z"], sizes=(1, 2))
    members = world.members(pool=["small", "large", "small"])
    left = without_pool(world.ensembles(), members, "large")
    assert set(left["members"]) == {"x", "z", "x z"}
    assert without_pool(left, members, None) is left
    with pytest.raises(ValueError, match="one of the pools large, small, but got 'big'"):
        without_pool(left, members, "big")
