"""Selecting by every metric, with wrappers, predictors, searches, budgets and sizes."""

from __future__ import annotations

import tempfile
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from muster import metrics
from muster.data import Dataset, channel_statistics
from muster.errors import ConfigError, SelectionError
from muster.metrics import METRICS, depth_correction, standardised_sum
from muster.pool import Pool
from muster.probe import ProbeReader, Reading, draw_probe_set
from muster.report.wording import search_sentence, size_sentence
from muster.selection import Selection, run
from muster.selection.run import select
from muster.tasks.source_sample import sample_source
from tests.helpers import make_member, make_target, shown, undated

SIZE = 2
OPTIONS = {"size": SIZE, "pixels_per_image": 60, "cache_gb": 0.0, "batch_size": 4, "resamples": 0}
SOURCE = make_target(5, name="elsewhere")

OF_CLASSES = {name: metric for name, metric in METRICS.items() if "numbers" not in metric.needs}
"""Metrics of targets whose truth is classes; tests/tasks/test_depth.py has the others."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Four members with samples of their source, the first three of one source; and one that saw the target."""
    folder = tmp_path_factory.mktemp("pool")
    statistics = channel_statistics(SOURCE.train)
    for seed, name in enumerate("abcdz"):
        dataset = "tiny" if name == "z" else ("elsewhere" if seed < 3 else "somewhere")
        architecture = "small_unet" if seed == 1 else "small_fpn"
        member = make_member(folder, name, seed, classes=3, dataset=dataset, architecture=architecture)
        sample = sample_source(member.load_model(), SOURCE.train, shown(statistics, 64), seed=seed)
        save_file(sample, member.folder / "source_sample.safetensors")
    return Pool.open(folder)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(6, void=("02",))


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    wrapped = ("logme+pca8+l", "gbc+haste_cs", "leep+haste_ca", "e_leep+haste_cs", "soft_iou_eep+haste_ca",
               "ms_leep+haste_cs", "leep+haste_cs", "rsa+pca3", "dds+pca2")  # fmt: skip
    return select(pool, target, metrics=(*OF_CLASSES, *wrapped), **OPTIONS)


@pytest.fixture(scope="module")
def readings(pool: Pool, target: Dataset) -> dict[str, Reading]:
    probe = draw_probe_set(target.train, 60, 0)
    reader = ProbeReader(target.train, probe, shown(target.train, 64))
    return {member.name: reader.read_all(member.load_model()) for member in pool}


def linear_predictions(readings: dict[str, Reading], target: Dataset) -> dict[str, torch.Tensor]:
    probe = draw_probe_set(target.train, 60, 0)
    groups = probe.image_of_pixel
    return {n: metrics.linear_probe(readings[n].features, probe.labels, groups, 3) for n in "abcd"}


def test_every_metric_ranks_every_candidate(selection: Selection) -> None:
    assert not selection.dropped
    assert len(selection.ranking) == 6
    for name, metric in OF_CLASSES.items():
        assert name in selection.ranking.scores
        assert (name in selection.single_scores) == (metric.kind == "member")
    assert set(selection.choices) == set(selection.ranking.scores)


def test_ensembles_have_the_sum_over_members(selection: Selection) -> None:
    for name, column in selection.single_scores.items():
        values = list(column.values())
        expected = [values[i] + values[j] for i, j in combinations(range(4), 2)]
        assert selection.ranking.scores[name] == pytest.approx(expected, rel=1e-12)


def test_single_scores_are_the_functions_own(
    selection: Selection, readings: dict[str, Reading], target: Dataset, pool: Pool
) -> None:
    probe = draw_probe_set(target.train, 60, 0)
    labels = probe.labels
    shares = probe.class_shares[list(probe.images)]
    for name in "abcd":
        reading, sample = readings[name], pool[name].load_source_sample()
        expected = {
            "leep": metrics.ms_leep([linear_predictions(readings, target)[name]], labels),
            "nce": metrics.nce(reading.probabilities, labels),
            "h_score_shrinkage": metrics.h_score(reading.features, labels, shrinkage=True),
            "gbc_spherical": metrics.gbc(reading.features, labels, covariance="spherical"),
            "knn_accuracy": metrics.knn_accuracy(reading.features, labels),
            "parc": metrics.parc(reading.image_features, shares),
            "rsa": metrics.rsa(reading.image_features, readings["z"].image_features),
            "dds": metrics.dds(reading.image_features, readings["z"].image_features),
            "knn_shares": metrics.knn_shares(reading.image_features, shares),
            "depth_and_size": metrics.depth_and_size(pool[name].card.depth, pool[name].card.train_images, 6),
        }
        for metric, value in expected.items():
            assert selection.single_scores[metric][name] == pytest.approx(value, rel=1e-6), metric
        for metric, function, dimensions in (("rsa+pca3", metrics.rsa, 3), ("dds+pca2", metrics.dds, 2)):
            both = (reading.image_features, readings["z"].image_features)
            value = function(*(metrics.reduce_dimensions(side, dimensions) for side in both))
            assert selection.single_scores[metric][name] == pytest.approx(value, rel=1e-6), metric
        judge = readings["d" if name == "d" else "a"]  # small_fpn is the most common architecture
        hard = metrics.hard_subset(metrics.mahalanobis_hardness(judge.features, labels))
        gbc = metrics.gbc(reading.features[hard], labels[hard], covariance="spherical")
        assert selection.single_scores["gbc+haste_cs"][name] == pytest.approx(gbc, rel=1e-6)
        assert {"stage_0", "features", "labels"} <= set(sample)


def test_costs_are_negated_and_parts_standardised(
    selection: Selection, readings: dict[str, Reading], target: Dataset, pool: Pool
) -> None:
    labels = draw_probe_set(target.train, 60, 0).labels
    parts = []
    for name in "abcd":
        sample = pool[name].load_source_sample()
        parts.append(metrics.otce(sample["features"], sample["labels"], readings[name].features, labels))
    expected = -standardised_sum(*np.array(parts).T)
    assert list(selection.single_scores["otce"].values()) == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


def test_depth_is_added_to_standardised_scores(
    selection: Selection, readings: dict[str, Reading], target: Dataset, pool: Pool
) -> None:
    labels = draw_probe_set(target.train, 60, 0).labels
    plain = [metrics.logme(metrics.reduce_dimensions(readings[n].features, 8), labels) for n in "abcd"]
    expected = depth_correction(plain, [pool[name].card.depth for name in "abcd"])
    assert list(selection.single_scores["logme+pca8+l"].values()) == pytest.approx(expected.tolist(), rel=1e-5)


def test_depth_that_counts_as_one_is_an_option(pool: Pool, target: Dataset, selection: Selection) -> None:
    chosen = select(pool, target, metric="depth_and_size+l", metrics=(), l_max=10.0, **OPTIONS)
    depths = [pool[name].card.depth for name in "abcd"]
    plain = list(selection.single_scores["depth_and_size"].values())
    expected = depth_correction(plain, depths, l_max=10.0).tolist()
    assert list(chosen.single_scores["depth_and_size+l"].values()) == pytest.approx(expected, rel=1e-12)


def test_hard_ensembles_are_scored_on_the_union(
    selection: Selection, readings: dict[str, Reading], target: Dataset
) -> None:
    labels = draw_probe_set(target.train, 60, 0).labels
    predictions = linear_predictions(readings, target)
    judges = dict.fromkeys("abc", "a") | {"d": "d"}
    hard = {
        name: metrics.hard_subset(metrics.mahalanobis_hardness(readings[judge].features, labels))
        for name, judge in judges.items()
    }
    for row, score in zip(selection.ranking.members, selection.ranking.scores["e_leep+haste_cs"], strict=True):
        names = ["abcd"[i] for i in row]
        union = metrics.hard_union([hard[name] for name in names])
        expected = metrics.e_leep([predictions[name][union] for name in names], labels[union])
        assert score == pytest.approx(expected, rel=1e-5)
    sums, singles = selection.ranking.scores["ms_leep+haste_cs"], selection.single_scores["leep+haste_cs"]
    for row, score in zip(selection.ranking.members, sums, strict=True):
        assert score == pytest.approx(sum(singles["abcd"[i]] for i in row), rel=1e-12)


def test_hard_images_have_one_ranking_per_source(
    selection: Selection, readings: dict[str, Reading], target: Dataset, pool: Pool
) -> None:
    probe = draw_probe_set(target.train, 60, 0)
    rows = torch.repeat_interleave(torch.arange(5), 60)

    def hardest(name: str) -> torch.Tensor:
        sample = pool[name].load_source_sample()
        source = [sample[f"stage_{k}"] for k in range(len(readings[name].stages))]
        return metrics.hard_subset(metrics.similarity_hardness(source, list(readings[name].stages)))

    predictions = linear_predictions(readings, target)
    for name in "abcd":
        images = hardest("d" if name == "d" else "a")
        pixels = torch.isin(rows, images)
        expected = metrics.ms_leep([predictions[name][pixels]], probe.labels[pixels])
        assert selection.single_scores["leep+haste_ca"][name] == pytest.approx(expected, rel=1e-5)
    assert selection.hardness_models["haste_ca"] == {"elsewhere": "a", "somewhere": "d"}
    assert selection.hard_eep == "held out"


def test_single_models_are_ranked_by_any_metric(pool: Pool, target: Dataset) -> None:
    chosen = select(pool, target, metric="logme", metrics=(), **{**OPTIONS, "size": 1})
    scores = chosen.single_scores["logme"]
    assert chosen.members == (max(scores, key=scores.__getitem__),)
    assert chosen.score == max(scores.values())


def test_linear_predictor_feeds_ensemble_metrics(
    readings: dict[str, Reading], pool: Pool, target: Dataset, tmp_path: Path
) -> None:
    probe = draw_probe_set(target.train, 60, 0)
    options = {**OPTIONS, "cache_gb": 1.0, "cache_dir": tmp_path}
    chosen = select(pool, target, predictor="linear_probe", metrics=("e_leep",), metric="iou_eep", **options)
    assert chosen.predictor == "linear_probe"
    groups = torch.repeat_interleave(torch.arange(5), 60)
    predictions = [metrics.linear_probe(readings[n].features, probe.labels, groups, 3) for n in "abcd"]
    expected = [metrics.e_leep([predictions[i], predictions[j]], probe.labels) for i, j in combinations(range(4), 2)]
    assert chosen.ranking.scores["e_leep"] == pytest.approx(expected, rel=1e-5)
    again = select(pool, target, predictor="linear_probe", metrics=("e_leep",), metric="iou_eep", **options)
    assert again.ranking.scores["e_leep"].tolist() == chosen.ranking.scores["e_leep"].tolist()


def test_predictions_on_disk_give_the_same(pool: Pool, target: Dataset, selection: Selection, tmp_path: Path) -> None:
    options = {**OPTIONS, "cache_gb": 1.0, "cache_dir": tmp_path}
    chosen = select(pool, target, metrics=("e_leep", "iou_eep"), memory_gb=0.0, **options)
    for metric in ("e_leep", "iou_eep", "soft_iou_eep"):
        assert chosen.ranking.scores[metric] == pytest.approx(selection.ranking.scores[metric], rel=1e-9)
    assert chosen.class_ious == selection.class_ious
    assert all(path.suffix == ".safetensors" for path in tmp_path.iterdir())


@pytest.mark.parametrize("search", ["greedy", "beam", "racing"])
def test_searches_report_what_they_found(pool: Pool, target: Dataset, selection: Selection, search: str) -> None:
    chosen = select(pool, target, search=search, metrics=("e_leep", "base"), **OPTIONS)
    assert chosen.search.strategy == search
    some = "The best of the 6 candidates: all were scored" if search == "racing" else "Not all ensembles were scored"
    assert search_sentence(chosen).startswith(some)
    known = {selection.names_of(row): row for row in range(len(selection.ranking))}
    for row in range(len(chosen.ranking)):
        for metric in ("soft_iou_eep", "e_leep", "base"):
            expected = selection.ranking.scores[metric][known[chosen.names_of(row)]]
            assert chosen.ranking.scores[metric][row] == pytest.approx(expected, rel=1e-6)


def test_budget(pool: Pool, target: Dataset, selection: Selection) -> None:
    parameters = {name: pool[name].card.parameters for name in "abcd"}
    cheapest = sum(sorted(parameters.values())[:SIZE])
    chosen = select(pool, target, max_parameters=cheapest, metrics=(), **OPTIONS)
    assert sum(parameters[name] for name in chosen.members) <= cheapest
    assert 0 < len(chosen.ranking) < len(selection.ranking)
    with pytest.raises(SelectionError, match=f"max_parameters={cheapest - 1:g}"):
        select(pool, target, max_parameters=cheapest - 1, metrics=(), **OPTIONS)
    timed = select(pool, target, max_inference_seconds=1e3, metrics=(), **OPTIONS)
    assert len(timed.ranking) == len(selection.ranking)


def test_size_is_proposed(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    chosen = select(pool, target, metrics=(), **{**OPTIONS, "size": "auto"})
    assert [step.size for step in chosen.sizes] == [1, 2, 3, 4]
    assert len(chosen.members) == chosen.size
    assert size_sentence(chosen).startswith(f"{chosen.size} member")
    chosen.save(tmp_path / "selection")
    assert undated(Selection.load(tmp_path / "selection")) == undated(chosen)
    for metric in ("ms_leep", "base", "logme"):
        with pytest.raises(ConfigError, match="size: 'auto'"):
            select(pool, target, metric=metric, metrics=(), **{**OPTIONS, "size": "auto"})


def test_says_how_sure_it_is(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    for predictor in ("eep", "linear_probe"):
        chosen = select(pool, target, metrics=(), predictor=predictor, **{**OPTIONS, "resamples": 50})
        assert chosen.bootstrap_confidence is not None
        assert chosen.bootstrap_confidence.margin == pytest.approx(chosen.margin, abs=1e-6)
        assert chosen.bootstrap_confidence.low <= chosen.bootstrap_confidence.high
        assert (chosen.bootstrap_confidence.resamples, chosen.bootstrap_confidence.images) == (50, 5)
        assert sum(chosen.bootstrap_confidence.selection_frequency) == pytest.approx(1)
        folder = tmp_path / predictor
        chosen.save(folder)
        assert Selection.load(folder).bootstrap_confidence == chosen.bootstrap_confidence
    assert select(pool, target, metric="base", metrics=(), **{**OPTIONS, "resamples": 50}).bootstrap_confidence is None


def test_without_a_cache_no_member_runs_twice(
    pool: Pool, target: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, runs = ProbeReader.read, list[int]()

    def counted(self: ProbeReader, *args: object) -> torch.Tensor:
        runs.append(1)
        return read(self, *args)

    monkeypatch.setattr(ProbeReader, "read", counted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chosen = select(pool, target, metrics=(), predictor="eep", **{**OPTIONS, "resamples": 50})
    assert chosen.bootstrap_confidence is not None
    assert len(runs) == len(chosen.member_scores) == 4
    assert not list(tmp_path.iterdir())


def test_a_metric_that_cannot_be_computed_is_left_out_or_refused(target: Dataset, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        member = make_member(tmp_path, name, seed, classes=3)
        model = member.load_model()
        model.body.requires_grad_(False)
    pool = Pool.open(tmp_path)
    with pytest.raises(SelectionError, match=r"otce.* compare with the members' own source images, but a, b carry"):
        select(pool, target, metrics=("otce",), **OPTIONS)
    with pytest.raises(SelectionError, match=r"rsa compare with a model trained on the target"):
        select(pool, target, metrics=("rsa",), **OPTIONS)
    single = make_target(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = select(pool, single, metrics=("parc",), **OPTIONS)
    assert "parc" in chosen.dropped
    assert chosen.predictor == "eep"  # nothing is left to check a linear one on
    assert any("EEP is used" in str(warning.message) for warning in caught)
    assert any("Metric 'parc' is left out" in str(warning.message) for warning in caught)
    with pytest.raises(SelectionError, match="'parc' cannot be chosen by"):
        select(pool, single, metric="parc", metrics=(), predictor="eep", **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "soft"}, "metric: Unknown metric 'soft'"),
        ({"metrics": ("logme+pca",)}, "Unknown wrapper 'pca'"),
        ({"hard_fraction": 0.0}, "hard_fraction"),
        ({"l_max": 0.0}, "l_max: expected a positive number of layers, but got 0.0"),
        ({"l_max": float("inf")}, "l_max: expected a positive number"),
        ({"l_max": 30.0}, "l_max has no effect without \\+l"),
        ({"resamples": 3}, "resamples: expected 0 or at least"),
        ({"search": "greedy", "metric": "logme"}, "search: 'greedy' can choose by"),
        ({"max_parameters": 0}, "max_parameters: expected a positive number"),
        ({"max_inference_seconds": -1.0}, "max_inference_seconds: expected a positive number"),
        ({"search": "beam", "metric": "e_leep+haste_cs"}, "search: 'beam' can choose by"),
        ({"search": "racing", "max_parameters": 10**9}, "search: 'racing' does not look at all 6 ensembles of 2"),
        ({"size": "auto", "metric": "e_leep+haste_cs"}, "size: 'auto' compares"),
    ],
)
def test_bad_options(
    pool: Pool, target: Dataset, options: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "score_members", None)  # no member is looked at before
    with pytest.raises(ConfigError, match=message):
        select(pool, target, **{**OPTIONS, **options})
