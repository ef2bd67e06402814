"""Settings of single targets, and studies that fine-tune only what is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from muster.data import open_dataset
from muster.errors import ConfigError
from muster.execution.progress import TrainingProgress
from muster.pool import Pool
from muster.study.forecast import KnownMember, KnownPools, forecast_study
from muster.study.plan import StudyPlan
from muster.study.protocols import best_ensemble
from muster.study.run import run_study
from muster.study.settings import Regime, StudySettings
from muster.study.target_override import TargetOverride
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings
from tests.execution.this_process import ThisProcess
from tests.helpers import make_member, make_pool
from tests.odd_inputs.bench import write_dataset

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

TRAINING = TrainingSettings(steps=2, batch_size=2, crop_size=32, checkpoint_every=9)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chosen")
    make_pool(folder / "pool", 4)
    for number, name in enumerate(("large_1", "large_2")):
        make_member(folder / "large", name, 7 + number, classes=4)
    write_dataset(folder / "tiny", images=8, tests=2, size=48)
    return folder


@pytest.fixture(scope="module")
def settings(home: Path) -> StudySettings:
    return StudySettings(
        pools=(home / "pool",), targets=(str(home / "tiny"), "worlds/attic"), large_pool=home / "large", sizes=(2,),
        size=2, candidates="chosen", metrics=("soft_iou_eep", "leep"), predictors=("eep",),
        heads=("eep/soft_iou_eep",), pixels_per_image=30, image_size=48, validation_images=0, distance_images=0,
        per_target=(
            TargetOverride([str(home / "tiny")], image_size=40, crop_size="24x32", steps=3),
            TargetOverride(["worlds/attic", str(home / "tiny")], schedule="poly"),
        ),
    )  # fmt: skip


def plan_of(settings: StudySettings, output: Path) -> StudyPlan:
    return StudyPlan.of(settings, TRAINING, HeadSettings(keep="always"), Hardware("cpu"), output, None)


def test_a_target_may_have_settings_of_its_own(settings: StudySettings, tmp_path: Path) -> None:
    plan = plan_of(settings, tmp_path)
    told = {cell.target: (cell.image_size, plan.training_of(cell)) for cell in plan.cells}
    assert told == {
        "tiny": (40, replace(TRAINING, crop_size="24x32", steps=3, schedule="poly")),
        "attic": (48, replace(TRAINING, schedule="poly")),
    }
    assert [TargetOverride.from_mapping(each.to_mapping()) for each in settings.per_target] == [*settings.per_target]


def test_settings_of_a_target_that_cannot_work_are_refused(settings: StudySettings) -> None:
    with pytest.raises(ConfigError, match=r"per_target: .*'worlds/atic'. Did you mean 'worlds/attic'"):
        replace(settings, per_target=(TargetOverride(["worlds/atic"]),))
    with pytest.raises(ConfigError, match=r"per_target for \['a'\]: .*'crop'"):
        TargetOverride(["a"], crop=3)
    with pytest.raises(ConfigError, match=r"per_target for \['a'\]: .*steps"):
        TargetOverride(["a"], steps="many")
    with pytest.raises(ConfigError, match="per_target for a: steps"):
        TargetOverride(["a"], steps=0).apply(TRAINING)
    with pytest.raises(ConfigError, match="candidates: expected at least one of heads"):
        replace(settings, heads=())


def test_only_what_is_chosen_is_fine_tuned_and_looked_at(settings: StudySettings, home: Path) -> None:
    one = replace(settings, targets=settings.targets[:1], per_target=settings.per_target[:1])
    plan = plan_of(one, home / "output")
    outcome = run_study(plan, TrainingProgress(Console(quiet=True)), workers=1, executor=ThisProcess())
    assert outcome.failed == {}
    tables = outcome.tables
    pool = {member.name for member in Pool.open(home / "pool")}
    scores = tables.scores[tables.scores["members"].map(lambda text: set(text.split()) <= pool)]
    chosen = {*best_ensemble(scores, "eep", "soft_iou_eep", 2), *best_ensemble(scores, "eep", "leep", 1)}
    large = tables.scores[(tables.scores["metric"] == "leep") & tables.scores["members"].isin(["large_1", "large_2"])]
    best = str(large.sort_values("score")["members"].iloc[-1])
    assert set(tables.finetuned["member"]) == {*chosen, best}
    assert len(chosen) < len(pool)


def test_a_forecast_counts_what_a_plan_does(settings: StudySettings) -> None:
    candidates = tuple(KnownMember(name, ("elsewhere",), "small_fpn", "none") for name in "abcd")
    pools = KnownPools(
        (*candidates, KnownMember("e", ("tiny",), "small_fpn", "none")), (replace(candidates[0], name="l"),)
    )
    targets = {target: open_dataset(target) for target in settings.targets[:1]}
    every = replace(
        settings, candidates="all", finetuning_seeds=(0, 1), regimes=(Regime("few", 6), Regime("all", None))
    )
    training = replace(TRAINING, learning_rates=(0.1, 0.2))
    few, whole = forecast_study(every, training, Hardware("cpu"), pools, targets, 0)
    assert (few.regime, few.train_images, whole.train_images, few.test_images) == ("few", 6, 8, 2)
    assert (few.candidates, few.fitted, few.fits, few.crop_size) == (4, 5, 10, (24, 32))
    assert few.steps == 10 * 3 + 1 * 2 * 3  # one kind of network tries two rates in the first of two seeds
    assert few.ensembles == 4 + 6 + 1
    assert few.passes == 5 * 6 + 10 * 2
    assert few.hours is None
    (timed, _) = forecast_study(every, training, Hardware("cpu"), pools, targets, 1)
    assert timed.seconds_per_step is not None
    assert timed.hours == pytest.approx(timed.seconds_per_step * (36 + 50 / 3 / 2) / 3600)
