"""A study of targets whose images have one class each: accuracies of ensembles against counting, and defaults."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

from muster.data import prepared_images
from muster.errors import ConfigError
from muster.execution.progress import TrainingProgress
from muster.report.study_report import write_study_report
from muster.scoring.outcome_counts import OutcomeCounts
from muster.study.evaluation import results_of
from muster.study.findings import Findings
from muster.study.fits import load_fitted
from muster.study.plan import StudyPlan
from muster.study.run import StudyOutcome, run_study
from muster.study.settings import METRICS_OF_MEMBERS, StudySettings
from muster.study.tables import StudyTables
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.segmentation import SEGMENTATION
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_pool

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

TRAINING = TrainingSettings(steps=2, batch_size=4, crop_size=32, checkpoint_every=2).at_rate(0.02)


def settings_for(home: Path, *targets: str) -> StudySettings:
    return StudySettings(
        pools=(home / "pool",), targets=targets, sizes=(2, 3), size=2,
        metrics=("e_leep", "accuracy_eep", "leep", "rsa", "leep+haste_cs"), predictors=("eep",), heads=("eep",),
        equal_cost=True, image_size=32, validation_images=8, distance_images=0,
    )  # fmt: skip


def plan_for(settings: StudySettings, home: Path, training: TrainingSettings = TRAINING) -> StudyPlan:
    return StudyPlan.of(settings, training, HeadSettings(), Hardware("cpu"), home / "output", None)


def run(plan: StudyPlan) -> StudyOutcome:
    return run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classified")
    make_pool(folder / "pool", 3)
    return folder


@pytest.fixture(scope="module")
def plan(home: Path) -> StudyPlan:
    return plan_for(settings_for(home, "scenes/waters"), home)


@pytest.fixture(scope="module")
def outcome(plan: StudyPlan) -> StudyOutcome:
    return run(plan)


def test_accuracies_of_ensembles_by_hand() -> None:
    """Three members look at four images; the third image is right only where the first two are together."""
    says = [[(0.9, 0.1), (0.6, 0.4), (0.3, 0.7), (0.2, 0.8)],
            [(0.8, 0.2), (0.3, 0.7), (0.8, 0.2), (0.6, 0.4)],
            [(0.4, 0.6), (0.3, 0.7), (0.1, 0.9), (0.9, 0.1)]]  # fmt: skip
    counts = OutcomeCounts(3, 2, (1, 2, 3))
    for image, label in enumerate((0, 1, 0, 1)):  # one image after the other
        counts.add([torch.tensor([member[image]]) for member in says], torch.tensor([label]))
    assert results_of(counts, 1, CLASSIFICATION).tolist() == [0.5, 0.75, 0.25]
    assert results_of(counts, 2, CLASSIFICATION).tolist() == [1.0, 0.5, 0.5]
    assert results_of(counts, 3, CLASSIFICATION).tolist() == [0.5]
    # Class 0 has 2 hits of 2, class 1 too; as pairs: a and c have one hit each and one miss each.
    assert results_of(counts, 2, SEGMENTATION).tolist() == pytest.approx([1.0, 1 / 3, 1 / 3])


def test_an_ensemble_reaches_the_share_of_images_that_its_members_get_right_together(
    plan: StudyPlan, outcome: StudyOutcome
) -> None:
    assert not outcome.failed
    (cell,), dataset = plan.cells, plan.datasets["scenes_waters"]
    models = {name: load_fitted(plan.fit_folder(cell, 0, name), 2) for name in "abc"}
    found: dict[str, list[torch.Tensor]] = {name: [] for name in models}
    truth = torch.cat([dataset.test.mask(place).flatten() for place in range(len(dataset.test))])
    for batch in prepared_images(dataset.test, cell.preprocessing):
        assert isinstance(batch.images, torch.Tensor)
        with torch.no_grad():
            for name, model in models.items():
                found[name].append(model.predict(batch.images)[:, :, 0, 0])
    maps = {name: torch.cat(parts) for name, parts in found.items()}
    reached = outcome.tables.ensembles.set_index("members")["result"]
    for names in (each for size in (1, 2, 3) for each in combinations("abc", size)):
        decided = torch.stack([maps[name] for name in names]).sum(dim=0).argmax(dim=1)
        assert reached[" ".join(names)] == pytest.approx((decided == truth).double().mean().item(), abs=1e-12)
    heads = outcome.tables.heads
    assert heads["plain_mean"].tolist() == pytest.approx(reached[heads["members"]].tolist(), abs=1e-12)
    assert outcome.tables.finetuned["validation_result"].between(0, 1).all()


def test_the_same_study_again_finds_everything_done(plan: StudyPlan, outcome: StudyOutcome) -> None:
    again = run(plan)
    assert (again.done, again.found, again.failed) == (0, outcome.done, {})


def test_what_nobody_names_is_what_the_task_says(home: Path) -> None:
    usual = replace(settings_for(home, "scenes/waters"), metrics=(), predictors=("linear_probe", "eep"))
    usual = replace(usual, heads=("linear_probe", "eep/logme"))
    whole = usual.of_tasks((CLASSIFICATION,))
    assert whole.metrics == ("ms_leep", "e_leep", "accuracy_eep", "soft_accuracy_eep", *METRICS_OF_MEMBERS)
    assert whole.heads == ("linear_probe/e_leep", "eep/logme")
    whole = usual.of_tasks((SEGMENTATION,))
    assert whole.metrics[:4] == ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep")
    assert whole.heads == ("linear_probe/soft_iou_eep", "eep/logme")
    with pytest.raises(ConfigError, match="heads: expected PREDICTOR/METRIC"):
        replace(usual, metrics=("leep",), heads=("eep",)).of_tasks((CLASSIFICATION,))
    both = usual.of_tasks((CLASSIFICATION, SEGMENTATION))
    assert both.metrics[:2] == ("ms_leep", "e_leep")
    assert both.heads == ("linear_probe/e_leep", "eep/logme")


def test_a_loss_of_another_task_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.loss: expected one for classification"):
        plan_for(settings_for(home, "scenes/land"), tmp_path, replace(TRAINING, loss="dice"))


def test_what_is_hard_is_kept_to_be_shown(plan: StudyPlan, outcome: StudyOutcome) -> None:
    tables, train = outcome.tables, plan.datasets["scenes_waters"].train
    assert set(tables.hard_bins["wrapper"]) == {"haste_cs"}
    assert tables.hard_bins.groupby("member")["bin"].apply(list).to_dict() == {name: [1, 2, 3, 4, 5] for name in "abc"}
    whole = tables.scores.query("metric == 'accuracy_eep' and size == 1").set_index("members")["score"]
    of_bins = tables.hard_bins.groupby("member")["accuracy"].mean()  # bins are equal but for one image
    assert of_bins.to_dict() == pytest.approx(whole.to_dict(), abs=0.01)
    bounds = tables.hard_bounds
    assert len(bounds) == 3
    assert (bounds["lower"] <= bounds["leep"]).all()
    assert (bounds["leep"] <= bounds["upper"]).all()
    points = tables.hard_map
    assert set(points["label"]) <= set(train.spec.classes)
    assert 0 < points["is_hard"].sum() < len(points)
    assert points[["x", "y"]].notna().all(axis=None)
    images = tables.hard_images
    assert images.groupby("extreme")["rank"].apply(list).to_dict() == {
        name: [*range(1, 26)] for name in ("easy", "hard")
    }
    assert images["image"].is_unique
    for row in images.groupby("extreme").head(2).to_dict("records"):
        with Image.open(BytesIO(row["jpeg"])) as kept:
            real = train[train.identifiers.index(row["image"])].image.permute(1, 2, 0).numpy()
            assert max(kept.size) == min(80, max(real.shape))
            wanted = np.asarray(Image.fromarray(real).resize(kept.size, Image.Resampling.BILINEAR), dtype=float)
            assert np.abs(np.asarray(kept) - wanted).mean() < 12  # JPEG loses a little


def test_the_page_is_written(outcome: StudyOutcome, plan: StudyPlan, tmp_path: Path) -> None:
    findings = replace(Findings.of(outcome.tables, plan.settings), draws=5)
    report = write_study_report(findings, tmp_path)
    names = {f"h22_{what}_haste_cs_scenes_waters" for what in ("bins", "bounds", "map", "images")}
    assert names <= {figure.name for figure in report.figures}
    text = report.page.read_text("utf-8")
    assert "top-1 accuracy" in text
    assert "mIoU" not in text


def test_tables_of_before_are_read(outcome: StudyOutcome, tmp_path: Path) -> None:
    """Columns had other names, and all targets were for segmentation."""
    outcome.tables.write(tmp_path)
    for name in ("ensembles", "finetuned", "equal_cost", "members", "targets"):
        path = tmp_path / f"{name}.parquet"
        old = {"result": "miou", "validation_result": "validation_miou", "test_result": "test_miou"}
        pd.read_parquet(path).rename(columns=old).drop(columns="task", errors="ignore").to_parquet(path)
    read = StudyTables.read(tmp_path)
    assert (read.tasks, outcome.tables.tasks) == ((SEGMENTATION,), (CLASSIFICATION,))
    assert set(read.members["task"]) == {""}  # not known then
    for name in ("ensembles", "finetuned", "equal_cost", "members"):
        kept, made = (getattr(tables, name).drop(columns="task", errors="ignore") for tables in (read, outcome.tables))
        pd.testing.assert_frame_equal(kept, made)
