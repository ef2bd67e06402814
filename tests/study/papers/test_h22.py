"""Metrics with and without hard subsets."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from muster.metrics import pearson
from muster.study.papers import (
    bucket_sweep,
    fraction_sweep,
    hard_subset_gain,
    hard_subset_seconds,
    hard_subset_table,
    target_selection_table,
)

# "Towards Estimating Transferability using Hard Subsets" (2022), table 1 as printed: base, CA, CS of LEEP, NCE, GBC.
PRINTED = {
    "CUB200": ((0.534, 0.405, 0.667), (0.330, 0.040, 0.500), (0.790, 0.811, 0.785)),
    "StanfordDogs": ((0.926, 0.943, 0.931), (0.930, 0.924, 0.955), (0.784, 0.944, 0.834)),
    "Flowers102": ((0.504, 0.508, 0.723), (0.382, 0.390, 0.388), (-0.012, -0.013, -0.02)),
    "Oxford-IIIT": ((0.921, 0.952, 0.927), (0.846, 0.851, 0.916), (0.668, 0.867, 0.745)),
    "Caltech101": ((0.416, 0.439, 0.458), (0.204, 0.461, 0.504), (0.810, 0.793, 0.821)),
    "Imagenette": ((0.950, 0.950, 0.962), (0.927, 0.940, 0.889), (0.709, 0.723, 0.711)),
    "PACS-Sketch": ((-0.029, 0.196, 0.253), (-0.129, 0.160, -0.208), (0.612, 0.637, 0.601)),
}


def printed_table() -> pd.DataFrame:
    rows = []
    for target, blocks in PRINTED.items():
        for metric, values in zip(("leep", "nce", "gbc"), blocks, strict=True):
            names = (metric, f"{metric}+haste_ca", f"{metric}+haste_cs")
            rows += [
                {"target": target, "metric": name, "pearson": value} for name, value in zip(names, values, strict=True)
            ]
    return hard_subset_table(pd.DataFrame(rows))


def test_the_printed_table_gives_its_printed_improvements() -> None:
    gain = hard_subset_gain(printed_table()).set_index("metric")
    assert gain["improvement"].round(2).tolist() == [129.75, 29.38, -0.08]
    assert gain.loc["leep", "wins"] == 7
    assert gain["targets"].tolist() == [7, 7, 7]


def test_a_variant_that_was_not_computed_is_left_out() -> None:
    rows = [("t", "leep", 0.5), ("t", "leep+haste_ca", 0.6), ("t", "nce", 0.4)]
    table = hard_subset_table(pd.DataFrame(rows, columns=["target", "metric", "pearson"]))
    assert table["metric"].tolist() == ["leep"]
    assert math.isnan(table.loc[0, "CS"])
    assert hard_subset_gain(table).loc[0, "improvement"] == pytest.approx(20.0)


def pairs_of(column: str, values: dict[object, float]) -> pd.DataFrame:
    """Two targets, two seeds of the probe, and noise that differs among the values of a column."""
    random = np.random.default_rng(0)
    rows = []
    for target in ("t", "u"):
        results = random.uniform(0.3, 0.6, 8)
        for probe_seed in (0, 1):
            for value, noise in values.items():
                for place, result in enumerate(results):
                    rows.append({"target": target, "regime": "few", "subset_seed": 0, "probe_seed": probe_seed,
                                 "metric": "leep+haste_cs", "members": f"m{place}", column: value, "result": result,
                                 "score": result + random.normal(0, noise)})  # fmt: skip
    return pd.DataFrame(rows)


def test_fractions_are_means_over_targets_and_deviations_over_seeds() -> None:
    pairs = pairs_of("fraction", {0.1: 0.2, 0.5: 0.01})
    table = fraction_sweep(pairs).set_index("fraction")
    of_seeds = []
    for seed in (0, 1):
        parts = [pairs[(pairs["fraction"] == 0.1) & (pairs["probe_seed"] == seed) & (pairs["target"] == target)]
                 for target in ("t", "u")]  # fmt: skip
        of_seeds.append(np.mean([pearson(part["score"].to_numpy(), part["result"].to_numpy()) for part in parts]))
    assert table.loc[0.1, "mean"] == pytest.approx(np.mean(of_seeds))
    assert table.loc[0.1, "deviation"] == pytest.approx(np.std(of_seeds, ddof=1))
    assert table.loc[0.5, "mean"] > 0.95
    assert table["targets"].tolist() == [2, 2]


def test_buckets_are_read_from_the_names_of_metrics() -> None:
    pairs = pairs_of("metric", {"leep+haste_cs_2of2": 0.3, "leep+haste_cs_1of2": 0.01, "leep": 0.1})
    table = bucket_sweep(pairs)
    assert table["bucket"].tolist() == [1, 2]
    assert set(table["metric"]) == {"leep+haste_cs"}
    assert table["mean"].iloc[0] > table["mean"].iloc[1]
    assert bucket_sweep(pairs[pairs["metric"] == "leep"]).empty


def test_targets_are_compared_source_by_source() -> None:
    random, rows = np.random.default_rng(1), []
    for member in ("m", "n"):
        results = random.uniform(0.3, 0.6, 6)
        for metric, noise in (("leep", 0.3), ("leep+haste_ca", 0.1), ("leep+haste_cs", 0.0)):
            rows += [{"target": f"t{place}", "members": member, "metric": metric, "subset_seed": 0, "probe_seed": 0,
                      "score": result + random.normal(0, noise), "result": result}
                     for place, result in enumerate(results)]  # fmt: skip
    pairs = pd.DataFrame(rows)
    table = target_selection_table(pairs).set_index("source")
    assert table["CS"].tolist() == pytest.approx([1.0, 1.0])
    own = pairs[(pairs["members"] == "n") & (pairs["metric"] == "leep+haste_ca")]
    assert table.loc["n", "CA"] == pytest.approx(pearson(own["score"].to_numpy(), own["result"].to_numpy()))
    assert target_selection_table(pairs, fewest=7).empty


def test_the_time_to_find_hard_samples_stands_beside_that_of_metrics() -> None:
    rows = [("hard subsets", "haste_cs", 0, 2.0), ("hard subsets", "haste_cs", 0, 4.0), ("metric", "leep", 1, 1.0),
            ("metric", "leep+haste_cs", 1, 9.0), ("metric", "e_leep", 2, 9.0), ("scores", "", 0, 9.0)]  # fmt: skip
    table = hard_subset_seconds(pd.DataFrame(rows, columns=["step", "metric", "size", "seconds"]))
    assert table.to_numpy().tolist() == [["leep", False, 1.0], ["haste_cs", True, 3.0]]
