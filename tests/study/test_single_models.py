"""Pools whose members are no candidates: large single models, and members that saw a part of their sources only."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from muster.execution.progress import TrainingProgress
from muster.study.findings import Findings
from muster.study.plan import StudyPlan
from muster.study.run import run_study
from muster.study.settings import StudySettings
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member, make_pool
from tests.odd_inputs.bench import write_dataset

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def test_they_are_fine_tuned_and_compared_but_never_chosen(tmp_path: Path) -> None:
    make_pool(tmp_path / "pool", 3)
    make_member(tmp_path / "large", "x", 7)
    make_member(tmp_path / "few", "y", 8)
    write_dataset(tmp_path / "tiny", images=6, tests=2, size=32)
    settings = StudySettings(
        pools=(tmp_path / "pool",),
        targets=(str(tmp_path / "tiny"),),
        large_pool=tmp_path / "large",
        capped_pool=tmp_path / "few",
        sizes=(1, 2),
        size=2,
        metrics=("leep", "ms_leep"),
        predictors=("eep",),
        heads=(),
        pixels_per_image=20,
        image_size=32,
        validation_images=0,
        distance_images=0,
    )
    training = TrainingSettings(steps=1, batch_size=2, learning_rate=0.01, crop_size=32)
    plan = StudyPlan.of(settings, training, HeadSettings(), Hardware("cpu"), tmp_path / "output", None)
    outcome = run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())
    tables = outcome.tables
    assert not outcome.failed
    assert set(tables.finetuned["member"]) == {"a", "b", "c", "x", "y"}
    assert dict(zip(tables.members["member"], tables.members["pool"], strict=True))["y"] == "few"
    pairs = tables.ensembles.loc[tables.ensembles["size"] == 2, "members"]
    assert set(pairs) == {"a b", "a c", "b c"}
    scored = set(" ".join(tables.scores["members"]).split())
    assert scored == {"a", "b", "c", "x"}  # LEEP chooses the large one; nothing chooses among capped sources
    findings = Findings.of(tables, settings)
    assert set(" ".join(findings.candidates["members"]).split()) == {"a", "b", "c"}
    assert findings.capped_pool == "few"
    large = findings.gains[findings.gains["baseline"] == "b1_large"]
    assert set(large["baseline_members"]) == {"x"}
