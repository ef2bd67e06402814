"""A study whose sources and targets are of several tasks: results of each by its own measure, and gains by task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from muster.data import open_dataset, prepared_images
from muster.errors import ConfigError
from muster.execution.progress import TrainingProgress
from muster.models import build_model, upsample_probabilities
from muster.models.centre_net import with_heads
from muster.models.pooled import Pooled
from muster.models.sources.backbone import Backbone
from muster.pool import write_member
from muster.report.study_report import write_study_report
from muster.study.cells import candidates_for
from muster.study.findings import Findings
from muster.study.fits import load_fitted
from muster.study.papers import task_gain_matrix, task_transfer_shares, transfer_gains
from muster.study.plan import StudyPlan
from muster.study.run import StudyOutcome, run_study
from muster.study.settings import Regime, StudySettings
from muster.study.target_override import TargetOverride
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:masks. trained on 12 of the 12 training images of depths_attic"),
]

TRAINING = TrainingSettings(steps=8, batch_size=4, crop_size=32).at_rate(0.05)
DEPTH_LOSS = (TargetOverride(["depths/attic"], loss="l1_smoothness"),)


def settings_for(pool: Path, per_target: tuple[TargetOverride, ...] = DEPTH_LOSS) -> StudySettings:
    return StudySettings(
        pools=(pool,), targets=("depths/attic", "worlds/attic"), regimes=(Regime("few", 8),), sizes=(1, 2), size=2,
        metrics=("e_leep", "leep"), predictors=("linear_probe",), heads=(), per_target=per_target, image_size=32,
        validation_images=2, distance_images=0, pixels_per_image=30,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members of depth, of masks (of a target's own images), of whole images, of objects, and one never trained."""
    folder = tmp_path_factory.mktemp("across") / "pool"
    make_member(folder, "masks", 0, trained_on=open_dataset("worlds/attic"))
    for name, seed, task in (
        ("depths", 1, "depth"),
        ("whole", 2, "classification"),
        ("straight", 3, ""),
        ("objects", 4, "detection"),
    ):
        member = make_member(folder, name, seed, classes=1 if task == "depth" else 3)
        model, card = member.load_model(), replace(member.card, task=task or "segmentation")
        if task == "classification":
            model = Pooled(model)
        if task == "detection":
            model = with_heads(model, "boxes")
        if not task:
            model = Backbone(build_model("small_fpn", 2, seed=seed))
            card = replace(card, classes=(), dataset="", seen_datasets=(), contents=(), test_result=None)
        if model.blueprint.config or not task:
            card = replace(card, blueprint=model.blueprint)
        write_member(member.folder, model, card, {"nothing": torch.zeros(1)})
    return folder


@pytest.fixture(scope="module")
def plan(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyPlan:
    output = tmp_path_factory.mktemp("study")
    return StudyPlan.of(settings_for(pool), TRAINING, HeadSettings(), Hardware("cpu"), output, None)


@pytest.fixture(scope="module")
def outcome(plan: StudyPlan) -> StudyOutcome:
    return run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())


def test_a_member_of_another_task_that_saw_the_images_stays_a_candidate(plan: StudyPlan) -> None:
    with pytest.warns(UserWarning, match="masks: trained on 12 of the 12 .* with the labels of that dataset"):
        candidates_for(plan.pool, plan.datasets["depths_attic"])
    assert {member.name for member in plan.members["depths_attic"]} == {
        "depths",
        "masks",
        "objects",
        "straight",
        "whole",
    }
    assert {member.name for member in plan.members["attic"]} == {"depths", "objects", "straight", "whole"}
    assert "was trained on the target, attic" in plan.excluded["attic"]["masks"]
    assert dict(plan.sharing) == {"depths_attic": frozenset({"masks"}), "attic": frozenset()}


def test_results_are_those_of_each_targets_task(plan: StudyPlan, outcome: StudyOutcome) -> None:
    assert not outcome.failed
    (cell,) = (cell for cell in plan.cells if cell.target == "depths_attic")
    test, found = plan.datasets["depths_attic"].test, dict[str, list[torch.Tensor]]()
    for name in ("masks", "objects", "whole"):
        model = load_fitted(plan.fit_folder(cell, 0, name), 1)
        for batch in prepared_images(test, cell.preprocessing):
            assert isinstance(batch.images, torch.Tensor)
            size = (batch.masks[0].shape[0], batch.masks[0].shape[1])
            with torch.no_grad():
                maps = torch.nn.functional.softplus(model(batch.images))
            found.setdefault(name, []).append(upsample_probabilities(maps, size, model.part_of(batch.images))[:, 0])
    truth = torch.stack([sample.mask for sample in test]).double()
    table = outcome.tables.ensembles.set_index(["target", "members"])
    for members in (("masks",), ("masks", "whole"), ("objects", "whole")):
        predicted = torch.stack([torch.cat(found[name]) for name in members]).mean(dim=0).double()
        hits = torch.maximum(predicted / truth, truth / predicted) < 1.25
        row = table.loc[("depths_attic", " ".join(members))]
        assert row["result"] == pytest.approx(float(hits.double().mean()), abs=1e-4)
        assert row["error"] == pytest.approx(float((predicted - truth).square().mean().sqrt()), rel=1e-4)
        assert row["validation_loss"] > 0
    assert table.loc["attic"]["error"].isna().all()
    assert outcome.tables.finetuned["validation_result"].between(0, 1).all()


def test_gains_of_depth_are_those_of_its_error(outcome: StudyOutcome) -> None:
    tables = outcome.tables
    gains = transfer_gains(tables.finetuned, tables.members, tables.targets).set_index(["target", "member"])
    reached = tables.finetuned.set_index(["target", "member"])
    for member in ("depths", "masks", "objects", "whole"):
        errors = [reached.loc[("depths_attic", name), "error"] for name in (member, "straight")]
        assert gains.loc[("depths_attic", member), "gain"] == pytest.approx(100 * (1 - errors[0] / errors[1]))
    results = [reached.loc[("attic", name), "result"] for name in ("depths", "straight")]
    assert gains.loc[("attic", "depths"), "gain"] == pytest.approx(100 * (results[0] / results[1] - 1))
    assert gains.loc[("depths_attic", "masks"), ["task", "target_task"]].tolist() == ["segmentation", "depth"]
    assert gains["same_images"].to_dict() == {key: key == ("depths_attic", "masks") for key in gains.index}


def test_the_page_shows_gains_by_task(plan: StudyPlan, outcome: StudyOutcome, tmp_path: Path) -> None:
    written = write_study_report(replace(Findings.of(outcome.tables, plan.settings), draws=5), tmp_path)
    page = written.page.read_text("utf-8")
    assert "segmentation -&gt; depth" in page
    assert "result (delta &lt; 1.25, mIoU)" in page
    assert "m21_tasks_few" in {figure.name for figure in written.figures}


def test_each_task_needs_a_loss_of_its_own(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"depths_attic: training.loss: .* for depth .*per_target names the loss"):
        StudyPlan.of(settings_for(pool, ()), TRAINING, HeadSettings(), Hardware("cpu"), tmp_path, None)


def test_networks_of_other_tasks_learn_to_find_objects(pool: Path, tmp_path: Path) -> None:
    loss = (TargetOverride(["boxes/harbour_drive"], loss="centres"),)
    asked = replace(
        settings_for(pool), per_target=loss, targets=("boxes/harbour_drive",), sizes=(1,), size=1,
        metrics=("e_leep", "parc"),
    )  # fmt: skip
    plan = StudyPlan.of(asked, TRAINING, HeadSettings(), Hardware("cpu"), tmp_path, None)
    found = run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())
    assert not found.failed
    everyone = {"depths", "masks", "objects", "straight", "whole"}
    assert set(found.tables.finetuned["member"]) == everyone
    parc = found.tables.scores.set_index("members").query("metric == 'parc'")["score"]
    assert set(parc.index) == everyone
    assert parc.between(-1, 1).all()
    for name in everyone:
        fitted = load_fitted(plan.fit_folder(plan.cells[0], 0, name), 3)
        assert fitted(torch.zeros(1, 3, 32, 32)).shape == (1, 7, 8, 8)  # three classes, offset and size
    gains = transfer_gains(found.tables.finetuned, found.tables.members, found.tables.targets)
    assert set(gains["target_task"]) == {"detection"}


def test_shares_and_means_by_hand() -> None:
    rows = [
        ("segmentation", "depth", True, 12.0), ("segmentation", "depth", False, -3.0),
        ("segmentation", "segmentation", False, 1.0), ("depth", "segmentation", True, 4.0),
        ("depth", "segmentation", True, np.nan),
    ]  # fmt: skip
    gains = pd.DataFrame(rows, columns=["task", "target_task", "same_images", "gain"]).assign(
        target="t", regime="few", subset_seed=0, domain_transfer="within", kind="single-source", dataset="s",
        domain="rooms", train_images=5,
    )  # fmt: skip
    matrix = task_gain_matrix(gains)
    assert matrix.loc["depth", "segmentation"] == 4.5
    assert matrix.loc["segmentation"].to_dict() == {"segmentation": 1.0, "depth": 4.0}
    shares = task_transfer_shares(gains).set_index(["task_transfer", "images"])
    both = shares.loc[("segmentation -> depth", "all")]
    assert both[["positive", "very_positive", "negative", "experiments"]].tolist() == [0.5, 0.5, 0.5, 2]
    assert shares.loc[("segmentation -> depth", "same images"), "positive"] == 1
    assert shares.loc[("depth -> segmentation", "same images"), "experiments"] == 1


def test_heads_at_720_channels_are_those_of_the_paper() -> None:
    """M21, table 2: 721 parameters for depth, and 14 K for 20 classes."""
    with torch.device("meta"):
        wide = build_model("hrnet_w48", 20)
        assert wide.feature_channels == 720
        assert sum(value.numel() for value in wide.head.parameters()) == 14_420
        wide.replace_head(1, seed=0)
        assert sum(value.numel() for value in wide.head.parameters()) == 721
