"""Orders that never look at the target."""

from __future__ import annotations

import pandas as pd
import pytest

from muster.study.measures import STATIC_ORDERS, past_results, static_orders
from tests.study.measures.made_up import FINETUNED, SCORES, MadeUp


def finetuned(*rows: tuple[str, str, int, str, float]) -> pd.DataFrame:
    """Target, regime, fine-tuning seed, member, mIoU."""
    return pd.DataFrame([(t, regime, 0, *rest) for t, regime, *rest in rows], columns=FINETUNED)


def test_past_results_by_hand() -> None:
    table = finetuned(
        ("a", "few", 0, "x", 0.4),
        ("a", "few", 1, "x", 0.6),  # mean over seeds 0.5; the target's mean is 0.4
        ("a", "few", 0, "y", 0.3),
        ("b", "few", 0, "x", 0.9),  # the target's mean is 0.8
        ("b", "few", 0, "y", 0.7),
        ("c", "few", 0, "y", 0.2),  # alone
        ("c", "all", 0, "x", 0.9),
    )
    past = past_results(table).set_index(["target", "regime", "member"])["score"]
    assert past.to_dict() == pytest.approx(
        {
            ("a", "few", "x"): 0.1,  # from b
            ("a", "few", "y"): -0.05,  # from b and c: (-0.1 + 0) / 2
            ("b", "few", "x"): 0.1,  # from a
            ("b", "few", "y"): -0.05,
            ("c", "few", "x"): 0.1,
            ("c", "few", "y"): -0.1,
        }
    )


def test_scores_of_cards() -> None:
    world = MadeUp(["x", "y"], targets=("a", "b"), sizes=(1,))
    members = world.members(
        test_result=[0.5, float("nan")], train_images=[10, 0], num_classes=[4, 0], pretraining=["none", "imagenet"]
    )
    scores = world.scores("leep", lambda *_: 1.0, probe_seeds=[3, 4])
    told = static_orders(members, world.finetuned(), scores)
    assert list(told.columns) == SCORES
    assert set(told["metric"]) == set(STATIC_ORDERS)
    assert set(told["probe_seed"]) == {3, 4}
    assert (told["predictor"] == "").all()
    assert (told["size"] == 1).all()
    of_a = told[(told["target"] == "a") & (told["probe_seed"] == 4)]
    columns = {name: rows.set_index("members")["score"].to_dict() for name, rows in of_a.groupby("metric")}
    assert columns["base"] == {"x": 20.0}  # the card of y does not say
    assert columns["source_result"] == {"x": 0.5}
    assert columns["pretrained_members"] == {"x": 0.0, "y": 1.0}
    assert columns["parameters"] == {"x": 1.0, "y": 2.0}
    assert columns["source_images"] == {"x": 10.0, "y": 0.0}
    assert columns["other_targets"]["x"] == pytest.approx(-columns["other_targets"]["y"])


def test_an_order_that_the_study_scored_itself_is_left_to_it() -> None:
    world = MadeUp(["x", "y"], sizes=(1,))
    told = static_orders(world.members(), world.finetuned(), world.scores("base", lambda *_: 1.0))
    assert set(told["metric"]) == set(STATIC_ORDERS) - {"base", "other_targets"}  # there is no other target


def test_without_scores_the_probe_seed_is_0() -> None:
    world = MadeUp(["x", "y"], sizes=(1,))
    told = static_orders(world.members(), world.finetuned(), pd.DataFrame(columns=SCORES))
    assert set(told["probe_seed"]) == {0}
    with pytest.raises(ValueError, match="it lacks y"):
        static_orders(world.members().iloc[:1], world.finetuned(), pd.DataFrame(columns=SCORES))
