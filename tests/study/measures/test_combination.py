"""A score made of several metrics, learned on the other targets."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from muster.study.measures import agreement, learned_combination, over_targets
from tests.study.measures.made_up import MadeUp

NAMES = [f"m{place}" for place in range(8)]
BASE = ("linear_probe", "base_metric")


@pytest.fixture(scope="module")
def world() -> MadeUp:
    return MadeUp(NAMES, targets=("a", "b", "c", "d"), sizes=(3,), seeds=(0,), noise=0.0)


def told(world: MadeUp, **columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """Scores of candidates: the mean of what each metric has of each target's members."""
    return pd.concat(
        [
            world.scores(name, lambda target, _, row, of=of: float(of[target][list(row)].mean()))  # type: ignore[misc]
            for name, of in columns.items()
        ]
    )


def taus(world: MadeUp, scores: pd.DataFrame) -> dict[str, float]:
    found = agreement(scores, world.ensembles())
    means = over_targets(found[found["result"] == "mean"], "weighted_kendall", ["predictor", "metric"])
    return dict(zip(means["metric"], means["mean"], strict=True))


def test_two_halves_of_the_truth_make_it_whole() -> None:
    """What is learned on other targets holds on each one: all have the same members in another order."""
    generator = np.random.default_rng(1)
    truth, noise = generator.normal(0.5, 0.05, len(NAMES)), generator.normal(0, 0.05, len(NAMES))
    targets = ("a", "b", "c", "d")
    world = MadeUp(
        NAMES, targets, (3,), (0,), noise=0.0, truth={name: np.roll(truth, place) for place, name in enumerate(targets)}
    )
    halves = told(
        world,
        base_metric={name: np.roll(truth + noise, place) for place, name in enumerate(targets)},
        noise={name: np.roll(-noise, place) for place, name in enumerate(targets)},  # what is to be added
    )
    combined = learned_combination(halves, world.ensembles(), 3, BASE)
    assert list(combined.columns) == list(halves.columns)
    assert len(combined) == len(world.ensembles()) == 4 * 56
    found = taus(world, pd.concat([halves, combined]))
    assert found["combination"] > 0.9
    assert found["base_metric"] < 0.8


def test_what_says_nothing_leaves_the_base_alone(world: MadeUp) -> None:
    """A metric that agrees with the results of each other target by chance must not be believed for long."""
    generator = np.random.default_rng(2)
    base = {target: world.truth[target] + generator.normal(0, 0.005, len(NAMES)) for target in world.targets}
    chance = {target: generator.normal(0, 1, len(NAMES)) for target in world.targets}
    scores = told(world, base_metric=base, chance=chance)
    combined = learned_combination(scores, world.ensembles(), 3, BASE)
    found = taus(world, pd.concat([scores, combined]))
    assert found["combination"] > found["base_metric"] - 0.02
    assert abs(found["chance"]) < 0.6


def test_the_weights_by_hand() -> None:
    """Three targets; the two others have the base at 0.8 and another metric at 0.6 of a result that both make up."""
    world = MadeUp(NAMES[:4], targets=("a", "b", "c"), sizes=(1,), seeds=(0,), noise=0.0)
    one, two = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])  # standardised, and at right angles
    for target in world.targets:
        world.results[target, 0] = 0.5 + 0.08 * one + 0.06 * two
    scores = told(world, base_metric=dict.fromkeys(world.targets, one), other=dict.fromkeys(world.targets, two))
    combined = learned_combination(scores, world.ensembles(), 1, BASE, shrinkages=(1.0,))
    of_a = combined[combined["target"] == "a"].sort_values("members")["score"].to_numpy()
    # Standardised results are 0.8 one + 0.6 two. The correction of the base (weight 1) is half of what is missing.
    np.testing.assert_allclose(of_a, 0.9 * one + 0.3 * two, atol=1e-12)


def test_without_shrinkages_but_infinity_it_is_the_base(world: MadeUp) -> None:
    scores = told(world, base_metric=world.truth, other={t: -world.truth[t] for t in world.targets})
    combined = learned_combination(scores, world.ensembles(), 3, BASE, shrinkages=(math.inf,))
    merged = combined.merge(scores[scores["metric"] == "base_metric"], on=["target", "members"])
    for _, rows in merged.groupby("target"):
        np.testing.assert_allclose(np.corrcoef(rows["score_x"], rows["score_y"])[0, 1], 1.0)


def test_a_metric_that_lacks_candidates_has_no_part(world: MadeUp) -> None:
    scores = told(world, base_metric=world.truth, other=world.truth)
    lacking = scores[~((scores["metric"] == "other") & (scores["target"] == "b") & (scores["members"] == "m0 m1 m2"))]
    alone = scores[scores["metric"] == "base_metric"]
    combined, expected = (learned_combination(each, world.ensembles(), 3, BASE) for each in (lacking, alone))
    pd.testing.assert_frame_equal(combined, expected)


def test_two_targets_are_too_few(world: MadeUp) -> None:
    scores = told(world, base_metric=world.truth)
    with pytest.raises(ValueError, match=r"at least 3 targets with candidates of size 3 .* but got 2"):
        learned_combination(scores[scores["target"].isin(["a", "b"])], world.ensembles(), 3, BASE)
