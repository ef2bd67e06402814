"""Means over targets with an exact test, and who wins."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from muster.study.measures import (
    ChoiceTables,
    StudiedChoice,
    differences_over_targets,
    gains,
    headline,
    over_seeds,
    over_targets,
    paired_test,
    standings,
)
from tests.study.measures.made_up import CELL, MadeUp


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_p_value_against_all_signs(count: int) -> None:
    values = np.random.default_rng(count).normal(0.5, 1, count)
    flipped = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=count)]
    expected = np.mean([each >= abs(values.sum()) - 1e-9 for each in flipped])
    assert paired_test(values.tolist()).p_value == pytest.approx(expected)


def test_the_interval_holds_the_means_that_the_test_does_not_refuse() -> None:
    values = np.random.default_rng(3).normal(1, 1, 8)
    told = paired_test(values.tolist(), level=0.9)
    step = 1e-6
    for mean, inside in (
        (told.low + step, True),
        (told.low - step, False),
        (told.high - step, True),
        (told.high + step, False),
    ):
        assert (paired_test((values - mean).tolist()).p_value > 0.1) == inside
    assert told.low < told.mean < told.high
    assert (told.targets, told.wins) == (8, int((values > 0).sum()))


def test_few_targets_have_no_ends_and_many_are_drawn() -> None:
    told = paired_test([0.1, 0.2, 0.3, 0.2, 0.1])
    assert (told.low, told.high, told.p_value) == (-np.inf, np.inf, 2 / 32)
    many = np.random.default_rng(0).normal(0.6, 1, 20)
    told = paired_test(many.tolist())
    assert told.low < many.mean() < told.high
    error = many.std(ddof=1) / np.sqrt(20)
    assert told.high - told.low == pytest.approx(2 * 2.093 * error, rel=0.1)  # Student's, 19 degrees of freedom
    assert told == paired_test(many.tolist())
    with pytest.raises(ValueError, match=r"at least one finite difference, but got \[\]"):
        paired_test([])


def test_targets_count_once_however_many_seeds_they_have() -> None:
    rows = [("a", "m", 0.0), ("a", "m", 0.2), ("a", "m", 0.4), ("b", "m", 0.6), ("b", "m", np.nan), ("a", "n", 0.5)]
    table = pd.DataFrame(rows, columns=["target", "metric", "tau"])
    told = over_targets(table, "tau", ["metric"]).set_index("metric")
    assert told.loc["m", "mean"] == pytest.approx(0.4)
    assert told.loc["m", ["targets", "wins"]].tolist() == [2, 2]
    assert told.loc["m", "deviation"] == pytest.approx(np.std([0.2, 0.6], ddof=1))
    assert np.isnan(told.loc["n", "deviation"])
    seeds = over_seeds(table, "tau", ["metric", "target"]).set_index(["metric", "target"])
    assert seeds.loc[("m", "a")].tolist() == pytest.approx([0.2, 0.2, 3])
    assert seeds.loc[("m", "b"), "count"] == 1


def test_differences_are_taken_target_by_target_within_the_same_size() -> None:
    rows = [
        *[("a", 1, "m", 0.5), ("a", 1, "m", 0.7), ("a", 1, "list", 0.2), ("b", 1, "m", 0.1), ("b", 1, "list", 0.3)],
        *[("a", 3, "m", 0.9), ("a", 3, "list", 0.0), ("c", 1, "m", 1.0), ("c", 3, "list", 1.0)],
    ]
    table = pd.DataFrame(rows, columns=["target", "size", "metric", "tau"])
    told = differences_over_targets(table, "tau", ["metric", "size"], {"metric": "list"}).set_index("size")
    assert told["metric"].tolist() == ["m", "m"]
    assert told.loc[1, "mean"] == pytest.approx((0.4 - 0.2) / 2)  # c has no list of this size
    assert told.loc[3, ["targets", "wins"]].tolist() == [1, 1]
    with pytest.raises(ValueError, match="columns of metric, but got size"):
        differences_over_targets(table, "tau", ["metric"], {"size": 1})
    with pytest.raises(ValueError, match="but there are none with a tau"):
        differences_over_targets(table, "tau", ["metric"], {"metric": "lists"})


TARGETS = ("a", "b", "c", "d", "e", "f")


def study(rival_is_better_by: float) -> tuple[ChoiceTables, pd.DataFrame]:
    """A metric that is the truth, and a single model of equal cost beside its choice."""
    world = MadeUp([f"m{number}" for number in range(6)], targets=TARGETS, sizes=(1, 3), random=8)
    scores = [
        world.scores(metric, lambda target, seed, row: world.truth[target][list(row)].mean(), sizes=sizes)
        for metric, sizes in (("soft", [1, 3]), ("leep", [1]))
    ]
    ensembles = world.ensembles()
    triples = ensembles[ensembles["size"] == 3]
    best = triples.groupby([*CELL, "finetuning_seed"])["result"].transform("max")
    equal_cost = triples[[*CELL, "finetuning_seed", "members"]].assign(
        member="m0", image_size=64, steps=1, result=best + rival_is_better_by, seconds=1.0
    )
    return ChoiceTables(pd.concat(scores), ensembles, world.members(), equal_cost=equal_cost), ensembles


@pytest.fixture(scope="module")
def better() -> tuple[ChoiceTables, pd.DataFrame, pd.DataFrame]:
    """A rival above any single member too: tables, ensembles and gains."""
    tables, ensembles = study(0.2)
    return tables, ensembles, gains(tables)


def test_a_single_model_of_equal_cost_that_beats_every_ensemble_is_named(better: Any) -> None:
    told = headline(standings(better[2], StudiedChoice("soft", "linear_probe", 3, "few")))
    assert told.winner == "equal_cost"
    assert told.is_certain
    assert told.over_choice is not None
    assert told.over_choice.mean >= 0.2
    assert told.over_choice.targets == 6


def test_one_that_is_worse_is_not() -> None:
    tables, _ = study(-0.2)
    table = standings(gains(tables), StudiedChoice("soft", "linear_probe", 3, "few"))
    told = headline(table, ["choice", "equal_cost", "random"])
    assert (told.winner, told.over_choice) == ("choice", None)
    assert told.lead is not None
    assert told.second == "random"
    only = headline(table, ["choice"])
    assert (only.second, only.lead, only.is_certain) == (None, None, False)


def test_standings_are_means_over_the_runs_of_a_target(better: Any) -> None:
    tables, ensembles, gained = better
    told = standings(gained, StudiedChoice("soft", "linear_probe", 3, "few")).set_index(["approach", "target"])
    assert "learned_head" not in told.index.get_level_values(0)
    choice = told.loc[("choice", "a")]
    text = tables.choices.query("metric == 'soft' and size == 3 and target == 'a'")["members"].iloc[0]
    own = ensembles[(ensembles["target"] == "a") & (ensembles["members"] == text)]
    assert choice["result"] == pytest.approx(own["result"].mean())
    assert choice["over_choice"] == 0
    oracle = (
        ensembles[(ensembles["target"] == "a") & (ensembles["size"] == 3)].groupby("finetuning_seed")["result"].max()
    )
    assert told.loc[("oracle", "a"), "over_choice"] == pytest.approx(oracle.mean() - choice["result"])
    with pytest.raises(ValueError, match="Unknown metric 'sofd'"):
        standings(gained, StudiedChoice("sofd", "linear_probe", 3, "few"))
    with pytest.raises(
        ValueError, match="size 4 and regime 'few', but there are only linear_probe 1 few, linear_probe 3"
    ):
        standings(gained, StudiedChoice("soft", "linear_probe", 4, "few"))


def test_an_approach_on_easy_targets_alone_does_not_win_by_that() -> None:
    rows = [("choice", "easy", 0.9, 0.0), ("choice", "hard", 0.1, 0.0), ("b1", "easy", 0.8, -0.1)]
    table = pd.DataFrame(rows, columns=["approach", "target", "result", "over_choice"])
    told = headline(table)
    assert (told.winner, told.second) == ("choice", "b1")
    assert told.lead is not None
    assert (told.lead.mean, told.lead.targets) == (pytest.approx(0.1), 1)
    with pytest.raises(ValueError, match="Expected one of greedy among the approaches"):
        headline(table, ["greedy"])
