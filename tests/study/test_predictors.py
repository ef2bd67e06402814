"""Scoring the ensembles of a study again, with every predictor: `muster study predictors`."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy import stats

from muster.commands.cli import run
from muster.commands.study_predictors import compare
from muster.data import open_dataset
from muster.errors import ConfigError, SelectionError
from muster.metrics import ENSEMBLE_METRICS, METRICS, eep, linear_probe
from muster.metrics.calibrated_eep import calibrated_eep, cross_validated_eep
from muster.pool import Pool
from muster.probe import ProbeReader, draw_probe_set
from muster.selection import Selection
from muster.selection.run import select
from muster.selection.settings import ProbeSettings
from muster.study.predictors import (
    PREDICTORS,
    Agreement,
    TargetResult,
    compare_predictors,
    predictors_as_markdown,
)
from muster.study.studied import StudiedTarget, open_studied
from tests.helpers import make_member, make_pool, make_target, shown

IMAGES, PIXELS = 6, 80
OPTIONS = ProbeSettings(train_images=IMAGES, pixels_per_image=PIXELS, device="cpu")
MIOUS = [0.31, 0.35, 0.30, 0.42, 0.37, 0.33]
ROWS = list(combinations("abcd", 2))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight training images in a folder, of which six are looked at."""
    folder, dataset = tmp_path_factory.mktemp("tiny"), make_target(8)
    description = {"name": "tiny", "domain": "made up", "classes": list(dataset.spec.classes)}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(description))
    for split in (dataset.train, dataset.test):
        for part in ("images", "masks"):
            (folder / split.name / part).mkdir(parents=True)
        for identifier, image, mask in split:
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / split.name / "images" / f"{identifier}.png")
            Image.fromarray(mask.numpy()).save(folder / split.name / "masks" / f"{identifier}.png")
    return str(folder)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, target: str) -> Path:
    """Four candidates, a member that saw the target, and one that the study left out."""
    folder = tmp_path_factory.mktemp("a pool")
    make_pool(folder, 4)
    make_member(folder, "seer", 8, trained_on=open_dataset(target))
    make_member(folder, "unused", 9)
    return folder


@pytest.fixture(scope="module")
def selection(pool: Path, target: str) -> Selection:
    return select(
        pool, target, size=2, train_images=IMAGES, pixels_per_image=PIXELS, cache_gb=0.0, resamples=0, device="cpu",
        predictor="eep",
    )  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, selection: Selection) -> Path:
    """As a study writes it; names and ensembles in another order than the ranking's."""
    places = {selection.names_of(row): row for row in range(len(selection.ranking))}
    rows = [places[row] for row in ROWS]
    scores = {name: values[rows] for name, values in selection.ranking.scores.items()}
    content = pd.DataFrame({"members": [f"{b} {a}" for a, b in ROWS], **scores, "finetuned_miou": MIOUS})
    path = tmp_path_factory.mktemp("study") / "ensembles.csv"
    content[::-1].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def result(pool: Path, table: Path, target: str) -> TargetResult:
    return compare_predictors(open_studied(StudiedTarget(target, pool, table)), OPTIONS)


def _row(result: TargetResult, predictor: str, metric: str) -> Agreement:
    return next(row for row in result.rows if (row.predictor, row.metric) == (predictor, metric))


def test_agrees_with_the_steps_done_by_hand(pool: Path, target: str, result: TargetResult) -> None:
    split = open_dataset(target).train.subset(IMAGES, 0)
    probe = draw_probe_set(split, PIXELS, 0)
    reader = ProbeReader(split, probe, shown(split, 64))
    readings = [reader.read_all(Pool.open(pool)[name].load_model()) for name in "abcd"]
    images = np.repeat(np.arange(IMAGES), PIXELS)
    classes = open_dataset(target).spec.num_classes
    labels = probe.labels.numpy()

    def calibrated(sharpened: str, cross_validated: bool) -> list[np.ndarray]:
        return [
            calibrated_eep(r.probabilities.numpy(), labels, images, classes, 0, sharpened, cross_validated)
            for r in readings
        ]

    said = {
        "eep": [eep(r.probabilities.numpy(), labels, classes) for r in readings],
        "eep cross-validated": [
            cross_validated_eep(r.probabilities.numpy(), labels, images, classes) for r in readings
        ],
        "eep calibrated (prediction)": calibrated("prediction", False),
        "eep calibrated (source)": calibrated("source", False),
        "eep calibrated (prediction) cross-validated": calibrated("prediction", True),
        "eep calibrated (source) cross-validated": calibrated("source", True),
        "linear_probe": [linear_probe(r.features.numpy(), labels, images, classes) for r in readings],
    }
    assert list(said) == list(PREDICTORS)
    assert [(row.predictor, row.metric) for row in result.rows] == [(p, m) for p in said for m in ENSEMBLE_METRICS]
    for row in result.rows:
        members = dict(zip("abcd", said[row.predictor], strict=True))
        scores = [METRICS[row.metric].function(np.stack([members[a], members[b]]), labels) for a, b in ROWS]
        gaps = np.diff(np.sort(scores))
        assert ((gaps < 1e-12) | (gaps > 1e-7)).all()  # ties stay ties, and rounding cannot exchange any two
        scores = np.round(scores, 10)
        best = int(np.argmax(scores))  # the first of equals: the rows are in the order of names
        assert row.weighted_kendall == pytest.approx(stats.weightedtau(scores, MIOUS).statistic)
        assert row.kendall == pytest.approx(stats.kendalltau(scores, MIOUS).statistic)
        assert row.pearson == pytest.approx(stats.pearsonr(scores, MIOUS).statistic, abs=1e-5)
        assert (row.chosen, row.finetuned_miou) == (" ".join(ROWS[best]), MIOUS[best])
        assert row.rank == sorted(MIOUS, reverse=True).index(MIOUS[best]) + 1
        assert (row.target, row.best, row.ensembles) == ("tiny", 0.42, 6)
        assert row.mean == pytest.approx(np.mean(MIOUS))
        assert row.seconds > 0


def test_predictors_are_not_all_alike(result: TargetResult) -> None:
    assert len({tuple(_row(result, name, m).pearson for m in ENSEMBLE_METRICS) for name in PREDICTORS}) == 7


def test_eep_and_the_linear_probe_choose_what_selecting_does(
    pool: Path, target: str, result: TargetResult, selection: Selection
) -> None:
    linear = select(
        Pool.open(pool), target, size=2, train_images=IMAGES, pixels_per_image=PIXELS, cache_gb=0.0, resamples=0,
        device="cpu", predictor="linear_probe",
    )  # fmt: skip
    assert "unused" in selection.member_names  # it takes part in choosing there, so compare without it
    for predictor, chosen in (("eep", selection), ("linear_probe", linear)):
        for metric in ENSEMBLE_METRICS:
            names = [chosen.names_of(int(row)) for row in chosen.ranking.order(metric)]
            assert _row(result, predictor, metric).chosen == " ".join(next(row for row in names if row in ROWS))
    assert set(result.differences) == set(ENSEMBLE_METRICS)
    assert max(result.differences.values()) < 1e-6


def test_a_study_of_some_ensembles_only(pool: Path, target: str, table: Path, tmp_path: Path) -> None:
    content = pd.read_csv(table)
    content["e_leep"] += [0.0, 0.25, 0.0, 0.0, 0.0, 0.0]
    content[:3].drop(columns=["ms_leep"]).to_csv(tmp_path / "ensembles.csv", index=False)
    studied = open_studied(StudiedTarget(target, pool, tmp_path))  # a study's folder will do
    assert [member.name for member in studied.members] == ["b", "c", "d"]
    some = compare_predictors(studied, OPTIONS)
    assert {row.ensembles for row in some.rows} == {3}
    assert {row.chosen for row in some.rows} <= {"c d", "b d", "b c"}
    assert set(some.differences) == {"e_leep", "iou_eep", "soft_iou_eep"}
    assert some.differences["e_leep"] == pytest.approx(0.25, abs=1e-6)
    # a is in none of them, but the image size is still that of all members that could be chosen
    assert [m.name for m in studied.eligible] == ["a", "b", "c", "d", "unused"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(members=["a z", *t["members"][1:]]), "has ensembles with z, but the pool .* has no such"),
        (lambda t: t.assign(members=["a seer", *t["members"][1:]]), r"seer \(was trained on the target, tiny"),
        (lambda t: t.assign(members=["a b c", *t["members"][1:]]), "expected 3 different members .* but got 'b d'"),
        (lambda t: t.assign(members=["a b", "b b", *t["members"][2:]]), "expected 2 different members .* got 'b b'"),
        (lambda t: t.assign(members=["a b", "b a", *t["members"][2:]]), "different ensembles, but some occur twice"),
        (lambda t: t[:1], "at least 2 ensembles to compare, but got 1"),
        (lambda t: t.drop(columns="finetuned_miou"), "has no column finetuned_miou"),
        (lambda t: t.drop(columns=["finetuned_miou", "members"]), "has no column members and none finetuned_miou"),
        (
            lambda t: t.assign(finetuned_miou=["good", *t["finetuned_miou"][1:]]),
            "a number in every row of column 'finetuned_miou'",
        ),
        (lambda t: t.assign(e_leep=[np.nan, *t["e_leep"][1:]]), "a number in every row of column 'e_leep'"),
    ],
)
def test_wrong_tables_are_errors(
    pool: Path, target: str, table: Path, tmp_path: Path, change: object, message: str
) -> None:
    content = pd.read_csv(table)
    if message.startswith("expected 3"):
        content = content.assign(members=["c d", "b d", *content["members"][2:]])
    change(content).to_csv(tmp_path / "ensembles.csv", index=False)
    with pytest.raises(ConfigError, match=message):
        open_studied(StudiedTarget(target, pool, tmp_path))


def test_missing_and_unreadable_tables_are_errors(pool: Path, target: str, tmp_path: Path) -> None:
    for wanted in (tmp_path, tmp_path / "others.csv"):
        with pytest.raises(ConfigError, match=r"csv does not exist. It is what muster study writes"):
            open_studied(StudiedTarget(target, pool, wanted))
    (tmp_path / "ensembles.csv").write_text("")
    with pytest.raises(ConfigError, match=r"ensembles\.csv cannot be read as a table"):
        open_studied(StudiedTarget(target, pool, tmp_path))


def test_members_that_cannot_be_scored_are_named(target: str, tmp_path: Path) -> None:
    make_pool(tmp_path, 2)
    make_member(tmp_path, "broken", 9, broken=True)
    text = "members,finetuned_miou\na b,0.3\na broken,0.4\nb broken,0.2\n"
    (tmp_path / "ensembles.csv").write_text(text)
    with pytest.raises(SelectionError, match="Member 'broken', predictor 'eep': Expected `probs`"):
        compare_predictors(open_studied(StudiedTarget(target, tmp_path, tmp_path)), OPTIONS)


@pytest.mark.parametrize("name", ["train_images", "pixels_per_image", "image_size", "batch_size", "seed"])
def test_options_out_of_range_are_errors(name: str) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"{name}: expected a whole number, .*1.* but got -1"
        if name != "seed"
        else "seed: expected a whole number",
    ):
        ProbeSettings(**{name: -1})
    assert ProbeSettings(train_images=None).train_images is None


def test_the_command(pool: Path, target: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studied = {"target": target, "pool": str(pool), "ensembles": str(table)}
    probe = {"train_images": IMAGES, "pixels_per_image": PIXELS}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"targets": [studied, studied], "probe": probe}))
    output = tmp_path / "out"
    arguments = ["--config", str(tmp_path / "two.yaml"), "--output", str(output)]
    assert run(compare, "predictors", arguments=arguments) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        ".muster",
        "config.yaml",
        "predictors.csv",
        "predictors.md",
    ]
    rows = pd.read_csv(output / "predictors.csv")
    assert len(rows) == 2 * 7 * 4
    assert list(rows.columns) == list(Agreement.__dataclass_fields__)
    page = (output / "predictors.md").read_text()
    assert page in capsys.readouterr().out
    soft = rows[rows["metric"] == "soft_iou_eep"].set_index("predictor").iloc[:7]
    for name, row in soft.iterrows():
        line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"{row.weighted_kendall:.2f} ({row.finetuned_miou:.3f}, {row['rank']}) | {row.seconds:.2f} |" in line
    # The average over a target and itself is what it has.
    average = page[page.index("## On average") :]
    for name, row in soft.iterrows():
        line = next(line for line in average.splitlines() if line.startswith(f"| {name} |"))
        assert line.endswith(f" {row.weighted_kendall:.2f} |")


def test_the_average_is_the_mean_over_targets() -> None:
    def made_up(tau: float) -> TargetResult:
        rows = [
            Agreement("t", name, m, tau * place, 0.0, 0.0, 1, "a b", 0.4, 0.4, 0.3, 3, 0.1)
            for place, name in enumerate(PREDICTORS)
            for m in ENSEMBLE_METRICS
        ]
        return TargetResult(tuple(rows), 3, 2, {})

    page = predictors_as_markdown([made_up(0.1), made_up(0.2)])
    assert page.endswith("| linear_probe | 0.90 | 0.90 | 0.90 | 0.90 |\n")
    assert "Largest difference" not in page
    undefined = predictors_as_markdown([made_up(0.1), made_up(float("nan"))])
    assert "| linear_probe | nan | nan | nan | nan |" in undefined
    assert "On average" not in predictors_as_markdown([made_up(0.1)])


def test_interrupting_keeps_what_is_finished(
    pool: Path,
    target: str,
    table: Path,
    result: TargetResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    targets = (StudiedTarget(target, pool, table),) * 2
    begun: list[int] = []

    def interrupted(studied: object, options: object, progress: object) -> TargetResult:
        begun.append(1)
        if len(begun) == last:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr("muster.commands.study_predictors.compare_predictors", interrupted)
    last = 2
    assert compare(targets, tmp_path, OPTIONS) == 130
    assert "Stopped" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "predictors.csv")) == 7 * 4
    begun.clear()
    last = 1
    with pytest.raises(KeyboardInterrupt):
        compare(targets, tmp_path, OPTIONS)


def test_no_target_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="targets: expected at least one"):
        compare((), tmp_path, OPTIONS)


def test_the_committed_configuration_is_complete() -> None:
    path = Path(__file__).parents[2] / "configs" / "study" / "predictors.yaml"
    content = yaml.safe_load(path.read_text())
    assert [each["target"] for each in content["targets"]] == [
        "camvid",
        "labelmefacade",
        "msrc21",
        "worlds/harbour_drive",
    ]
    assert all(set(each) == set(StudiedTarget.__dataclass_fields__) for each in content["targets"])
    assert ProbeSettings(**content["probe"]) == ProbeSettings()
