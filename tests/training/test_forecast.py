"""What trainings will take, against what they do take."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from safetensors.torch import save_file

from muster.commands.main import start
from muster.data import ImageSize
from muster.data.foreseen import as_it_was_published
from muster.errors import DatasetError
from muster.models import build_model
from muster.training import forecast
from muster.training.forecast import Fits, MemberForecast, forecast_members, seconds_per_step, size_of, timed
from muster.training.hardware import Hardware
from muster.training.plan_entries import Override
from muster.training.planned_source import foresee_source
from muster.training.pool_plan import PoolPlan, spell_out
from muster.training.settings import SourceSettings
from muster.training.sharing import training_bytes

CPU = Hardware("cpu")
SETTINGS = SourceSettings(steps=9, batch_size=4, crop_size="40x72", image_size=96, train_images=5)
PLAN = PoolPlan(
    ["worlds/attic", "oxford_pets"],
    ["small_fpn"],
    overrides=[Override(datasets=["oxford_pets"], step_counts=[20, 30], learning_rates=[0.1, 0.2, 0.3])],
)


def members_of(pool: Path) -> list[MemberForecast]:
    return forecast_members(*spell_out(PLAN, SETTINGS, pool, CPU, open_one=foresee_source))


def test_steps_images_and_bytes_are_those_of_the_training(tmp_path: Path) -> None:
    attic, pets = members_of(tmp_path)
    assert (attic.name, attic.train_images, attic.steps, attic.number_of_fits) == ("attic-small_fpn", 5, 9, 1)
    # By hand: three rates with 20 and with 30 steps, and the last fit, of 30 at most.
    assert (pets.steps, pets.number_of_fits, pets.chooses_steps) == (3 * 20 + 3 * 30 + 30, 7, True)
    assert pets.fits.num_classes == 37
    # Of whole images there are scores for one place: twice the classes are next to no memory.
    assert replace(pets.fits, num_classes=74).device_bytes(1) < 1.001 * pets.fits.device_bytes(1)
    model = build_model("small_fpn", attic.fits.num_classes)
    assert attic.fits.device_bytes(1) == pytest.approx(training_bytes(model, 4, (64, 96)), rel=0.02)  # as it is padded
    assert attic.fits.device_bytes(2) < attic.fits.device_bytes(1)
    assert size_of("small_fpn").with_head(37) == build_model("small_fpn", 37).num_parameters
    save_file(model.state_dict(), tmp_path / "weights")
    assert attic.fits.weight_bytes == pytest.approx((tmp_path / "weights").stat().st_size, rel=0.02)
    assert attic.fits.checkpoint_bytes == 2 * attic.fits.weight_bytes
    averaged = replace(attic.fits, settings=replace(SETTINGS, optimizer="adamw", ema_decay=0.9))
    assert averaged.checkpoint_bytes == 4 * attic.fits.weight_bytes


def test_members_that_are_alike_are_timed_once_and_those_that_are_there_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attic, _ = members_of(tmp_path)
    larger = replace(attic, fits=replace(attic.fits, settings=replace(SETTINGS, batch_size=40)))
    asked: list[Fits] = []
    monkeypatch.setattr(forecast, "perf_counter", partial(next, count()))  # a step takes a second

    def measure(fits: Fits, hardware: Hardware, steps: int) -> float:
        asked.append(fits)
        return seconds_per_step(fits, hardware, steps)

    monkeypatch.setattr(forecast, "seconds_per_step", measure)
    there = replace(attic, is_there=True, fits=replace(attic.fits, num_classes=2))
    first, twin, other, kept = timed([attic, attic, larger, there], CPU, 1)
    assert asked == [attic.fits, larger.fits]
    assert first == twin
    assert (first.seconds_per_step, other.seconds_per_step) == (2.0, 20.0)  # of 4 and 40 crops, 2 were timed
    assert first.hours == 2.0 * 9 / 3600
    assert kept.hours is None
    assert timed([attic], CPU, 0) == [attic]


def test_a_published_dataset_can_be_counted_and_not_read() -> None:
    dataset = as_it_was_published("anywhere/oxford_pets")
    assert dataset is not None
    assert (len(dataset.train), len(dataset.test), dataset.spec.task) == (3680, 3669, "classification")
    with pytest.raises(DatasetError, match=r"not at hand\. Oxford-IIIT Pets is to be had at"):
        dataset.train.mask(0)
    assert as_it_was_published("nobody/knows") is None
    assert foresee_source("cityscapes:cityscapes33@150", None).train_images == 150
    with pytest.raises(DatasetError, match="There is no dataset folder 'nobody'"):
        foresee_source("nobody", None)


def test_a_dry_run_shows_hours_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--plan.datasets", "[worlds/attic]", "--plan.architectures", "[small_fpn]", "--training.crop_size", "32"]
    words += ["--plan.overrides", "[]", "--output", "pool", "--training.batch_size", "2", "--hardware.device", "cpu"]
    assert start("train", arguments=[*words, "--dry_run", "--timed_steps", "1"]) == 0
    told = capsys.readouterr().out
    assert "attic-small_fpn" in told
    assert "device hours, by a few steps" in told
    assert list(tmp_path.iterdir()) == []
    for more, message in (
        (["--timed_steps", "1"], "--timed_steps has no effect without --dry_run"),
        (["--dry_run", "--list"], "--list, --verify and --dry_run: give one of them"),
        (["--dry_run", "--timed_steps", "-1"], "timed_steps: expected a whole number"),
    ):
        assert start("train", arguments=[*words, *more]) == 2
        assert message in capsys.readouterr().err


def test_a_crop_of_whole_images_is_timed_with_a_class_each() -> None:
    dataset = as_it_was_published("oxford_pets")
    assert dataset is not None
    settings = SourceSettings(batch_size=2, crop_size=32)
    fits = Fits("small_fpn", 37, dataset.spec, settings.crop_for(ImageSize.of(32)), settings)
    assert seconds_per_step(fits, CPU, 1) > 0
