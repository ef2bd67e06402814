"""The schedule plateau in fits: what it looks at, and that an interruption changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from muster.data import VOID, Dataset, prepare_image
from muster.models import build_model
from muster.models.padding import upsample
from muster.training.finetuning import fit_members
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import Adapt, TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import shown
from tests.training.diary import Diary

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before"),
]

# A rate that makes the loss go up and down, and looks after every second step that forgive one bad one.
SETTINGS = TrainingSettings(
    steps=12, batch_size=2, crop_size=32, learning_rate=0.3, schedule="plateau", patience=1, validate_every=2,
    held_out_fraction=0.34, checkpoint_every=4, seed=1, ema_decay=0.5,
)  # fmt: skip


def tune(target: Dataset, folder: Path, settings: TrainingSettings, *callbacks: Diary) -> EnsembleTraining:
    module = EnsembleTraining(settings, 3)
    module.set_members(("a", "b"), [build_model(name, 3, seed=2) for name in ("small_fpn", "small_unet")])
    module.rates = {"b": 0.02}
    data = TargetData(target, target.train, shown(target.train, 48))
    fit_members(module, data, folder, Hardware("cpu"), callbacks)
    return module


def curve(module: EnsembleTraining, name: str) -> list[float]:
    return [point[name] for point in module.history if name in point]


def test_rates_follow_the_losses_and_an_interrupted_fit_ends_alike(target: Dataset, tmp_path: Path) -> None:
    whole = tune(target, tmp_path / "whole", SETTINGS)
    for name, rate in (("a", 0.3), ("b", 0.02)):
        losses, expected, best, waited = curve(whole, f"held_out_loss/{name}"), [], float("inf"), 0
        for loss in losses:
            best, waited = (loss, 0) if loss < best * (1 - 1e-4) else (best, waited + 1)
            rate, waited = (rate / 2, 0) if waited == 2 else (rate, waited)
            expected.append(rate)
        assert curve(whole, f"rate/{name}") == expected
        assert len(losses) == 6
    halved = [curve(whole, f"rate/{name}")[-1] / rate for name, rate in (("a", 0.3), ("b", 0.02))]
    assert halved[0] < halved[1]  # each by its own loss
    with pytest.raises(InterruptedError):
        tune(target, tmp_path / "parts", SETTINGS, Diary(stop_at=9))
    resumed = tune(target, tmp_path / "parts", SETTINGS)
    first, second = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert resumed.history == whole.history


@pytest.mark.parametrize("adapt", ["full", "frozen"])
def test_it_looks_at_whole_images_that_are_not_trained_on(target: Dataset, tmp_path: Path, adapt: Adapt) -> None:
    settings = replace(SETTINGS, steps=2, checkpoint_every=50, ema_decay=None, adapt=adapt)
    module = tune(target, tmp_path, settings)
    kept, held = target.train.hold_out(0.34, seed=1)
    assert not set(kept.identifiers) & set(held.identifiers)
    preprocessing = shown(target.train, 48)
    for name, model in module.models.items():  # after the last step, as the look was
        losses = []
        for sample in held:
            if bool((sample.mask != VOID).any()):
                with torch.no_grad():
                    image = prepare_image(sample.image, preprocessing)[None]
                    upsampled = upsample(model(image), tuple(sample.mask.shape), model.part_of(image))
                loss = functional.cross_entropy(upsampled, sample.mask.long()[None], ignore_index=VOID)
                losses.append(float(loss))
        expected = sum(losses) / len(losses)
        assert curve(module, f"held_out_loss/{name}") == [pytest.approx(expected, rel=1e-4)]
