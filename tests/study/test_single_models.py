"""Pools whose members are no candidates: large single models, and members that saw a part of their sources only.

The command then finds this study done, and tells trackers of it.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from muster.commands.cli import run
from muster.commands.study import study
from muster.execution.progress import TrainingProgress
from muster.files import to_builtin_types, write_yaml
from muster.study.findings import Findings
from muster.study.plan import StudyPlan
from muster.study.run import StudyOutcome, run_study
from muster.study.settings import StudySettings
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member, make_pool
from tests.odd_inputs.bench import write_dataset

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


TRAINING = TrainingSettings(steps=1, batch_size=2, learning_rate=0.01, crop_size=32)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single models")
    make_pool(folder / "pool", 3)
    make_member(folder / "large", "x", 7)
    make_member(folder / "few", "y", 8)
    write_dataset(folder / "tiny", images=6, tests=2, size=32)
    return folder


@pytest.fixture(scope="module")
def settings(home: Path) -> StudySettings:
    return StudySettings(
        pools=(home / "pool",),
        targets=(str(home / "tiny"),),
        large_pool=home / "large",
        capped_pool=home / "few",
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


@pytest.fixture(scope="module")
def outcome(home: Path, settings: StudySettings) -> StudyOutcome:
    plan = StudyPlan.of(settings, TRAINING, HeadSettings(), Hardware("cpu"), home / "output", None)
    return run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())


def test_they_are_fine_tuned_and_compared_but_never_chosen(outcome: StudyOutcome, settings: StudySettings) -> None:
    assert not outcome.failed
    tables = outcome.tables
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


def test_the_command_finds_it_done_and_tells_trackers(
    outcome: StudyOutcome, settings: StudySettings, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome.done > 0
    shared = {"hardware": {"device": "cpu"}, "output": str(home / "output")}
    training = {name: getattr(TRAINING, name) for name in ("steps", "batch_size", "learning_rate", "crop_size")}
    usual = asdict(StudySettings(pools=(Path("pool"),), targets=("target",)))
    asked = {name: value for name, value in asdict(settings).items() if value != usual[name]}
    write_yaml(home / "study.yaml", to_builtin_types({**asked, **shared, "training": training}))
    words = ["--config", str(home / "study.yaml"), "--logger", "tensorboard"]
    assert run(study, "muster study", None, words) == 0
    assert f"0 steps done, {outcome.done} were done before, 0 failed." in capsys.readouterr().out
    (events,) = (home / "output" / "logs" / "tensorboard").iterdir()
    found = EventAccumulator(str(events)).Reload()
    tables = Findings.of(outcome.tables, settings)
    reached = tables.standings.set_index("approach")["result"]
    assert found.Scalars("reached/b1_large")[0].value == pytest.approx(reached["b1_large"])
    figures = {path.stem for path in (home / "output" / "figures").glob("*.png")}
    assert {f"figures/{name}" for name in figures} == set(found.Tags()["images"])
    assert len(figures) > 2
    assert "tables/standings/text_summary" in found.Tags()["tensors"]
