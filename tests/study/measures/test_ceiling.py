"""What a perfect metric would reach, on pools whose truth and noise are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from muster.metrics import weighted_kendall
from muster.study.measures import agreement, ceiling, seed_noise, simulate_metric
from tests.study.measures.made_up import MadeUp

NAMES = [f"m{number:02}" for number in range(12)]
METRIC_DEVIATION = 0.02


def planted(random: int, groups: float = 0.0) -> MadeUp:
    """Members of deviation 0.05, in two groups that are ``groups`` apart, and runs of deviation 0.03 around them."""
    truth = np.random.default_rng(random).normal(0.5, 0.05, 12) + groups * (np.arange(12) % 2)
    return MadeUp(NAMES, sizes=(3,), seeds=range(4), noise=0.03, random=100 + random, truth={"a": truth})


@pytest.mark.parametrize("groups", [0.0, 0.3])
def test_truth_plus_known_noise_gives_the_tau_that_the_simulation_predicts(groups: float) -> None:
    """The mean over pools: on one pool the members' luck decides."""
    predicted, reached = [], []
    for random in range(5):
        world = planted(random, groups)
        perfect = world.scores("perfect", lambda t, seed, row, world=world: world.truth[t][list(row)].mean())
        noise = np.random.default_rng(random).normal(0, METRIC_DEVIATION, (4, len(perfect)))
        noisy = [
            perfect.assign(metric=f"noisy{draw}", score=perfect["score"] + each) for draw, each in enumerate(noise)
        ]
        told = agreement(pd.concat([perfect, *noisy]), world.ensembles())
        told = told.assign(metric=told["metric"].str.rstrip("0123"), one=told["result"] != "mean")
        of = told.groupby(["metric", "one"])["weighted_kendall"].mean()
        reached.append([of[metric, one] for metric in ("perfect", "noisy") for one in (True, False)])
        results = np.stack([world.results["a", seed] for seed in range(4)], axis=1)
        rows = np.array(world.candidates())
        sides = [
            simulate_metric(rows, results[rows].mean(axis=1), deviation, 10) for deviation in (0.0, METRIC_DEVIATION)
        ]
        predicted.append([tau.mean for side in sides for tau in (side.one_seed, side.mean)])
    np.testing.assert_allclose(np.mean(predicted, axis=0), np.mean(reached, axis=0), atol=0.05)
    assert 0.5 < np.mean(reached) < 0.95  # there is something to predict


def test_noise_has_the_planted_variance_and_is_shared_by_ensembles_that_share_members() -> None:
    rows = np.array(list(combinations(range(15), 3)))
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 1, 15)[rows].mean(axis=1)
    effects = generator.normal(0, 0.9, (15, 8))
    results = truth[:, None] + effects[rows].mean(axis=1)
    made = seed_noise(rows, results)
    draws = np.stack([made.draw(generator) for _ in range(2000)])
    covariance = np.cov(draws, rowvar=False)
    shared = (rows[:, None, :, None] == rows[None, :, None, :]).sum(axis=(2, 3))
    for members in range(4):  # of ensembles that share so many
        assert covariance[shared == members].mean() == pytest.approx(effects.var() * members / 9, abs=0.02)
    means = np.stack([made.draw_mean(generator) for _ in range(500)])
    assert means.var() == pytest.approx(draws.var() / 8, rel=0.15)
    assert made.truth.var() == pytest.approx(results.mean(axis=1).var() * made.reliability, rel=0.05)
    assert made.reliability == pytest.approx(truth.var() / (truth.var() + draws.var() / 8), abs=0.05)


def test_an_offset_of_a_whole_run_is_no_noise() -> None:
    rows, truth = np.arange(8)[:, None], np.arange(8.0)
    told = simulate_metric(rows, np.stack([truth, truth + 5], axis=1), simulations=5)
    assert told.reliability == 1
    for simulated in (told.one_seed, told.mean, told.between_seeds):
        assert (simulated.mean, simulated.low, simulated.high) == pytest.approx((1, 1, 1))


def test_results_that_are_all_noise_have_no_ceiling() -> None:
    rows, run = np.arange(6)[:, None], np.arange(6.0)
    told = simulate_metric(rows, np.stack([run, -run], axis=1), simulations=5)
    assert told.reliability == 0
    assert np.isnan([told.one_seed.mean, told.mean.low, told.between_seeds.high]).all()
    alike = simulate_metric(rows, np.ones((6, 2)), simulations=5)
    assert np.isnan(alike.mean.mean)
    with pytest.raises(ValueError, match="at least 2 fine-tuning seeds, but got 1"):
        simulate_metric(rows, run[:, None])


def test_the_table_has_the_cells_with_two_seeds() -> None:
    world = MadeUp(NAMES, targets=("a", "b"), sizes=(1,))
    ensembles = world.ensembles()
    ensembles = ensembles[(ensembles["target"] == "a") | (ensembles["finetuning_seed"] == 0)]
    members = world.members(pretraining=["imagenet"] * 7 + ["none"] * 5)
    told = ceiling(ensembles, members, simulations=10)
    assert told[["target", "value", "candidates", "seeds"]].values.tolist() == [
        ["a", "", 12, 2],
        ["a", "imagenet", 7, 2],
        ["a", "none", 5, 2],
    ]
    between = weighted_kendall(world.results["a", 0], world.results["a", 1])
    assert told.loc[0, "measured_between_seeds"] == pytest.approx(between, abs=1e-12)
    assert (told["one_seed_low"] <= told["one_seed"]).all()
    pd.testing.assert_frame_equal(told, ceiling(ensembles, members, simulations=10))
