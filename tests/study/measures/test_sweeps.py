"""Means of sweeps over targets, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from muster.study.measures import over_cells, sweep_agreement
from muster.study.measures.sweeps import sweep_scores
from muster.study.tables import StudyTables


def test_means_are_of_the_same_targets_at_every_value() -> None:
    rows = [
        ("x", 20.0, False, 0.2), ("y", 20.0, False, 0.4),
        ("x", 50.0, False, 0.9),  # y has fewer images
        ("x", 100.0, True, 0.6), ("y", 40.0, True, 0.8),
    ]  # fmt: skip
    told = pd.DataFrame(rows, columns=["target", "value", "own", "weighted_kendall"])
    means = over_cells(told.assign(predictor="", metric="logme"))
    assert means["value"].tolist() == [20.0, 70.0]
    assert means["own"].tolist() == [False, True]
    assert means["weighted_kendall"].tolist() == pytest.approx([0.3, 0.7])


def test_all_dimensions_have_one_place() -> None:
    rows = [("x", np.inf, True, 0.2), ("y", np.inf, True, 0.4)]
    told = pd.DataFrame(rows, columns=["target", "value", "own", "weighted_kendall"])
    assert over_cells(told.assign(predictor="", metric="logme"))["value"].tolist() == [np.inf]


def test_a_study_without_sweeps_has_none() -> None:
    assert sweep_agreement(StudyTables.of(), pd.DataFrame()).empty


@pytest.mark.parametrize(("looked_at", "own"), [(0, 90.0), (50, 50.0)])
def test_the_study_s_own_probe_is_as_large_as_it_was(looked_at: int, own: float) -> None:
    key = {"target": "x", "regime": "all", "subset_seed": 0}
    scores = pd.DataFrame(
        [{**key, "probe_seed": 0, "predictor": "", "metric": "parc", "size": 1, "members": "a", "score": 1.0}]
    )
    about = {"train_images": 90, "validation_images": 0, "image_size": "32", "pixels_per_image": 1}
    tables = StudyTables.of(
        scores=scores,
        sweeps=scores.assign(setting="train_images", value=20.0),
        cells=pd.DataFrame([{**key, **about, **({"probe_images": looked_at} if looked_at else {})}]),
    )
    assert sweep_scores(tables).groupby("own")["value"].first().to_dict() == {False: 20.0, True: own}
