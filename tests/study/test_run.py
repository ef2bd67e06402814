"""A study of a tiny pool on a tiny dataset in its true format, against doing everything from scratch."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from muster.data import Views, open_dataset, prepared_images
from muster.errors import ConfigError, SelectionError
from muster.execution.progress import TrainingProgress
from muster.models import SourceModel, upsample_probabilities
from muster.pool import Pool, SourceRecord
from muster.records import parse_record
from muster.report.study_report import best_metric, headline, write_study_report
from muster.selection.run import select
from muster.selection.track_record import COLUMNS
from muster.study.cells import Cell
from muster.study.findings import Findings
from muster.study.fits import WEIGHTS, load_fitted, read_record_of
from muster.study.measures.headline import CONTENDERS
from muster.study.papers import assigned_distance, dataset_features
from muster.study.plan import StudyPlan
from muster.study.run import StudyOutcome, _member_row, run_study
from muster.study.scores import ScoreJob, score_cell
from muster.study.settings import Regime, StudySettings
from muster.study.steps import phases_of
from muster.study.sweep_settings import SweepSettings
from muster.study.sweeps import SweepJob
from muster.study.tables import StudyTables
from muster.study.track_record import track_record
from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.training.evaluation import count_split
from muster.training.finished import digest_of
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member, make_pool
from tests.odd_inputs.bench import write_dataset

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* exists and is not empty",  # it holds what is resumed
    "ignore:Metric '.*haste_ca",  # these members carry no sample of their source
)

METRICS = ("soft_iou_eep", "ms_leep", "leep", "logme", "base")
TRAINING = TrainingSettings(steps=2, batch_size=2, learning_rates=(0.01, 0.02), crop_size=32, checkpoint_every=1)
SWEEPS = SweepSettings(
    pixels_per_image=(20, 50), train_images=(4, 99), image_size=(32,), dimensions=(2,), hard_fraction=(0.5,),
    hard_buckets=2, metrics=("soft_iou_eep", "logme"),
)  # fmt: skip
ABOUT_TIME = ("seconds", "device")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    make_pool(folder / "pool", 4)
    write_dataset(folder / "tiny", images=12, tests=3, size=48)
    source = open_dataset(str(write_dataset(folder / "other", images=5, tests=1, size=40)))
    make_member(folder / "pool", "d", 3, classes=3, trained_on=source)
    return folder


def settings_for(home: Path, **others: object) -> StudySettings:
    return replace(
        StudySettings(
            pools=(home / "pool",),
            targets=(str(home / "tiny"),),
            probe_seeds=(0, 1),
            finetuning_seeds=(0, 1),
            sizes=(2, 3),
            size=2,
            metrics=METRICS,
            equal_cost=True,
            pixels_per_image=50,
            image_size=48,
            validation_images=2,
            sweeps=SWEEPS,
        ),
        **others,  # type: ignore[arg-type]
    )


def findings_of(tables: StudyTables, settings: StudySettings) -> Findings:
    return Findings.of(tables, settings.of_tasks((SEGMENTATION,)))


def plan_for(settings: StudySettings, output: Path, training: TrainingSettings = TRAINING) -> StudyPlan:
    return StudyPlan.of(settings, training, HeadSettings(), Hardware("cpu"), output, None)


def run(plan: StudyPlan) -> StudyOutcome:
    return run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())


@pytest.fixture(scope="module")
def plan(home: Path) -> StudyPlan:
    return plan_for(settings_for(home), home / "output")


@pytest.fixture(scope="module")
def outcome(plan: StudyPlan) -> StudyOutcome:
    return run(plan)


def test_the_kind_of_a_member_is_told_by_its_own_sources(tmp_path: Path) -> None:
    usual = make_member(tmp_path, "usual", 0)
    name, images = usual.card.dataset, usual.card.train_images
    later = replace(usual, card=replace(usual.card, seen_datasets=(name, "before")))  # started from a member of another
    assert _member_row(later)[2:4] == ("single-source", name)
    record = SourceRecord(name, "made up", 3, images or 0, 10, 0.3, 0.1, usual.card.mean, usual.card.std)
    several = (record, replace(record, dataset="before"))
    assert _member_row(replace(usual, card=replace(usual.card, sources=several)))[2:4] == (
        "multi-source", f"{name} before"
    )  # fmt: skip
    assert _member_row(replace(usual, card=replace(usual.card, classes=())))[2] == "pre-training"


def assert_same(first: StudyTables, second: StudyTables) -> None:
    """All tables are equal but for times."""
    for name, table in vars(first).items():
        other = getattr(second, name)
        kept = [column for column in table.columns if column not in ABOUT_TIME]
        pd.testing.assert_frame_equal(table[kept], other[kept])


def test_everything_is_in_the_tables(plan: StudyPlan, outcome: StudyOutcome) -> None:
    tables = outcome.tables
    assert not outcome.failed
    assert list(tables.members["member"]) == ["a", "b", "c", "d"]
    assert set(tables.members["kind"]) == {"single-source"}
    assert tables.cells.iloc[0].to_dict() == {
        "target": "tiny",
        "regime": "few",
        "subset_seed": 0,
        "train_images": 10,
        "validation_images": 2,
        "image_size": "48",
        "pixels_per_image": 50,
        "probe_images": 0,
    }
    counts = tables.ensembles.groupby(["finetuning_seed", "size"]).size()
    assert counts.to_dict() == {(seed, size): n for seed in (0, 1) for size, n in ((1, 4), (2, 6), (3, 4))}
    assert tables.ensembles[["result", "validation_loss", "validation_result"]].notna().all(axis=None)
    assert len(tables.finetuned) == 8
    assert set(tables.scores["metric"]) == set(METRICS)
    written = StudyTables.read(plan.output)
    assert_same(written, tables)


def test_the_target_is_compared_with_the_source_that_is_at_hand(plan: StudyPlan, outcome: StudyOutcome) -> None:
    """By the member with the most training images: there is none of several sources, and no backbone."""
    assert list(plan.not_at_hand) == ["elsewhere"]
    assert "no folder of that name" in plan.not_at_hand["elsewhere"]
    datasets = {name: open_dataset(str(plan.output.parent / name)) for name in ("tiny", "other")}
    features = dataset_features(plan.pool["d"], datasets, 48)
    distances = outcome.tables.distances
    assert set(zip(distances["target"], distances["source"], distances["member"], distances["kind"], strict=True)) == {
        ("tiny", "other", "d", "single-source")
    }
    for assignment, found in distances.set_index("assignment")["distance"].items():
        assert found == pytest.approx(assigned_distance(features["tiny"], features["other"], str(assignment)))
    points = outcome.tables.image_map
    assert points.groupby("dataset")["image"].apply(set).to_dict() == {
        name: set(dataset.train.identifiers) for name, dataset in datasets.items()
    }
    assert points[["x", "y"]].notna().all(axis=None)


def test_a_study_from_before_is_compared_without_doing_anything_else_again(
    plan: StudyPlan, outcome: StudyOutcome, home: Path, tmp_path: Path
) -> None:
    shutil.copytree(plan.output, tmp_path / "output")
    shutil.rmtree(tmp_path / "output" / "distances")
    for name in ("distances", "image_map"):
        (tmp_path / "output" / "tables" / f"{name}.parquet").unlink()
    assert StudyTables.read(tmp_path / "output").distances.empty
    without = run(plan_for(settings_for(home, distance_images=0), tmp_path / "output"))
    assert (without.done, without.found, len(without.tables.image_map)) == (0, outcome.done - 3, 0)
    again = run(plan_for(settings_for(home), tmp_path / "output"))
    assert (again.done, again.found) == (3, outcome.done - 3)
    assert_same(again.tables, outcome.tables)


def test_every_metric_has_a_time_of_its_own(outcome: StudyOutcome) -> None:
    costs = outcome.tables.costs
    whole = costs[costs["step"] == "scores"]
    assert set(whole["predictor"]) == {"linear_probe", "eep"}
    assert set(zip(whole["metric"], whole["size"], strict=True)) == {("", 0)}
    alone = costs[costs["step"] == "metric"]
    assert (alone["seconds"] > 0).all()
    found = alone.groupby(["metric", "size"])["predictor"].agg(lambda names: sorted(set(names))).to_dict()
    both = ["eep", "linear_probe"]
    ensembles = {(metric, size): both for metric in ("soft_iou_eep", "ms_leep") for size in (1, 2, 3)}
    assert found == {**ensembles, ("leep", 1): both, ("logme", 1): [""], ("base", 1): [""]}
    for (seed, predictor), rows in alone.groupby(["probe_seed", "predictor"]):
        of_all = whole[(whole["probe_seed"] == seed) & (whole["predictor"] == predictor)]["seconds"]
        assert not predictor or rows["seconds"].sum() < of_all.item()


def test_tables_of_a_study_without_times_of_metrics_are_read(outcome: StudyOutcome, tmp_path: Path) -> None:
    outcome.tables.write(tmp_path)
    whole = outcome.tables.costs[outcome.tables.costs["step"] == "scores"].reset_index(drop=True)
    older = whole.drop(columns=["metric", "size"])
    older.to_parquet(tmp_path / "costs.parquet")
    read = StudyTables.read(tmp_path).costs
    pd.testing.assert_frame_equal(read, whole, check_dtype=False)
    mixed = StudyTables.of(costs=pd.concat([older, outcome.tables.costs])).costs
    assert set(mixed["size"]) == {0, 1, 2, 3}


def test_other_settings_of_the_probe_are_scored_as_if_they_were_the_studys_own(
    plan: StudyPlan, outcome: StudyOutcome
) -> None:
    sweeps = outcome.tables.sweeps
    assert set(zip(sweeps["setting"], sweeps["value"], strict=True)) == {
        ("pixels_per_image", 20.0), ("train_images", 4.0), ("image_size", 32.0), ("dimensions", 2.0),
        ("hard_fraction", 0.5), ("hard_bucket", 1.0), ("hard_bucket", 2.0),
    }  # fmt: skip
    assert set(sweeps["name"]) == {""}
    assert set(sweeps.loc[sweeps["setting"] == "dimensions", "metric"]) == {"logme"}
    assert set(sweeps["size"]) == {1, 2}
    (cell,) = plan.cells
    dataset = plan.datasets["tiny"]
    seen = replace(dataset, train=replace(dataset.train, identifiers=cell.train_images))
    wanted = ("soft_iou_eep", "logme+pca2", "soft_iou_eep+haste_cs", "logme+haste_cs_2of2")
    names = {("pixels_per_image", 20): wanted[:1], ("image_size", 32): wanted[:1], ("dimensions", 2): wanted[1:2],
             ("hard_fraction", 0.5): wanted[2:3], ("hard_bucket", 2): wanted[3:]}  # fmt: skip
    fewer = sweeps[sweeps["setting"] == "train_images"].drop(columns=["setting", "value", "name"])
    keys = [column for column in fewer.columns if column != "score"]
    both = fewer.merge(outcome.tables.scores, on=keys)  # (a selection would take the statistics of these images alone)
    assert len(both) == len(fewer)
    assert (both["score_x"] != both["score_y"]).mean() > 0.9
    for (setting, value), (metric,) in names.items():
        options: dict[str, object] = {"train_images": None, "pixels_per_image": 50, "image_size": 48}
        options |= {setting: value} if setting not in ("dimensions", "hard_bucket") else {}
        selection = select(plan.pool, seen, size=2, metrics=(metric,), predictor="linear_probe", seed=1,
                           cache_gb=0.0, resamples=0, **options)  # fmt: skip
        rows = sweeps[(sweeps["setting"] == setting) & (sweeps["value"] == value) & (sweeps["probe_seed"] == 1)]
        rows = rows[rows["predictor"].isin(["linear_probe", ""])]
        name = {"logme+pca2": "logme", "logme+haste_cs_2of2": "logme+haste_cs"}.get(metric, metric)
        found = rows[rows["metric"] == name].set_index("members")["score"]
        if "logme" in metric:
            assert found.to_dict() == pytest.approx(selection.single_scores[metric], rel=1e-6)
        else:
            pairs = [" ".join(selection.names_of(row)) for row in range(len(selection.ranking))]
            np.testing.assert_allclose(found.loc[pairs], selection.ranking.scores[metric], rtol=1e-6)


def test_models_that_say_what_is_hard_and_easier_samples_are_swept(
    plan: StudyPlan, outcome: StudyOutcome, tmp_path: Path
) -> None:
    step = next(step for _, steps in phases_of(plan) for step in steps)
    usual = parse_record(json.loads(step.job().content), ScoreJob, "job", ConfigError)
    job = replace(usual, metrics=("logme",), sizes=(1,), predictors=("eep",), folder=tmp_path / "sweep", train_images=4)
    sweeps = SweepSettings(hard_model=("c", "small_fpn"), hard_easy=(0.0, 0.5))

    def swept(setting: str) -> pd.DataFrame:
        made = SweepJob(usual.cell, tmp_path / "sweep", setting, sweeps.values(setting), sweeps, job)
        return pd.concat(made.tables(lambda done: None)).query("metric == 'logme+haste_cs'")

    def scored(**changes: object) -> dict[str, float]:
        alone = replace(job, metrics=("logme+haste_cs",), **changes)  # type: ignore[arg-type]
        return dict(score_cell(alone, lambda done: None)["scores"].set_index("members")["score"])

    easier = swept("hard_easy").set_index(["value", "members"])["score"]
    assert easier.loc[0.0].to_dict() == pytest.approx(scored())
    draws = pd.DataFrame([scored(easy_share=0.5, easy_seed=seed) for seed in range(10)])
    assert easier.loc[0.5].to_dict() == pytest.approx(draws.mean().to_dict())
    assert (draws.std() > 0).all()
    models = swept("hard_model")
    assert models[["value", "name"]].drop_duplicates().to_numpy().tolist() == [[1.0, "c"], [2.0, "small_fpn"]]
    by_name = models.set_index(["name", "members"])["score"]
    assert by_name.loc["c"].to_dict() == pytest.approx(scored(hardness_model=("c",)))
    with pytest.raises(ConfigError, match=r"sweeps.hard_model for tiny: .*'smal_fpn'"):
        plan_for(replace(plan.settings, sweeps=SweepSettings(hard_model=("smal_fpn",))), tmp_path / "none")
    told = Findings(replace(outcome.tables, sweeps=models.assign(probe_seed=0)), 2, ("eep", "soft_iou_eep"))
    assert told.names_of("hard_model") == {1.0: "c", 2.0: "small_fpn"}


def test_sweeps_stand_beside_the_studys_own_scores(outcome: StudyOutcome, home: Path) -> None:
    told = findings_of(outcome.tables, settings_for(home)).sweeps
    own = told[told["own"]].groupby("setting")["value"].unique().map(list).to_dict()
    assert own == {"pixels_per_image": [50.0], "train_images": [10.0], "image_size": [48.0], "dimensions": [np.inf],
                   "hard_fraction": [1.0], "hard_bucket": [np.inf]}  # fmt: skip
    whole = findings_of(outcome.tables, settings_for(home)).agreement.query("size == 2 and metric == 'soft_iou_eep'")
    taus = whole[(whole["stratum"] == "all") & (whole["result"] == "mean")].set_index("predictor")["weighted_kendall"]
    again = told[told["own"] & (told["setting"] == "pixels_per_image") & (told["metric"] == "soft_iou_eep")]
    assert again.set_index("predictor")["weighted_kendall"].to_dict() == pytest.approx(taus.to_dict())


def test_scores_of_older_studies_stay_done(plan: StudyPlan) -> None:
    """Nothing that a job was given later is in its description unless it is used."""
    step = next(step for _, steps in phases_of(plan) for step in steps)
    job = parse_record(json.loads(step.job().content), ScoreJob, "job", ConfigError)
    older = ("checksums", "sizes", "metrics", "predictors", "pixels_per_image", "seed", "hard_fraction")
    facts = {name: getattr(job, name) for name in older}
    assert job.description() == digest_of({**facts, "cell": asdict(plan.cells[0])})


def plain_mean(members: Sequence[SourceModel], images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
    total = torch.zeros(())
    for model in members:
        assert isinstance(images, Tensor)
        total = total + upsample_probabilities(model.predict(images), size, model.part_of(images))
    return {"all": total.argmax(dim=1)}


def test_an_ensemble_reaches_what_its_members_predict_together(plan: StudyPlan, outcome: StudyOutcome) -> None:
    """Every pair and triple of both seeds, evaluated from scratch: equal to the last bit."""
    (cell,) = plan.cells
    dataset = plan.datasets["tiny"]
    for seed in (0, 1):
        models = {name: load_fitted(plan.fit_folder(cell, seed, name), 3) for name in "abcd"}
        table = outcome.tables.ensembles
        reached = table[table["finetuning_seed"] == seed].set_index("members")["result"]
        for names in (each for size in (1, 2, 3) for each in combinations("abcd", size)):
            members = [models[name] for name in names]
            with torch.no_grad():
                counts = count_split(partial(plain_mean, members), dataset.test, cell.preprocessing)
            assert reached[" ".join(names)] == pytest.approx(mean_iou(counts["all"].confusion), abs=1e-12)


def test_losses_are_those_of_the_images_set_aside(plan: StudyPlan, outcome: StudyOutcome) -> None:
    """Sampled pixels come near to all pixels of stripes."""
    (cell,) = plan.cells
    data = cell.open()
    assert len(data.validation) == 2
    assert not set(data.validation.identifiers) & set(cell.train_images)
    model = load_fitted(plan.fit_folder(cell, 0, "a"), 3)
    losses = []
    for batch in prepared_images(data.validation, cell.preprocessing):
        assert isinstance(batch.images, Tensor)
        with torch.no_grad():
            maps = upsample_probabilities(model.predict(batch.images), (48, 48), model.part_of(batch.images))
        masks = torch.stack(batch.masks).long()
        losses.append(-maps.gather(1, masks[:, None]).log())
    found = outcome.tables.finetuned.query("member == 'a' and finetuning_seed == 0")["validation_loss"].item()
    assert found == pytest.approx(torch.cat(losses).mean().item(), rel=0.03)


@pytest.mark.parametrize("predictor", ["linear_probe", "eep"])
def test_scores_are_those_of_a_selection(plan: StudyPlan, outcome: StudyOutcome, predictor: str) -> None:
    (cell,) = plan.cells
    dataset = plan.datasets["tiny"]
    seen = replace(dataset, train=replace(dataset.train, identifiers=cell.train_images))
    selection = select(
        plan.pool, seen, size=2, metrics=METRICS, predictor=predictor, seed=1, train_images=None,
        pixels_per_image=50, image_size=48, cache_gb=0.0, resamples=0,
    )  # fmt: skip
    scores = outcome.tables.scores.query("probe_seed == 1")
    names = [" ".join(selection.names_of(row)) for row in range(len(selection.ranking))]
    for metric in ("soft_iou_eep", "ms_leep"):
        rows = scores[(scores["metric"] == metric) & (scores["predictor"] == predictor) & (scores["size"] == 2)]
        found = rows.set_index("members")["score"].loc[names]
        np.testing.assert_allclose(found, selection.ranking.scores[metric], rtol=1e-6)
    for metric, given in (("leep", predictor), ("logme", ""), ("base", "")):
        rows = scores[(scores["metric"] == metric) & (scores["predictor"] == given)].set_index("members")["score"]
        assert rows.to_dict() == pytest.approx(selection.single_scores[metric], rel=1e-6)


def test_one_member_of_a_kind_chooses_the_rate_for_all(plan: StudyPlan, outcome: StudyOutcome) -> None:
    (cell,) = plan.cells
    records = {name: read_record_of(plan.fit_folder(cell, seed, name)) for seed in (0, 1) for name in "abcd"}
    assert all(record is not None for record in records.values())
    assert outcome.tables.finetuned["learning_rate"].nunique() == 1
    first = read_record_of(plan.fit_folder(cell, 0, "a"))
    assert first is not None
    assert set(first.held_out) == {0.01, 0.02}
    assert first.learning_rate == max(first.held_out, key=lambda rate: (first.held_out[rate] or 0.0, -rate))


def test_heads_and_the_model_of_equal_cost(outcome: StudyOutcome) -> None:
    tables = outcome.tables
    for seed, rows in tables.heads.groupby("finetuning_seed"):
        ensembles = tables.ensembles[tables.ensembles["finetuning_seed"] == seed].set_index("members")["result"]
        for row in rows.itertuples():
            assert row.plain_mean == pytest.approx(ensembles[row.members], abs=1e-12)
            assert 0 <= row.learned_head <= 1
            assert row.kept in (0, 1)
            assert row.kept or row.learned_head == row.plain_mean
    assert {len(str(members).split()) for members in tables.heads["members"]} == {1, 2}  # B1, and the choices
    assert list(tables.equal_cost["finetuning_seed"]) == [0, 1]
    assert set(tables.equal_cost["steps"]) == {4}


def test_b1_stands_beside_the_choice_with_a_head_too(outcome: StudyOutcome, home: Path) -> None:
    gained = findings_of(outcome.tables, settings_for(home)).main_gains
    told = gained[gained["baseline"] == "b1_head"]
    assert len(told)
    learned = outcome.tables.heads.set_index(["finetuning_seed", "members"])["learned_head"]
    for row in told.itertuples():
        assert " " not in row.baseline_members
        assert row.baseline_result == learned[row.finetuning_seed, row.baseline_members]


def test_the_same_study_again_finds_everything_done(plan: StudyPlan, outcome: StudyOutcome) -> None:
    again = run(plan)
    assert (again.done, again.failed) == (0, {})
    assert again.found == outcome.done
    assert_same(again.tables, outcome.tables)


@pytest.mark.slow  # as test_interrupted is
def test_what_is_lost_is_made_again_with_the_same_numbers(
    plan: StudyPlan, outcome: StudyOutcome, home: Path, tmp_path: Path
) -> None:
    """A member's fit gone, one cut off in the middle, and the results of one seed."""
    shutil.copytree(plan.output, tmp_path / "output")
    copied = plan_for(settings_for(home, equal_cost=False), tmp_path / "output")
    (cell,) = copied.cells
    shutil.rmtree(copied.fit_folder(cell, 0, "b"))
    shutil.rmtree(copied.results_folder(cell, 1))
    (copied.fit_folder(cell, 1, "c") / "fit.yaml").unlink()
    again = run(copied)
    assert_same(replace(again.tables, equal_cost=outcome.tables.equal_cost), outcome.tables)
    assert again.done == 5  # two fits, one evaluation, and heads twice: they do without the model of equal cost now


def test_a_member_that_cannot_be_fitted_is_missed_aloud(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "pool", tmp_path / "pool")
    weights = tmp_path / "pool" / "members" / "b" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] + bytes(100))
    given = settings_for(home, pools=(tmp_path / "pool",), metrics=("base",), heads=(), equal_cost=False,
                         sweeps=SweepSettings())  # fmt: skip
    plan = plan_for(
        replace(given, finetuning_seeds=(0,), probe_seeds=(0,)), tmp_path / "output", TRAINING.at_rate(0.01)
    )
    outcome = run(plan)
    assert any("seed 0 b" in name and "does not match its card" in reason for name, reason in outcome.failed.items())
    assert set(outcome.tables.finetuned["member"]) == {"a", "c", "d"}


def test_damaged_weights_of_a_fit_are_refused(plan: StudyPlan, outcome: StudyOutcome, tmp_path: Path) -> None:
    assert not outcome.failed
    folder = tmp_path / "fit"
    shutil.copytree(plan.fit_folder(plan.cells[0], 0, "a"), folder)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-8] + bytes(8))
    with pytest.raises(ConfigError, match="weights were damaged"):
        load_fitted(folder, 3)


def test_other_data_than_at_the_beginning_are_refused(home: Path, plan: StudyPlan, outcome: StudyOutcome) -> None:
    assert not outcome.failed
    other = plan_for(settings_for(home, image_size=64), plan.output)
    with pytest.raises(ConfigError, match="begun with other values of image_size"):
        run(other)


def test_cells_differ_by_labels_and_subset(home: Path, tmp_path: Path) -> None:
    regimes = (Regime("few", 4), Regime("all", None))
    plan = plan_for(settings_for(home, regimes=regimes, subset_seeds=(0, 1)), tmp_path / "output")
    assert [(cell.name, len(cell.train_images)) for cell in plan.cells] == [
        ("tiny-few-0", 4),
        ("tiny-few-1", 4),
        ("tiny-all-0", 10),
        ("tiny-all-1", 10),
    ]
    assert len({cell.validation_images for cell in plan.cells}) == 1
    plan.write_cells()
    assert Cell.read(plan.cell_file(plan.cells[0])) == plan.cells[0]


def test_too_few_members_are_told_with_the_reasons(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="Ensembles of 5 need 5 members, but only 4"):
        plan_for(settings_for(home, sizes=(2, 5)), tmp_path / "output")


def test_members_that_saw_a_target_are_no_candidates(home: Path, tmp_path: Path) -> None:
    dataset = open_dataset(str(home / "tiny"))
    make_pool(tmp_path / "pool", 4)
    make_member(tmp_path / "pool", "seen", 9, trained_on=dataset)
    plan = plan_for(settings_for(home, pools=(tmp_path / "pool",)), tmp_path / "output")
    assert [member.name for member in plan.members["tiny"]] == ["a", "b", "c", "d"]
    assert "seen" in plan.excluded["tiny"]
    assert len(Pool.open(tmp_path / "pool")) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 4}, "size: expected one of sizes"),
        ({"sizes": (2, 2)}, "sizes: expected at least one, each once"),
        ({"sizes": (6,), "size": 6}, "sizes: expected a whole number, from 1 to 5"),
        ({"metrics": ("leep", "leep")}, "metrics: expected at least one, each once"),
        ({"metrics": ("sofft",)}, "metrics: "),
        ({"heads": ("eep/logme2",)}, "heads: expected PREDICTOR/METRIC"),
        ({"heads": ()}, "equal_cost: expected at least one of heads"),
        ({"regimes": (Regime("a"), Regime("a"))}, "regimes: expected at least one, each once"),
        ({"sweeps": SweepSettings(metrics=("h_score",))}, "sweeps.metrics: expected some of metrics"),
        ({"sweeps": SweepSettings(dimensions=(2,), metrics=("leep",))}, "sweeps: dimensions changes none"),
        ({"finetuning_seeds": ()}, "finetuning_seeds: expected at least one"),
        ({"large_pool": Path("other/pool")}, "large_pool: expected a folder with another name than those of pools"),
        (
            {"large_pool": Path("x"), "capped_pool": Path("y/x")},
            "capped_pool: .* another name than those of large_pool",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(home: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_for(home, **change)


def test_the_page_says_who_wins(outcome: StudyOutcome, home: Path, tmp_path: Path) -> None:
    findings = replace(findings_of(outcome.tables, settings_for(home)), draws=5)
    path = write_study_report(findings, tmp_path).page
    text, said = path.read_text("utf-8"), headline(findings)
    assert said in html.unescape(text)
    best = findings.standings.groupby("approach")["result"].mean().reindex(CONTENDERS).max()
    assert f"with {best:.3f} mIoU" in said
    assert "What predicts: ensembles of 2" in text
    assert best_metric(findings) in html.unescape(text)
    assert "Two runs of fine-tuning agree at" in best_metric(findings)
    assert "Two runs of fine-tuning, and the ceiling" in text
    assert "by the features of d, the member with the largest source" in text
    figures = {file.name for file in (tmp_path / "figures").iterdir()}
    for name in (
        "time_few_eep_of_2",
        "sweep_hard_fraction_few_eep_of_2",
        "choices_few_linear_probe_soft_iou_eep",
        "cost_few_eep_soft_iou_eep",
        "tau_few_linear_probe_of_2",
        "m21_distances",
        "m21_map",
    ):
        assert {f"{name}.svg", f"{name}.png", f"{name}.html"} <= figures


def test_a_rival_that_beats_every_ensemble_is_what_the_page_names(outcome: StudyOutcome, home: Path) -> None:
    """A planted single model of equal cost."""
    planted = outcome.tables.equal_cost.assign(result=0.99)
    tables = replace(outcome.tables, equal_cost=planted)
    said = headline(findings_of(tables, settings_for(home)))
    assert said.startswith("Best on the one target: single model of equal cost, with 0.990 mIoU")
    assert "not worth its cost here" in said


def test_a_track_record_has_what_each_metric_chose(outcome: StudyOutcome, home: Path) -> None:
    table = track_record(findings_of(outcome.tables, settings_for(home)), "mine")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["metric"]) == set(METRICS)
    assert set(table["size"]) == {2, 3}
    ensembles = outcome.tables.ensembles.query("size == 2")
    row = table.query("metric == 'soft_iou_eep' and predictor == 'eep' and size == 2").iloc[0]
    assert row["candidates"] == 6
    assert row["mean_result"] == pytest.approx(ensembles["result"].mean(), abs=1e-4)
    assert (
        row["result"]
        <= row["best_result"]
        == pytest.approx(ensembles.groupby("finetuning_seed")["result"].max().mean(), abs=1e-4)
    )
