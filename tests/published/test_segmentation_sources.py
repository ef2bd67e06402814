"""Our correlations on published results: how well five metrics order the sources of 17 segmentation datasets.

The expected means were computed from the same file with scipy 1.17 (``weightedtau``, ``kendalltau``, ``pearsonr``), by
code that shares nothing with ours, and are given to four digits. README.md beside this file says where it is from.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from muster.metrics import kendall, pearson, weighted_kendall

FILE = Path(__file__).with_name("segmentation_sources.csv")
EXPECTED = {
    "leep": (0.5166, 0.3902, 0.6521),
    "nleep": (0.5653, 0.4235, 0.6501),
    "logme": (0.6376, 0.5245, 0.7544),
    "hscore": (0.4026, 0.3569, 0.5420),
    "gbc": (0.5933, 0.4765, 0.6542),
    "static": (0.4223, 0.3314, 0.4669),
    "static_centred": (0.4418, 0.4147, 0.5413),
}

Table = dict[str, dict[str, dict[str, float]]]
"""By target, source and column."""


@pytest.fixture(scope="module")
def table() -> Table:
    """The file, with two orders of the sources that never look at the target."""
    rows: Table = defaultdict(dict)
    with FILE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            numbers = {name: float(value) for name, value in row.items() if name not in ("target", "source")}
            rows[row["target"]][row["source"]] = numbers
    mean_of = {target: np.mean([row["test_miou"] for row in sources.values()]) for target, sources in rows.items()}
    for target, sources in rows.items():
        for source, row in sources.items():
            others = {other for other in rows if other not in (target, source)}
            row["static"] = float(np.mean([rows[other][source]["test_miou"] for other in others]))
            row["static_centred"] = float(
                np.mean([rows[other][source]["test_miou"] - mean_of[other] for other in others])
            )
    return dict(rows)


def test_table_is_whole(table: Table) -> None:
    assert len(table) == 17
    assert all(set(sources) == set(table) - {target} for target, sources in table.items())


@pytest.mark.parametrize("score", EXPECTED)
def test_mean_correlations_over_targets(table: Table, score: str) -> None:
    columns = [
        ([row[score] for row in sources.values()], [row["test_miou"] for row in sources.values()])
        for sources in table.values()
    ]
    for correlation, expected in zip((weighted_kendall, kendall, pearson), EXPECTED[score], strict=True):
        found = float(np.mean([correlation(scores, reached) for scores, reached in columns]))
        assert found == pytest.approx(expected, abs=5.1e-5), correlation.__name__


def test_the_verdict_of_the_paper(table: Table) -> None:
    def mean_tau(score: str) -> float:
        return float(
            np.mean(
                [
                    weighted_kendall([r[score] for r in s.values()], [r["test_miou"] for r in s.values()])
                    for s in table.values()
                ]
            )
        )

    taus = {score: mean_tau(score) for score in EXPECTED}
    assert max(taus, key=taus.__getitem__) == "logme"
    assert min(taus, key=taus.__getitem__) == "hscore"  # no better than a list that never looks at the target
