"""A22's tables from a study's frames."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from muster.report.study_tables import correlation_lines, frame_lines
from muster.study.papers import (
    best_of_each_size,
    chosen_sources,
    correlation_table,
    ensemble_and_members,
    gains_over,
    setup_column,
)
from muster.study.papers.a22 import MEASURES, METRICS
from tests.study.papers.made_up import made_up

# Agostinelli et al., CVPR 2022, table 3 as printed: BASE, MS-LEEP, E-LEEP, IoU-EEP, SoftIoU-EEP under each correlation.
PRINTED = {
    "Camvid": (0.51, 0.69, 0.70, 0.50, 0.68, 0.30, 0.56, 0.55, 0.37, 0.51, 0.46, 0.74, 0.73, 0.56, 0.70),
    "ISPRS": (0.45, 0.61, 0.54, 0.59, 0.68, 0.22, 0.41, 0.37, 0.41, 0.44, 0.29, 0.60, 0.55, 0.59, 0.63),
    "vKITTI2": (0.56, 0.57, 0.58, 0.60, 0.60, 0.38, 0.49, 0.51, 0.51, 0.53, 0.54, 0.66, 0.67, 0.62, 0.70),
    "KITTI": (0.22, 0.62, 0.65, 0.54, 0.66, 0.17, 0.50, 0.54, 0.42, 0.53, 0.25, 0.69, 0.73, 0.62, 0.74),
    "PVOC": (0.71, 0.81, 0.82, 0.81, 0.83, 0.42, 0.59, 0.61, 0.58, 0.61, 0.66, 0.84, 0.83, 0.73, 0.81),
}
PRINTED_AVERAGE = (0.49, 0.66, 0.66, 0.61, 0.69, 0.30, 0.51, 0.52, 0.46, 0.52, 0.44, 0.71, 0.70, 0.62, 0.72)


def printed_correlations() -> pd.DataFrame:
    rows = []
    for target, values in PRINTED.items():
        for place, metric in enumerate(METRICS):
            found = {measure: values[5 * block + place] for block, measure in enumerate(MEASURES)}
            rows.append({"target": target, "metric": metric, **found})
    return pd.DataFrame(rows)


def test_the_printed_rows_of_table_3_give_its_printed_average_row() -> None:
    lines = correlation_lines(correlation_table(printed_correlations()))
    assert lines[0].startswith("|  | weighted Kendall: BASE | weighted Kendall: MS-LEEP |")
    assert len(lines) == 2 + 5 + 1
    cells = [cell.strip().strip("*") for cell in lines[-1].strip("|").split("|")]
    assert cells == ["Average", *(f"{value:.2f}" for value in PRINTED_AVERAGE)]
    assert "| **0.69** |" in lines[-1]  # the best of its correlation
    assert lines[2].startswith("| Camvid | 0.51 | 0.69 | **0.70** | 0.50 | 0.68 | 0.30 | **0.56** |")


def test_seeds_are_averaged_and_an_undefined_correlation_is_left_out_of_the_average() -> None:
    rows = [("a", 0.2), ("a", 0.4), ("b", math.nan), ("c", 0.5)]
    frame = pd.DataFrame([{"target": target, "metric": "base", "kendall": value} for target, value in rows])
    table = correlation_table(frame, ["base"], ["kendall"])
    assert table["kendall", "base"].round(9).tolist()[::3] == [0.3, 0.4]
    assert math.isnan(table.loc["b", ("kendall", "base")])
    assert "| b | – |" in correlation_lines(table)  # noqa: RUF001


def test_a_metric_that_is_not_there_is_named_with_its_nearest() -> None:
    with pytest.raises(ValueError, match="soft_iou_ep"):
        correlation_table(printed_correlations(), ["soft_iou_ep"])
    with pytest.raises(ValueError, match="columns pearson"):
        correlation_table(printed_correlations().drop(columns="pearson"))


def test_gains_are_relative_and_their_average_is_the_mean_of_gains() -> None:
    rows = [("a", "ensemble", 0.55), ("a", "B1", 0.50), ("a", "B1L", 0.55), ("b", "ensemble", 0.30), ("b", "B1", 0.25)]
    table = gains_over(pd.DataFrame(rows, columns=["target", "choice", "result"]), "ensemble", ["B1", "B1L"])
    assert table["gain over B1"].round(9).tolist() == [10.0, 20.0, 15.0]
    assert table["gain over B1L"].round(9).tolist()[::2] == [0.0, 0.0]
    assert math.isnan(table.loc["b", "gain over B1L"])
    assert list(table.columns) == ["B1", "B1L", "ensemble", "gain over B1", "gain over B1L"]
    assert frame_lines(table, index=True)[2] == "| a | 0.50 | 0.55 | 0.55 | 10.00 | 0.00 |"


def test_the_best_of_each_size_is_compared_with_the_best_single_member() -> None:
    rows = []
    for seed, shift in ((0, 0.1), (1, -0.1)):  # the best is that of the mean over seeds
        for members, result in (("a", 0.50), ("b", 0.40), ("a b", 0.60), ("a c", 0.45)):
            rows.append({"target": "t", "regime": "few", "subset_seed": 0, "finetuning_seed": seed,
                         "size": len(members.split()), "members": members, "result": result + shift})  # fmt: skip
    table = best_of_each_size(pd.DataFrame(rows))
    assert table["size"].tolist() == [1, 2]
    assert table["gain"].round(9).tolist() == [0.0, 20.0]
    assert table["candidates"].tolist() == [2, 2]


def test_the_setup_counts_what_candidates_are_made_of() -> None:
    study = made_up(kept=5)
    column = setup_column(study.members, study.ensembles)
    assert column["source models"] == "5"
    assert column["candidates"] == "10"
    of_targets = []
    for _, part in study.ensembles[study.ensembles["size"] == 3].groupby("target"):
        names = {name for text in part["members"] for name in text.split()}
        of_targets.append(study.members[study.members["member"].isin(names)]["pretraining"].nunique())
    low, high = min(of_targets), max(of_targets)
    assert column["pre-training schemes"] == (str(low) if low == high else f"{low}-{high}")


def test_chosen_members_are_told_by_what_they_are() -> None:
    members = made_up().members
    table = chosen_sources({"kitti": "idd-lite0-imagenet sun-lite2-none"}, members)
    assert table["dataset"].tolist() == ["idd", "sun"]
    assert table["architecture"].tolist() == ["fpn:lite0", "fpn:lite2"]
    with pytest.raises(ValueError, match="idd-lite9"):
        chosen_sources({"kitti": "idd-lite9"}, members)


def test_the_ensemble_stands_beside_its_members() -> None:
    rows = [("t", "a", 0.4), ("t", "b", 0.5), ("t", "a b", 0.54)]
    ensembles = pd.DataFrame(rows, columns=["target", "members", "result"])
    plain = ensemble_and_members({"t": "a b"}, ensembles).iloc[0]
    assert plain["results"] == (0.4, 0.5)
    assert round(plain["over_best"], 9) == 8.0
    assert round(plain["over_worst"], 9) == 35.0
    heads = pd.DataFrame([{"target": "t", "members": "a b", "learned_head": 0.55}])
    assert round(ensemble_and_members({"t": "a b"}, ensembles, heads).iloc[0]["over_best"], 9) == 10.0
    with pytest.raises(ValueError, match="'a c'"):
        ensemble_and_members({"t": "a c"}, ensembles)
