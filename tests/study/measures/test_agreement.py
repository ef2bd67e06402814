"""Agreement of metrics and of seeds with results, on made-up and on published numbers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from muster.metrics import kendall, pearson, weighted_kendall
from muster.study.measures import agreement, seed_agreement, static_orders
from tests.study.measures.made_up import ENSEMBLES, FINETUNED, SCORES, MadeUp

NAMES = [f"m{number}" for number in range(8)]
CORRELATIONS = {"weighted_kendall": weighted_kendall, "kendall": kendall, "pearson": pearson}


@pytest.fixture(scope="module")
def world() -> MadeUp:
    return MadeUp(NAMES, targets=("a", "b"), random=1)


def noisy(target: str, seed: int, row: tuple[int, ...]) -> float:
    return float(np.random.default_rng([seed, *row, len(target)]).normal() + 0.1 * sum(row))


def test_every_row_against_loops(world: MadeUp) -> None:
    """Of an additive metric among triples of one pre-training, from the tables' rows alone."""
    scores = world.scores("leep", noisy, sizes=[1], probe_seeds=[0, 1, 2])
    members = world.members(pretraining=["imagenet", "none"] * 4)
    told = agreement(scores, world.ensembles(), members)
    of = {(row.target, row.size, row.value, row.result): row for row in told.itertuples()}
    assert len(told) == 2 * (3 + 0) + 2 * 3  # two cells; singles of one pre-training and their triples are too few
    for target, sign in (("a", ""), ("b", "")):
        triples = list(combinations(range(8), 3))
        for result, seeds in (("mean", [0, 1]), ("0", [0]), ("1", [1])):
            truth = [np.mean([world.results[target, seed][list(row)].mean() for seed in seeds]) for row in triples]
            sums = [[sum(noisy(target, seed, (place,)) for place in row) for row in triples] for seed in range(3)]
            row = of[target, 3, sign, result]
            for name, correlation in CORRELATIONS.items():
                values = [correlation(column, truth) for column in sums]
                assert getattr(row, name) == pytest.approx(np.mean(values), abs=1e-12)
                assert getattr(row, f"{name}_deviation") == pytest.approx(np.std(values, ddof=1), abs=1e-12)
            assert (row.candidates, row.members, row.probe_seeds) == (56, 8, 3)
            assert np.isnan(row.low)


def test_strata_and_candidates_without_a_score() -> None:
    world = MadeUp([f"m{number:02}" for number in range(12)], sizes=(3,))
    members = world.members(pretraining=["imagenet"] * 6 + ["none"] * 6)
    scores = world.scores("leep", noisy, sizes=[1])
    told = agreement(scores[scores["members"] != "m00"], world.ensembles(), members).set_index(["value", "result"])
    assert told.loc[("", "mean"), "candidates"] == 165  # of 11 members
    assert told.loc[("imagenet", "mean"), "candidates"] == 10
    truth = world.results["a", 0] / 2 + world.results["a", 1] / 2
    triples = list(combinations(range(1, 6), 3))
    sums = [sum(noisy("a", 0, (place,)) for place in row) for row in triples]
    slow = weighted_kendall(sums, [truth[list(row)].mean() for row in triples])
    assert told.loc[("imagenet", "mean"), "weighted_kendall"] == pytest.approx(slow, abs=1e-12)


def test_one_seed_and_one_probe(world: MadeUp) -> None:
    ensembles = world.ensembles()
    told = agreement(world.scores("soft", noisy), ensembles[ensembles["finetuning_seed"] == 0])
    assert (told.groupby(["target", "size"])["result"].agg(list)).map(tuple).unique().tolist() == [("mean", "0")]
    assert told["kendall_deviation"].isna().all()
    assert told.groupby(["target", "size"])["kendall"].nunique().eq(1).all()


def test_a_constant_score_orders_nothing(world: MadeUp) -> None:
    told = agreement(world.scores("flat", lambda *_: 1.0), world.ensembles())
    assert told[["weighted_kendall", "kendall", "pearson"]].isna().all(axis=None)


def test_nothing_to_tell_gives_an_empty_table(world: MadeUp) -> None:
    told = agreement(world.scores("soft", noisy).iloc[:0], world.ensembles())
    assert len(told) == 0
    assert "weighted_kendall" in told


def test_a_shuffled_metric_has_tau_0_within_its_interval_and_the_truth_has_1() -> None:
    world = MadeUp([f"m{number:02}" for number in range(12)], noise=0.0)
    chance = np.random.default_rng(3).permutation(12)
    scores = [
        world.scores("shuffled", lambda target, seed, row: world.truth["a"][chance[list(row)]].mean(), sizes=[3]),
        world.scores("truth", lambda target, seed, row: world.truth["a"][list(row)].mean(), sizes=[3]),
    ]
    told = agreement(pd.concat(scores), world.ensembles(), draws=100).query("result == 'mean'").set_index("metric")
    shuffled, truth = told.loc["shuffled"], told.loc["truth"]
    assert shuffled["low"] < 0 < shuffled["high"]
    assert (truth["weighted_kendall"], truth["low"], truth["high"]) == pytest.approx((1, 1, 1))


def test_seeds_against_each_other() -> None:
    world = MadeUp(NAMES, seeds=(3, 5, 9), random=2)
    told = seed_agreement(world.ensembles(), world.members(pretraining=["imagenet"] * 5 + ["none"] * 3), draws=20)
    key = ["size", "value", "first_seed", "second_seed"]
    assert len(told) == 3 * (2 + 2)  # all and ImageNet, of sizes 1 and 3
    of = told.set_index(key)
    for size in (1, 3):
        rows = list(combinations(range(5), size))
        sides = [[world.results["a", seed][list(row)].mean() for row in rows] for seed in (3, 9)]
        for name, correlation in CORRELATIONS.items():
            assert of.loc[(size, "imagenet", 3, 9), name] == pytest.approx(correlation(*sides), abs=1e-12)
    wide = of.loc[(3, "", 3, 5)]
    assert wide["low"] <= wide["weighted_kendall"] <= wide["high"] + 0.05
    assert len(seed_agreement(MadeUp(NAMES, seeds=(0,)).ensembles())) == 0


def test_published_numbers_of_single_sources() -> None:
    """Means over 17 targets as computed from the same file with plain scipy calls, source by source."""
    table = pd.read_csv(Path(__file__).parents[2] / "published/segmentation_sources.csv")
    cell = table.assign(regime="all", subset_seed=0, finetuning_seed=0, probe_seed=0, predictor="", size=1)
    cell = cell.assign(members=cell["source"], member=cell["source"], result=cell["test_miou"], validation_loss=np.nan)
    names = sorted(set(table["source"]))
    members = MadeUp(names).members()
    long = cell.melt(
        id_vars=[name for name in SCORES if name in cell],
        value_vars=["leep", "logme"],
        var_name="metric",
        value_name="score",
    )
    past = static_orders(members, cell[FINETUNED], long).query("metric == 'other_targets'")
    told = agreement(pd.concat([long, past]), cell[ENSEMBLES]).query("result == 'mean'")
    means = told.groupby("metric")[["weighted_kendall", "kendall", "pearson"]].mean().round(4)
    expected = {
        "leep": (0.5166, 0.3902, 0.6521),
        "logme": (0.6376, 0.5245, 0.7544),
        "other_targets": (0.4418, 0.4147, 0.5413),
    }
    for metric, numbers in expected.items():
        assert tuple(means.loc[metric]) == pytest.approx(numbers, abs=1e-4), metric
