"""Choices, baselines and gains, by hand and against loops."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from muster.study.measures import STATIC_ORDERS, ChoiceTables, choices, gains, greedy_ensemble, static_orders
from muster.study.tables import COLUMNS, StudyTables
from tests.study.measures.made_up import CELL, ENSEMBLES, SCORES, MadeUp


def ensembles(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """Members, mIoU, validation loss."""
    told = [("a", "few", 0, 7, len(text.split()), text, result, loss) for text, result, loss in rows]
    return pd.DataFrame(told, columns=ENSEMBLES)


def scores(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Predictor, metric, members, score."""
    told = [
        ("a", "few", 0, 0, predictor, metric, len(text.split()), text, score) for predictor, metric, text, score in rows
    ]
    return pd.DataFrame(told, columns=SCORES)


def heads(*rows: tuple[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [("a", "few", 0, 7, text, 0.0, result, 1.0) for text, result in rows],
        columns=[*CELL, "finetuning_seed", "members", "plain_mean", "learned_head", "seconds"],
    )


def test_a_choice_by_hand() -> None:
    """The score ties between two pairs: the first in the order of members is taken, second best of three."""
    table = ensembles(("x y", 0.5, 1), ("x z", 0.4, 1), ("y z", 0.8, 1))
    told = choices(
        scores(("eep", "soft", "y z", 1.0), ("eep", "soft", "x y", 2.0), ("eep", "soft", "x z", 2.0 + 1e-12)),
        table,
        heads(("x y", 0.6), ("y z", 0.9)),
    )
    (row,) = told.to_dict("records")
    assert row == {
        "target": "a",
        "regime": "few",
        "subset_seed": 0,
        "finetuning_seed": 7,
        "probe_seed": 0,
        "predictor": "eep",
        "metric": "soft",
        "size": 2,
        "members": "x y",
        "result": 0.5,
        "learned_head": 0.6,
        "best_result": 0.8,
        "regret": pytest.approx(0.3),
        "relative_regret": pytest.approx(0.375),
        "rank": 2,
        "candidates": 3,
        "margin": pytest.approx(np.nan, nan_ok=True),
    }


def test_how_far_a_choice_is_ahead_by_hand() -> None:
    """Of 21 pairs that have results, one scores 30 and the others 0 to 19; a pair without a result scores more.

    5 % of 21 are two, rounded up, so that 19 is the last of the best; 10 is in the middle.
    """
    names = [f"m{place:02} z" for place in range(22)]
    values = [*map(float, range(20)), 30.0]
    table = ensembles(*((name, 0.5, 1.0) for name in names[:21]))
    told = choices(
        scores(*(("", "base", name, value) for name, value in zip(names, [*values, 99.0], strict=True))), table
    )
    assert told["margin"].tolist() == [pytest.approx((30 - 19) / (30 - 10))]


def test_candidates_without_a_score_are_not_chosen_from() -> None:
    table = ensembles(("x", 0.5, 1), ("y", 0.4, 1), ("z", 0.8, 1))
    (row,) = choices(scores(("", "base", "x", 1.0), ("", "base", "y", 2.0)), table).to_dict("records")
    assert (row["members"], row["best_result"], row["rank"], row["candidates"]) == ("y", 0.5, 2, 2)
    assert np.isnan(row["learned_head"])


def test_greedy_by_hand() -> None:
    losses = {"a": 3.0, "b": 2.0, "c": 2.5, "d": 9.0, "a b": 1.9, "b c": 1.8, "b d": 1.7, "a b d": 1.75, "b c d": 1.6}
    assert greedy_ensemble(losses, ["a", "b", "c", "d"], 1) == ("b",)
    assert greedy_ensemble(losses, ["a", "b", "c", "d"], 2) == ("b", "d")
    assert greedy_ensemble(losses, ["a", "b", "c", "d"], 3) == ("b", "c", "d")
    assert greedy_ensemble({**losses, "b c d": 1.71}, ["a", "b", "c", "d"], 3) == (
        "b",
        "d",
    )  # a third one does not help
    assert greedy_ensemble({name: loss for name, loss in losses.items() if name != "b c"}, ["a", "b", "c"], 2) is None
    assert greedy_ensemble({}, [], 2) == ()


def test_gains_by_hand() -> None:
    """Two source members, a network straight from pre-training and a large member; pairs chosen by `soft`."""
    table = ensembles(
        *[("p", 0.30, 3.0), ("x", 0.50, 2.0), ("y", 0.40, 1.0), ("L", 0.55, 0.5)],
        *[("p x", 0.45, 1.5), ("p y", 0.35, 0.8), ("x y", 0.60, 0.9)],
    )
    leeps = [("eep", "leep", name, score) for name, score in zip("pxyL", (-3.0, -2.0, -1.0, 0.0), strict=True)]
    softs = [("eep", "soft", text, score) for text, score in zip(("p", "x", "y"), (0.1, 0.3, 0.2), strict=True)]
    pairs = [("eep", "soft", text, score) for text, score in zip(("p x", "p y", "x y"), (0.9, 0.1, 0.2), strict=True)]
    members = MadeUp(["p", "x", "y", "L"]).members(
        kind=["pre-training", "single-source", "single-source", "single-source"],
        pool=["small", "small", "small", "large"],
        test_result=[float("nan"), 0.9, 0.1, 0.5],
    )
    equal_cost = pd.DataFrame(
        [("a", "few", 0, 7, "p x", "y", 320, 10, 0.48, 1.0), ("a", "few", 0, 7, "x y", "y", 320, 10, 0.9, 1.0)],
        columns=[*CELL, "finetuning_seed", "members", "member", "image_size", "steps", "result", "seconds"],
    )
    finetuned = table[table["size"] == 1].rename(columns={"members": "member"})
    scored = scores(*leeps, *softs, *pairs)
    everything = pd.concat([scored, static_orders(members, finetuned, scored)])
    told = gains(ChoiceTables(everything, table, members, heads(("p x", 0.5)), equal_cost, large_pool="large"))
    own = told[(told["metric"] == "soft") & (told["size"] == 2)].set_index("baseline")
    assert (own["members"] == "p x").all()
    assert (own["result"] == 0.45).all()
    expected = {
        "b1": ("y", 0.40),
        "b1_large": ("L", 0.55),
        "single": ("x", 0.50),
        "equal_cost": ("y", 0.48),
        "pre_training": ("p", 0.30),
        "pre_training_best": ("p", 0.30),
        "pre_training:p": ("p", 0.30),
        "parameters": ("x y", 0.60),
        "source_images": ("x y", 0.60),
        "source_result": ("x y", 0.60),  # the card of p does not say
        "base": ("x y", 0.60),
        "pretrained_members": ("p x", 0.45),  # all the same: the first
        "random": ("", (0.45 + 0.35 + 0.60) / 3),
        "greedy": ("p y", 0.35),
        "validation_loss": ("p y", 0.35),
        "best_single": ("x", 0.50),
        "oracle": ("x y", 0.60),
    }
    assert {name: (row["baseline_members"], row["baseline_result"]) for name, row in own.iterrows()} == {
        name: (text, pytest.approx(result)) for name, (text, result) in expected.items()
    }
    assert own.loc["b1", "gain"] == pytest.approx(0.05)
    assert own.loc["b1", "relative_gain"] == pytest.approx(0.125)
    assert own.loc["b1", "head_relative_gain"] == pytest.approx(0.25)
    static = told[(told["metric"] == "base") & (told["size"] == 2)].set_index("baseline")
    assert static.loc["b1", "baseline_members"] == "y"  # a metric without a predictor has the B1 of the only one
    assert static.loc["equal_cost", "baseline_result"] == 0.9
    assert "equal_cost" not in set(told.loc[told["size"] == 1, "baseline"])


@pytest.fixture(scope="module")
def world() -> MadeUp:
    return MadeUp([f"m{number}" for number in range(6)], targets=("a", "b"), sizes=(1, 2, 3), seeds=(0, 1, 2), random=4)


def test_every_gain_against_loops(world: MadeUp) -> None:
    def told_by(target: str, seed: int, row: tuple[int, ...]) -> float:
        return float(np.random.default_rng([seed, len(target), *row]).normal())

    scored = world.scores("leep", told_by, sizes=[1], probe_seeds=[0, 5])
    members = world.members(kind=["single-source"] * 4 + ["pre-training"] * 2)
    told = gains(ChoiceTables(scored, world.ensembles(), members))
    assert len(told) == 2 * 3 * 2 * 3 * 12  # targets, seeds, probe seeds, sizes, baselines
    triples = list(combinations(range(6), 3))
    for target, seed, probe_seed in (("a", 0, 5), ("b", 2, 0)):
        results = {row: world.results[target, seed][list(row)].mean() for row in world.candidates()}
        leeps = [told_by(target, probe_seed, (place,)) for place in range(6)]
        chosen = max(triples, key=lambda row, leeps=leeps: sum(leeps[place] for place in row))
        others = {
            row: np.mean([world.results[target, other][list(row)].mean() for other in range(3) if other != seed])
            for row in triples
        }
        best_leep = max(range(6), key=leeps.__getitem__)
        straight = max((4, 5), key=leeps.__getitem__)
        expected: dict[str, Any] = {
            "b1": results[best_leep,],
            "single": results[best_leep,],
            "pre_training": results[straight,],
            "pre_training:m4": results[4,],
            "pre_training:m5": results[5,],
            "pre_training_best": max(results[4,], results[5,]),
            "best_single": max(results[place,] for place in range(6)),
            "random": np.mean([results[row] for row in triples]),
            "oracle": max(results[row] for row in triples),
            "oracle_of_other_seeds": results[max(others, key=others.__getitem__)],
            # The made-up loss of an ensemble is one less its mIoU: the best single member stays alone.
            "greedy": max(results[place,] for place in range(6)),
            "validation_loss": max(results[row] for row in triples),
        }
        key = {"target": target, "finetuning_seed": seed, "probe_seed": probe_seed, "size": 3}
        own = told.loc[(told[list(key)] == pd.Series(key)).all(axis=1)].set_index("baseline")
        assert set(own["members"]) == {world.text(chosen)}
        assert own["baseline_result"].to_dict() == pytest.approx(expected)
        assert own["gain"].to_dict() == pytest.approx(
            {name: results[chosen] - result for name, result in expected.items()}
        )


def test_several_single_models_of_equal_cost_count_as_their_mean(world: MadeUp) -> None:
    scored = world.scores("leep", lambda target, seed, row: float(row[0]), sizes=[1])
    rows = [
        (target, "few", 0, 0, "m3 m4 m5", member, 64, 1, 0.25 * place, 1.0)
        for target in "ab"
        for place, member in enumerate("xy")
    ]
    equal_cost = pd.DataFrame(
        rows, columns=[*CELL, "finetuning_seed", "members", "member", "image_size", "steps", "result", "seconds"]
    )
    told = gains(ChoiceTables(scored, world.ensembles(), world.members(), equal_cost=equal_cost))
    own = told[told["baseline"] == "equal_cost"]
    assert own[["target", "members", "baseline_members", "baseline_result"]].values.tolist() == [
        ["a", "m3 m4 m5", "", 0.125],
        ["b", "m3 m4 m5", "", 0.125],
    ]


def test_a_study_without_scores_has_no_gains(world: MadeUp) -> None:
    told = gains(ChoiceTables(pd.DataFrame(columns=SCORES), world.ensembles(), world.members()))
    assert told.empty
    assert "relative_gain" in told


def test_the_tables_of_a_study_come_with_static_orders(world: MadeUp) -> None:
    scored = world.scores("leep", lambda target, seed, row: float(row[0]), sizes=[1])

    def complete(name: str, table: pd.DataFrame) -> pd.DataFrame:
        return table.reindex(columns=list(COLUMNS[name]))

    tables = StudyTables.of(
        members=complete("members", world.members(pool=["small"] * 5 + ["large"])),
        finetuned=complete("finetuned", world.finetuned()),
        ensembles=complete("ensembles", world.ensembles()),
        scores=scored,
    )
    told = gains(ChoiceTables.of(tables, large_pool="large"))
    assert set(told["metric"]) == {"leep", *STATIC_ORDERS}
    assert not told["members"].str.contains("m5").any()
    assert set(told.loc[told["baseline"] == "b1_large", "baseline_members"]) == {"m5"}
    assert not told.loc[told["baseline"] == "best_single", "baseline_members"].str.contains("m5").any()
    unscored = ChoiceTables.of(StudyTables.of(members=tables.members))
    assert unscored.choices.empty
