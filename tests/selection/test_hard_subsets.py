"""What is hard, by which model, and what is read there: HASTE in a selection."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from muster import metrics
from muster.data import Dataset, channel_statistics
from muster.errors import ConfigError
from muster.pool import Pool
from muster.probe import ProbeReader, Reading, draw_probe_set
from muster.report import write_selection_report
from muster.report.hard_part import hard_figures
from muster.report.wording import hard_label
from muster.selection import Selection, candidate_scoring
from muster.selection.hard_subsets import hardness_models
from muster.selection.run import select
from muster.tasks.source_sample import sample_source
from tests.helpers import make_member, make_target, shown

PIXELS = 60
OPTIONS: dict[str, Any] = {
    "size": 2, "pixels_per_image": PIXELS, "cache_gb": 0.0, "batch_size": 4, "resamples": 0
}  # fmt: skip
SOURCES = {"a": "east", "b": "east", "c": "west", "d": "west", "e": "west"}
ARCHITECTURES = {"a": "small_unet", "b": "small_fpn", "c": "small_fpn", "d": "small_unet", "e": "small_fpn"}
HARD = ("leep+haste_ca", "leep+haste_cs", "ms_leep+haste_ca", "ms_leep+haste_cs", "e_leep+haste_cs", "iou_eep+haste_ca")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Five members of two sources; more of them are small_fpn than small_unet."""
    folder, source = tmp_path_factory.mktemp("pool"), make_target(4, name="elsewhere")
    statistics = channel_statistics(source.train)
    for seed, (name, dataset) in enumerate(SOURCES.items()):
        member = make_member(folder, name, seed, classes=4, dataset=dataset, architecture=ARCHITECTURES[name])
        sample = sample_source(member.load_model(), source.train, shown(statistics, 64), seed=seed)
        save_file(sample, member.folder / "source_sample.safetensors")
    return Pool.open(folder)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(6)


@pytest.fixture(scope="module")
def readings(pool: Pool, target: Dataset) -> dict[str, Reading]:
    probe = draw_probe_set(target.train, PIXELS, 0)
    reader = ProbeReader(target.train, probe, shown(target.train, 64))
    return {member.name: reader.read_all(member.load_model()) for member in pool}


@pytest.fixture(scope="module")
def counted(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, predictor="eep", metrics=("leep", "ms_leep", *HARD), **OPTIONS)


@pytest.fixture(scope="module")
def linear(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, predictor="linear_probe", metrics=("leep", "ms_leep", *HARD), **OPTIONS)


def hard_pixels(readings: dict[str, Reading], target: Dataset, judges: dict[str, str]) -> dict[str, torch.Tensor]:
    """Of each source, by definition."""
    labels = draw_probe_set(target.train, PIXELS, 0).labels
    return {
        source: metrics.hard_subset(metrics.mahalanobis_hardness(readings[judge].features, labels))
        for source, judge in judges.items()
    }


@pytest.mark.parametrize("predictor", ["counted", "linear"])
@pytest.mark.parametrize("wrapper", ["", "+haste_ca", "+haste_cs"])
def test_ms_leep_is_the_sum_of_the_leeps_beside_it(
    predictor: str, wrapper: str, request: pytest.FixtureRequest
) -> None:
    selection: Selection = request.getfixturevalue(predictor)
    shown = selection.single_scores[f"leep{wrapper}"]
    sums = [sum(shown[name] for name in pair) for pair in combinations("abcde", 2)]
    assert np.abs(selection.ranking.scores[f"ms_leep{wrapper}"] - sums).max() < 1e-9
    if not wrapper:
        assert list(selection.member_scores.values()) == pytest.approx(list(shown.values()), abs=1e-9)
        assert selection.single_best == max(shown, key=shown.__getitem__)


@pytest.mark.parametrize("options", [{"search": "greedy"}, {"memory_gb": 0.0, "cache_gb": 1.0}])
@pytest.mark.parametrize("predictor", ["eep", "linear_probe"])
def test_ms_leep_is_that_sum_however_it_is_computed(
    pool: Pool, target: Dataset, tmp_path: Path, options: dict[str, Any], predictor: Any
) -> None:
    chosen = select(
        pool, target, **{**OPTIONS, "metrics": (), "metric": "ms_leep", "predictor": predictor, "cache_dir": tmp_path}
        | options,
    )  # fmt: skip
    for row, score in enumerate(chosen.ranking.scores["ms_leep"]):
        assert abs(score - sum(chosen.member_scores[name] for name in chosen.names_of(row))) < 1e-9


def test_one_model_says_what_is_hard_for_all_members_of_a_source(
    counted: Selection, readings: dict[str, Reading], target: Dataset
) -> None:
    by_source = {"east": "b", "west": "c"}
    assert counted.hardness_models == {"haste_ca": by_source, "haste_cs": by_source}
    labels = draw_probe_set(target.train, PIXELS, 0).labels
    hard = hard_pixels(readings, target, counted.hardness_models["haste_cs"])
    for name, source in SOURCES.items():
        rows = hard[source]
        expected = metrics.leep(readings[name].probabilities[rows], labels[rows])
        assert counted.single_scores["leep+haste_cs"][name] == pytest.approx(expected, rel=1e-6)


def test_what_there_is_to_show_of_hard_subsets(
    counted: Selection, linear: Selection, readings: dict[str, Reading], target: Dataset, tmp_path: Path
) -> None:
    probe = draw_probe_set(target.train, PIXELS, 0)
    views = {(view.wrapper, view.source): view for view in counted.hard_views}
    assert set(views) == {(wrapper, source) for wrapper in ("haste_ca", "haste_cs") for source in ("east", "west")}
    for (wrapper, source), view in views.items():
        judge = readings[view.model]
        assert set(view.accuracies) == {name for name, where in SOURCES.items() if where == source}
        if wrapper == "haste_cs":
            pixels = metrics.mahalanobis_hardness(judge.features, probe.labels).numpy()
            owners = np.asarray(probe.image_of_pixel)
            assert view.hardness == pytest.approx([pixels[owners == place].mean() for place in view.images])
            groups = np.array_split(np.argsort(-pixels, kind="stable"), 5)
            hard = np.argsort(-pixels, kind="stable")[: len(pixels) // 4]
        else:
            sample = load_file(Path(counted.pool) / "members" / view.model / "source_sample.safetensors")
            layers = [sample[f"stage_{number}"] for number in range(len(judge.stages))]
            assert view.hardness == pytest.approx(metrics.similarity_hardness(layers, judge.stages).numpy(), rel=1e-5)
            images = np.array_split(np.argsort(-view.hardness, kind="stable"), 5)
            owners = np.asarray(probe.image_of_pixel)
            groups = [np.flatnonzero(np.isin(owners, [view.images[place] for place in bucket])) for bucket in images]
            chosen = [view.images[place] for place in metrics.hard_subset(view.hardness)]
            hard = np.flatnonzero(np.isin(owners, chosen))
        for name, found in view.accuracies.items():
            made = metrics.eep(readings[name].probabilities, probe.labels)
            right = (made.argmax(dim=1) == probe.labels).numpy()
            assert found == pytest.approx([right[group].mean() for group in groups]), (wrapper, name)
            bounds = view.bounds[name]
            expected = metrics.leep(readings[name].probabilities[hard], probe.labels[hard])
            assert bounds.leep == pytest.approx(expected, rel=1e-6)
            assert bounds.lower < bounds.leep <= bounds.upper
        assert len(view.features) == len(view.labels) == len(view.is_hard)
        assert 0 < view.is_hard.sum() < len(view.is_hard)
    assert {"haste_ca", "haste_cs", "leep"} <= counted.seconds.keys()
    assert linear.hard_views[0].accuracies != counted.hard_views[0].accuracies
    figures = hard_figures(counted, target)
    kinds = [
        f"hard_{kind}_{wrapper}" for wrapper in ("haste_ca", "haste_cs") for kind in ("bins", "bounds", "map", "images")
    ]
    assert [figure.name for figure in figures] == [*kinds, "hard_cost"]
    assert hard_figures(replace(counted, hard_views=()), target) == []
    page = write_selection_report(counted, Pool.open(Path(counted.pool)), target, tmp_path / "report.html", "next")
    text = page.read_text(encoding="utf-8")
    assert all(figure.title in text for figure in figures)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{figure.name}.{ending}" for figure in figures for ending in ("svg", "png")
    }


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("d", {"east": "b", "west": "d"}),
        (("a", "e"), {"east": "a", "west": "e"}),
        ("a, e", {"east": "a", "west": "e"}),
        ("", {"east": "b", "west": "c"}),
        ("small_unet", {"east": "a", "west": "d"}),
    ],
)
def test_the_model_can_be_named(pool: Pool, named: Any, expected: dict[str, str]) -> None:
    models = hardness_models(list(pool), named)
    assert {source: members[0].name for source, members in models.items()} == expected


def test_a_named_model_is_the_one_that_is_used(pool: Pool, target: Dataset, readings: dict[str, Reading]) -> None:
    chosen = select(pool, target, predictor="eep", metrics=("leep+haste_cs",), hardness_model=("a", "d"), **OPTIONS)
    assert chosen.hardness_models == {"haste_cs": {"east": "a", "west": "d"}}
    labels = draw_probe_set(target.train, PIXELS, 0).labels
    rows = hard_pixels(readings, target, {"west": "d"})["west"]
    expected = metrics.leep(readings["c"].probabilities[rows], labels[rows])
    assert chosen.single_scores["leep+haste_cs"]["c"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hardness_model": "aa", "metrics": HARD}, "hardness_model: Unknown candidate or architecture 'aa'"),
        ({"hardness_model": ("c", "d"), "metrics": HARD}, "'c' and 'd' are both for members of west"),
        ({"metrics": ("leep+haste_cs_6of5",)}, "asks for bucket 6 of 5"),
    ],
)
def test_bad_options(pool: Pool, target: Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select(pool, target, **{"metrics": (), **OPTIONS, **options})


def test_eeps_are_counted_anew_on_every_union(
    pool: Pool, target: Dataset, counted: Selection, readings: dict[str, Reading]
) -> None:
    labels = draw_probe_set(target.train, PIXELS, 0).labels
    hard = hard_pixels(readings, target, counted.hardness_models["haste_cs"])
    whole = select(pool, target, predictor="eep", hard_eep="whole", metrics=("e_leep+haste_cs",), **OPTIONS)
    assert (counted.hard_eep, whole.hard_eep) == ("recount", "whole")
    for row, pair in enumerate(combinations("abcde", 2)):
        union = metrics.hard_union([hard[SOURCES[name]] for name in pair])
        probs = [readings[name].probabilities for name in pair]
        anew = metrics.e_leep([metrics.eep(p[union], labels[union], 3) for p in probs], labels[union])
        kept = metrics.e_leep([metrics.eep(p, labels, 3)[union] for p in probs], labels[union])
        assert counted.ranking.scores["e_leep+haste_cs"][row] == pytest.approx(anew, rel=1e-6)
        assert whole.ranking.scores["e_leep+haste_cs"][row] == pytest.approx(kept, rel=1e-6)
        assert anew != pytest.approx(kept, rel=1e-4)


def test_eeps_are_counted_once_a_union(pool: Pool, target: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, count = list[int](), candidate_scoring.eep

    def counting(probs: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
        pixels.append(len(labels))
        return count(probs, labels, num_classes)

    monkeypatch.setattr(candidate_scoring, "eep", counting)
    select(pool, target, predictor="eep", metrics=("e_leep+haste_cs",), **OPTIONS)
    # Pairs of east: 2 members; pairs of west: 3; pairs of both: all 5.
    assert len(pixels) == 2 + 3 + 5
    assert len(set(pixels)) == 2  # a quarter of the pixels each, and the union
    assert pixels.count(max(pixels)) == 5


def test_the_linear_predictor_is_read_on_the_union_as_it_is(
    linear: Selection, readings: dict[str, Reading], target: Dataset
) -> None:
    probe = draw_probe_set(target.train, PIXELS, 0)
    groups = torch.repeat_interleave(torch.arange(6), PIXELS)
    predictions = {n: metrics.linear_probe(r.features, probe.labels, groups, 3) for n, r in readings.items()}
    hard = hard_pixels(readings, target, linear.hardness_models["haste_cs"])
    for row, pair in enumerate(combinations("abcde", 2)):
        union = metrics.hard_union([hard[SOURCES[name]] for name in pair])
        expected = metrics.e_leep([predictions[name][union] for name in pair], probe.labels[union])
        assert linear.ranking.scores["e_leep+haste_cs"][row] == pytest.approx(expected, rel=1e-5)


def test_selections_say_how_hard_subsets_were_read(counted: Selection, linear: Selection, tmp_path: Path) -> None:
    assert "b for members of east, c for members of west" in hard_label(counted)
    assert "EEPs were counted anew" in hard_label(counted)
    assert "linear probe was not fitted anew" in hard_label(linear)
    linear.save(tmp_path / "chosen")
    loaded = Selection.load(tmp_path / "chosen")
    assert (loaded.hardness_models, loaded.hard_eep) == (linear.hardness_models, "held out")
    assert hard_label(loaded) == hard_label(linear)


def test_buckets_go_from_hard_to_easy(pool: Pool, target: Dataset, readings: dict[str, Reading]) -> None:
    names = tuple(f"leep+haste_cs_{place}of4" for place in range(1, 5))
    chosen = select(pool, target, predictor="eep", metrics=(*names, "leep+haste_cs"), **OPTIONS)
    labels = draw_probe_set(target.train, PIXELS, 0).labels
    hardness = metrics.mahalanobis_hardness(readings["c"].features, labels)
    for name, rows in zip(names, metrics.hard_buckets(hardness, 4), strict=True):
        expected = metrics.leep(readings["d"].probabilities[rows], labels[rows])
        assert chosen.single_scores[name]["d"] == pytest.approx(expected, rel=1e-6)
    assert chosen.single_scores[names[0]] == chosen.single_scores["leep+haste_cs"]  # a quarter is the default
    buckets = metrics.parse_metric(names[1])
    assert (buckets.title, buckets.bucket) == ("HASTE(CS 2/4)-LEEP", (2, 4))


def test_a_hardness_model_that_cannot_be_used_gives_way(tmp_path: Path, target: Dataset) -> None:
    for seed, name in enumerate("abc"):
        make_member(tmp_path, name, seed, classes=4, broken=name == "a")
    options = {**OPTIONS, "metrics": ("leep+haste_cs",), "predictor": "eep"}
    with pytest.warns(UserWarning, match="'a' is left out"):
        chosen = select(tmp_path, target, **options)
    assert chosen.hardness_models == {"haste_cs": {"elsewhere": "b"}}


def test_each_kind_of_hardness_may_have_a_model_of_its_own(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    shutil.copytree(pool.folder, tmp_path / "pool")
    path = Pool.open(tmp_path / "pool")["b"].folder / "source_sample.safetensors"
    sample = load_file(path)
    for name in sample:  # stages of another width than those of the member, so that images cannot be compared
        sample[name] = sample[name][..., :1].contiguous() if name.startswith("stage") else sample[name]
    save_file(sample, path)
    chosen = select(tmp_path / "pool", target, metrics=("leep+haste_ca", "leep+haste_cs"), **OPTIONS)
    assert chosen.hardness_models == {
        "haste_ca": {"east": "a", "west": "c"}, "haste_cs": {"east": "b", "west": "c"}
    }  # fmt: skip
    assert "The hardness model of +haste_ca is a for members of east, c for members of west." in hard_label(chosen)
    assert "The hardness model of +haste_cs is b for members of east, c for members of west." in hard_label(chosen)
