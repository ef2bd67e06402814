"""Transfer gains, their levels, and what M21 concludes from them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from muster.study.papers import (
    best_source_shares,
    gain_level,
    gain_matrix,
    inclusion_against_size,
    level_shares,
    multi_source_against_largest,
    rank_correlations,
    relative_transfer_gain,
    small_against_full,
    transfer_gains,
)
from muster.study.papers.m21_analyses import STRAIGHT_COLUMN
from tests.study.papers.made_up import MadeUp, made_up


@pytest.fixture(scope="module")
def study() -> MadeUp:
    return made_up(sizes=(1,))


@pytest.fixture(scope="module")
def gains(study: MadeUp) -> pd.DataFrame:
    return transfer_gains(study.finetuned, study.members, study.targets)


def test_the_gain_is_relative_to_the_target_straight_from_pre_training() -> None:
    assert relative_transfer_gain([0.6, 0.45, 0.5], [0.5, 0.5, 0.5]).round(9).tolist() == [20.0, -10.0, 0.0]
    assert relative_transfer_gain([0.9], [1.0], lower_is_better=True).round(9).tolist() == [10.0]
    with pytest.raises(ValueError, match="positive"):
        relative_transfer_gain([0.5], [0.0])
    with pytest.raises(ValueError, match="one length"):
        relative_transfer_gain([0.5], [0.5, 0.4])


@pytest.mark.parametrize(
    ("gain", "level"), [(10.1, "VP"), (10.0, "P"), (2.1, "P"), (2.0, "I"), (-2.0, "I"), (-2.1, "N")]
)
def test_levels(gain: float, level: str) -> None:
    assert gain_level(gain) == level


def test_each_gain_has_the_denominator_of_its_own_pre_training_and_architecture(
    study: MadeUp, gains: pd.DataFrame
) -> None:
    results = study.finetuned.groupby(["target", "regime", "member"])["result"].mean()  # over both seeds
    for row in gains.sample(20, random_state=0).itertuples():
        start = f"start-{row.architecture.split(':')[1]}-{row.pretraining}"
        straight = results[row.target, row.regime, start]
        assert row.straight_result == pytest.approx(straight)
        assert row.gain == pytest.approx((results[row.target, row.regime, row.member] / straight - 1) * 100)
    assert "pre-training" not in set(gains["kind"])
    assert not (gains["dataset"] == gains["target"]).any()


def test_without_a_denominator_there_is_no_gain(study: MadeUp) -> None:
    part = study.finetuned[study.finetuned["member"] != "start-lite0-none"]
    gains = transfer_gains(part, study.members, study.targets)
    lost = (gains["architecture"] == "fpn:lite0") & (gains["pretraining"] == "none")
    assert gains.loc[lost, "gain"].isna().all()
    assert gains.loc[~lost, "gain"].notna().all()
    assert set(gains.loc[lost, "level"]) == {""}
    assert level_shares(gains)["experiments"].max() < len(gains)


def test_domains_and_sizes_are_compared(gains: pd.DataFrame) -> None:
    row = gains[(gains["target"] == "camvid") & (gains["member"] == "kitti-lite0-imagenet")].iloc[0]
    assert (row["domain_transfer"], row["size_order"]) == ("within", "smaller")
    row = gains[(gains["target"] == "camvid") & (gains["member"] == "isaid-lite0-imagenet")].iloc[0]
    assert (row["domain_transfer"], row["size_order"]) == ("across", "larger")
    assert set(gains.loc[gains["kind"] == "multi-source", "domain_transfer"]) == {"multi-source"}


def worked_gains() -> pd.DataFrame:
    """Two targets, whose gains can be counted by hand."""
    rows = [
        ("t", "within", "larger", 12.0),
        ("t", "within", "smaller", -3.0),
        ("t", "across", "larger", 3.0),
        ("u", "within", "larger", 1.0),
        ("u", "across", "smaller", -4.0),
        ("u", "across", "larger", np.nan),
    ]
    frame = pd.DataFrame(rows, columns=["target", "domain_transfer", "size_order", "gain"])
    return frame.assign(regime="few", subset_seed=0)


def test_shares_of_levels_worked_by_hand() -> None:
    shares = level_shares(worked_gains()).set_index("domain_transfer")
    assert shares.loc["all", ["positive", "very_positive", "negative", "experiments"]].tolist() == [0.4, 0.2, 0.4, 5]
    assert shares.loc["within", ["positive", "very_positive", "negative"]].tolist() == pytest.approx([1 / 3] * 3)
    assert shares.loc["across", ["positive", "very_positive", "negative", "experiments"]].tolist() == [0.5, 0, 0.5, 2]
    by_size = level_shares(worked_gains(), ["size_order"]).set_index("size_order")
    assert by_size.loc["larger", "positive"] == pytest.approx(2 / 3)
    assert by_size.loc["smaller", "negative"] == 1.0


def test_shares_of_best_sources_worked_by_hand() -> None:
    shares = best_source_shares(worked_gains()).set_index("domain_transfer")
    # The best of all: 12 for t, 1 for u; within: the same; across: 3 and -4.
    assert shares.loc["all", ["positive", "very_positive", "negative", "experiments"]].tolist() == [0.5, 0.5, 0, 2]
    assert shares.loc["within", "positive"] == 0.5
    assert shares.loc["across", ["positive", "very_positive", "negative"]].tolist() == [0.5, 0, 0.5]


def test_matrices_are_ordered_by_domain_and_size(gains: pd.DataFrame) -> None:
    few = gains[gains["regime"] == "few"]
    matrix = gain_matrix(few)
    assert list(matrix.index) == ["isprs", "kitti", "camvid", "sun"]
    assert list(matrix.columns) == ["isprs", "isaid", "kitti", "camvid", "idd", "sun", "scannet", "multi-source"]
    assert np.isnan(matrix.loc["sun", "sun"])
    part = few[(few["target"] == "sun") & (few["dataset"] == "idd")]
    assert matrix.loc["sun", "idd"] == pytest.approx(part["gain"].mean())
    results = gain_matrix(few, "result")
    assert results.columns[0] == STRAIGHT_COLUMN
    assert results.loc["sun", "idd"] == pytest.approx(part["result"].mean())
    with pytest.raises(ValueError, match="all, few"):
        gain_matrix(gains)


def slow_tau(left: list[float], right: list[float]) -> float:
    """Kendall's tau without ties."""
    signs = [np.sign((left[i] - left[j]) * (right[i] - right[j])) for i, j in combinations(range(len(left)), 2)]
    return float(np.mean(signs))


def test_rank_correlations_equal_a_count_of_pairs(study: MadeUp, gains: pd.DataFrame) -> None:
    one = gains[(gains["architecture"] == "fpn:lite0") & (gains["pretraining"] == "imagenet")]
    table = rank_correlations(one, study.distances).set_index(["regime", "with"])
    inclusion = study.distances[study.distances["assignment"] == "target_to_source"]
    distance = inclusion.set_index(["target", "source"])["distance"]
    part = one[(one["regime"] == "few") & (one["kind"] == "single-source")]
    closeness = [-distance[row.target, row.dataset] for row in part.itertuples()]
    assert table.loc[("few", "target_to_source"), "tau"] == pytest.approx(slow_tau(closeness, list(part["gain"])))
    within = [
        slow_tau([-distance[target, name] for name in rows["dataset"]], list(rows["gain"]))
        for target, rows in part.groupby("target")
    ]
    assert table.loc[("few", "target_to_source"), "tau_within_targets"] == pytest.approx(np.mean(within))
    assert table.loc[("few", "target_to_source"), "tau"] > 0.2  # close sources help, as they were made
    assert table.loc[("few", "source size"), "experiments"] == len(part)


def test_several_sources_are_compared_with_the_largest_of_the_domain(gains: pd.DataFrame) -> None:
    table = multi_source_against_largest(gains)
    assert len(table) == 4 * 2 * 4
    row = table[(table["target"] == "camvid") & (table["regime"] == "few")].iloc[0]
    assert row["largest"].startswith("idd")
    assert row["difference"] == pytest.approx(row["largest_gain"] - row["multi_source_gain"])
    expected = np.select([table["difference"] > 2, table["difference"] < -2], ["largest", "multi-source"], "neither")
    assert table["better"].tolist() == expected.tolist()


def test_small_and_full_targets_worked_by_hand() -> None:
    rows = []
    for member, few, full in (("a", 5, 3), ("b", 6, 0), ("c", -5, 1), ("d", 0, 4), ("e", -3, 5)):
        for regime, gain in (("few", few), ("all", full)):
            rows.append({"target": "t", "target_domain": "x", "member": member, "kind": "single-source",
                         "dataset": member, "domain": "x", "domain_transfer": "within", "regime": regime,
                         "subset_seed": 0, "gain": float(gain)})  # fmt: skip
    table = small_against_full(pd.DataFrame(rows), "few", "all")
    assert table["experiments"].tolist() == [3, 2, 2]
    assert table["share"].tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 2])
    with pytest.raises(ValueError, match="'al'"):
        small_against_full(pd.DataFrame(rows), "few", "al")


def test_capped_sources_stand_beside_whole_ones(study: MadeUp, gains: pd.DataFrame) -> None:
    few = gains[gains["regime"] == "few"]
    table = inclusion_against_size(few, few.assign(train_images=1500), study.distances)
    same = table[table["with"] == "gains of capped sources"].iloc[0]
    assert same["tau"] == pytest.approx(1.0)
    capped = table[(table["sources"] == "capped") & (table["with"] == "source size")].iloc[0]
    assert np.isnan(capped["tau"])  # equal sizes order nothing
