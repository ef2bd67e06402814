"""The moving average of weights, against one that is written down step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.optim.swa_utils import AveragedModel

from muster.data import Dataset
from muster.models import build_model
from muster.training.averaging import Averaging, averaging_decay
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings
from tests.helpers import shown
from tests.training.diary import Diary

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

SETTINGS = TrainingSettings(steps=4, batch_size=2, crop_size=32, checkpoint_every=2, seed=3, ema_decay=0.5)


def train(target: Dataset, folder: Path, *callbacks: pl.Callback, ema_decay: float | None = 0.5) -> EnsembleTraining:
    module = EnsembleTraining(replace(SETTINGS, ema_decay=ema_decay), 3, ("a",), (build_model("small_fpn", 3),))
    module.train()
    data = FitData(target.train, shown(target.train, 48), SETTINGS)
    fit(module, data, folder, Hardware("cpu"), callbacks)
    return module


def test_the_average_is_kept_and_taken_up_again(target: Dataset, tmp_path: Path) -> None:
    diary = Diary()
    module = train(target, tmp_path / "whole", diary)
    plain = train(target, tmp_path / "plain", ema_decay=None).state_dict()
    slowly = dict(diary.weights[0])
    for updates, weights in enumerate(diary.weights[1:], start=1):
        kept = averaging_decay(0.5, updates)
        slowly = {
            # how many batches a normalisation has seen is no weight
            name: value * kept + weights[name] * (1 - kept) if value.is_floating_point() else weights[name]
            for name, value in slowly.items()
        }
    averaged = {name: value.clone() for name, value in module.state_dict().items()}
    for name, value in averaged.items():
        assert torch.allclose(value.float(), slowly[name].float(), atol=1e-6), name
        assert torch.equal(plain[name], diary.weights[-1][name]), name  # the course of the fit is the same
    assert not torch.equal(averaged["members.0.head.weight"], plain["members.0.head.weight"])

    with pytest.raises(InterruptedError):
        train(target, tmp_path / "stopped", Diary(stop_at=3))
    for place in ("stopped", "whole"):  # the second was finished before, and is only looked at again
        again = train(target, tmp_path / place).state_dict()
        assert all(torch.equal(value, averaged[name]) for name, value in again.items()), place


def test_the_decay_grows_to_its_limit() -> None:
    assert [averaging_decay(0.999, updates) for updates in (0, 9)] == [1 / 10, 10 / 19]
    assert averaging_decay(0.999, 10**6) == 0.999


def test_the_number_of_updates_stays_where_it_can_be_asked_for() -> None:
    """A device that has to hand it out at each update has to finish its work first."""
    averaging = Averaging(0.5)
    module = EnsembleTraining(SETTINGS, 3, ("a",), (build_model("small_fpn", 3),))
    averaging._average_model = AveragedModel(module)
    averaging.on_fit_start(pl.Trainer(accelerator="cpu", logger=False), module.to("meta"))
    assert {weights.device.type for weights in averaging._average_model.parameters()} == {"meta"}
    assert averaging._average_model.n_averaged.device.type == "cpu"
