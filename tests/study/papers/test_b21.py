"""Agreement of single models' scores in B21's modes, and its tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from muster.metrics import pearson
from muster.study.papers import (
    depth_table,
    evaluation_modes,
    mean_pearson,
    method_table,
    reduction_table,
    relative_sweep,
    scores_beside_results,
    single_model_pairs,
    tweak_table,
    with_depth,
)
from tests.study.papers.made_up import made_up

FIXED = {
    "source and architecture": ["target"],
    "architecture": ["target", "dataset", "pretraining"],
    "source": ["target", "architecture", "pretraining"],
    "target": ["members"],
}


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    """Three seeds of the probe set, four architectures, three sources, three targets."""
    random = np.random.default_rng(0)
    rows = []
    for target in ("x", "y", "z"):
        level = random.uniform(0.2, 0.6)
        for place, dataset in enumerate(("a", "b", "c")):
            for depth, architecture in ((18, "r18"), (34, "r34"), (50, "r50"), (101, "r101")):
                result = level + 0.05 * place + depth / 1000 + random.normal(0, 0.01)
                for probe_seed in range(3):
                    rows += [{"target": target, "regime": "few", "subset_seed": 0, "probe_seed": probe_seed,
                              "predictor": "", "metric": metric, "size": 1, "members": f"{dataset}-{architecture}",
                              "dataset": dataset, "architecture": architecture, "pretraining": "imagenet",
                              "depth": depth, "result": result, "score": result + random.normal(0, noise)}
                             for metric, noise in (("parc", 0.08), ("parc+pca32", 0.05), ("parc+pca64", 0.04),
                                                   ("logme", 0.06))]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("mode", FIXED)
def test_each_mode_equals_loops_over_its_groups(pairs: pd.DataFrame, mode: str) -> None:
    found = mean_pearson(pairs, mode).set_index("metric")
    of_seeds = []
    for seed in range(3):
        part = pairs[(pairs["metric"] == "parc") & (pairs["probe_seed"] == seed)]
        groups = [pearson(rows["score"].to_numpy(), rows["result"].to_numpy()) for _, rows in part.groupby(FIXED[mode])]
        of_seeds.append(np.mean(groups))
    assert found.loc["parc", "mean"] == pytest.approx(np.mean(of_seeds))
    assert found.loc["parc", "deviation"] == pytest.approx(np.std(of_seeds, ddof=1))
    assert found.loc["parc", "probe_seeds"] == 3
    assert found.loc["parc", "groups"] == len(groups)


def test_all_modes_stand_in_one_table(pairs: pd.DataFrame) -> None:
    table = evaluation_modes(pairs)
    assert list(dict.fromkeys(table["mode"])) == list(FIXED)
    assert len(table) == 4 * 4
    with pytest.raises(ValueError, match="architecture"):
        mean_pearson(pairs, "architectur")


def test_groups_of_two_have_no_correlation(pairs: pd.DataFrame) -> None:
    two = pairs[pairs["architecture"].isin(["r18", "r50"])]
    assert mean_pearson(two, "architecture").empty
    assert not mean_pearson(two, "source").empty


def test_a_studys_scores_are_put_beside_the_mean_over_finetuning_seeds() -> None:
    study = made_up(kept=30, regimes=("few",), sizes=(1,))
    found = single_model_pairs(scores_beside_results(study.scores, study.ensembles), study.members)
    row = found.iloc[0]
    same = (study.ensembles["target"] == row["target"]) & (study.ensembles["members"] == row["members"])
    assert row["result"] == pytest.approx(study.ensembles.loc[same, "result"].mean())
    assert set(found["size"]) == {1}
    assert {"dataset", "architecture", "pretraining", "depth"} <= set(found.columns)
    table = mean_pearson(found).set_index("metric")
    assert table.loc["logme", "mean"] > 0.5
    assert table.loc["logme", "groups"] == 4


def test_an_ensemble_has_the_sum_of_its_members_scores() -> None:
    study = made_up(targets=("camvid",), kept=5, regimes=("few",), sizes=(1, 3))
    found = scores_beside_results(study.scores, study.ensembles, sizes=[3])
    assert set(found["metric"]) == {"leep", "logme", "e_leep", "soft_iou_eep"}
    assert len(found) == 4 * 2 * 10
    row = found[(found["metric"] == "logme") & (found["probe_seed"] == 1)].iloc[3]
    part = study.scores[(study.scores["metric"] == "logme") & (study.scores["probe_seed"] == 1)]
    single = part.set_index("members")["score"]
    assert row["score"] == pytest.approx(sum(single[name] for name in row["members"].split()))


def test_a_sweep_keeps_its_points_apart() -> None:
    study = made_up(targets=("camvid", "sun"), kept=6, regimes=("few",), sizes=(1,))
    both = pd.concat([study.scores.assign(pixels=100, score=-study.scores["score"]), study.scores.assign(pixels=500)])
    pairs = scores_beside_results(both, study.ensembles, by=["pixels"])
    means = mean_pearson(pairs, by=["pixels"]).set_index(["metric", "pixels"])["mean"]
    assert means["logme", 100] == pytest.approx(-means["logme", 500])


def test_the_depth_is_added_to_standardised_scores(pairs: pd.DataFrame) -> None:
    both = with_depth(pairs)
    part = both[(both["target"] == "x") & (both["probe_seed"] == 1)]
    plain = part[part["metric"] == "logme"]["score"].to_numpy()
    deep = part[part["metric"] == "logme+l"]
    expected = (plain - plain.mean()) / plain.std(ddof=1) + deep["depth"].to_numpy() / 50
    np.testing.assert_allclose(deep["score"].to_numpy(), expected)
    assert len(with_depth(both)) == len(both)
    sums = pairs[pairs["metric"] == "logme"].assign(metric="ms_leep+haste_ca")  # of single models, and yet no depth
    assert set(with_depth(sums)["metric"]) == {"ms_leep+haste_ca"}
    table = depth_table(mean_pearson(both)).set_index("metric")
    assert sorted(table.index) == ["logme", "parc"]
    means = mean_pearson(both).set_index("metric")["mean"]
    assert table.loc["parc", "mean_with_depth"] == means["parc+l"]
    assert table.loc["parc", "mean"] == means["parc"]


def test_the_best_reduction_and_all_tweaks_stand_beside_the_bare_metric(pairs: pd.DataFrame) -> None:
    means = mean_pearson(with_depth(pairs))
    table = reduction_table(means)
    values = means.set_index("metric")["mean"]
    best = max(("parc+pca32", "parc+pca64"), key=lambda name: values[name])
    assert table["metric"].tolist() == ["parc"]
    assert table.loc[0, "mean_reduced"] == values[best]
    assert table.loc[0, "dimensions"] == int(best.removeprefix("parc+pca"))
    tweaks = tweak_table(means, ["logme", "parc"])
    assert tweaks["base"].tolist() == ["logme"] * 2 + ["parc"] * 6
    with pytest.raises(ValueError, match="leep"):
        tweak_table(means, ["leep"])


def test_methods_are_told_with_what_they_need_and_their_time(pairs: pd.DataFrame) -> None:
    seconds = pd.DataFrame({"metric": ["logme", "logme"], "seconds": [0.1, 0.3]})
    table = method_table(mean_pearson(pairs), seconds).set_index("metric")
    assert table.loc["logme", "inputs"] == "features, labels"
    assert table.loc["logme", "seconds"] == pytest.approx(0.2)
    assert np.isnan(table.loc["parc", "seconds"])


def test_sweeps_are_relative_to_one_point() -> None:
    means = pd.DataFrame({"regime": "few", "predictor": "", "metric": ["leep"] * 3, "pixels": [100, 500, 1000],
                          "mean": [0.2, 0.4, 0.6], "seconds": [1.0, 2.0, 8.0]})  # fmt: skip
    table = relative_sweep(means, "pixels", 500)
    assert table["relative"].round(9).tolist() == [0.5, 1.0, 1.5]
    assert table["relative_seconds"].round(9).tolist() == [0.5, 1.0, 4.0]
    with pytest.raises(ValueError, match="leep"):
        relative_sweep(means, "pixels", 300)
