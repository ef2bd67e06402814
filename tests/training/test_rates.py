"""The best of several rates, chosen for each member on held-out training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from muster.data import Dataset, channel_statistics
from muster.errors import DatasetError
from muster.models import Segmenter
from muster.pool import Pool
from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.training.checkpoints import CHECKPOINT
from muster.training.clock import Clock
from muster.training.evaluation import model_predictor
from muster.training.finetuning import fit_members, load_members
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.rates import _best
from muster.training.run_files import WORK
from muster.training.settings import TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import confusion_matrices, make_pool, make_target, shown

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

RATES = (0.05, 0.001)
SETTINGS = TrainingSettings(
    steps=4, batch_size=2, crop_size=32, learning_rates=RATES, held_out_fraction=0.34, checkpoint_every=2, seed=1
)


class Stop(pl.Callback):
    """Breaks off before a step of one of the fits, counted from 0."""

    def __init__(self, fit: int, step: int) -> None:
        self.fit, self.step, self.fits = fit, step, 0
        self.first_steps: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first_steps.append(trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (len(self.first_steps) - 1, trainer.global_step) == (self.fit, self.step):
            raise InterruptedError


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 2)


def tune(
    pool: Pool, target: Dataset, folder: Path, settings: TrainingSettings = SETTINGS, *callbacks: pl.Callback
) -> EnsembleTraining:
    module = EnsembleTraining(settings, target.spec.num_classes)
    module.set_members(("a", "b"), load_members(pool, ("a", "b")))
    data = TargetData(target, target.train, shown(target.train, 48))

    def reload(names: Sequence[str]) -> list[Segmenter]:
        return load_members(pool, names)

    assert fit_members(module, data, folder, Hardware("cpu"), callbacks, reload=reload)
    return module


@pytest.fixture(scope="module")
def tuned(pool: Pool, target: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[EnsembleTraining, Path]:
    folder = tmp_path_factory.mktemp("tuned")
    return tune(pool, target, folder), folder


def test_each_member_takes_the_rate_that_was_best_on_held_out_images(
    tuned: tuple[EnsembleTraining, Path], pool: Pool, target: Dataset, tmp_path: Path
) -> None:
    module, _ = tuned
    kept, held = target.train.hold_out(0.34, seed=1)
    statistics = channel_statistics(target.train)  # of the final fit: the search changes nothing but the images
    for name in ("a", "b"):
        slowly = {}
        for rate in RATES:
            settings = replace(SETTINGS, learning_rate=rate, learning_rates=())
            alone = EnsembleTraining(settings, 3)
            alone.set_members((name,), load_members(pool, (name,)))
            fit(
                alone,
                FitData(kept, shown(statistics, 48), settings),
                tmp_path / f"{name}{rate}",
                Hardware("cpu"),
            )
            model = alone.members[0].eval()
            assert isinstance(model, Segmenter)
            slowly[rate] = mean_iou(
                confusion_matrices(model_predictor(model, SEGMENTATION), held, shown(statistics, 48))["prediction"]
            )
        assert module.held_out[name] == pytest.approx(slowly, abs=0.01)
        results = module.held_out[name]
        assert module.rates[name] == max(RATES, key=lambda rate: (results[rate] or 0.0, -rate))


def test_the_last_fit_learns_from_all_images_with_the_rate_of_each(
    tuned: tuple[EnsembleTraining, Path], pool: Pool, target: Dataset, tmp_path: Path
) -> None:
    module, _ = tuned
    for place, name in enumerate(module.names):
        settings = replace(SETTINGS, learning_rate=module.rates[name], learning_rates=())
        alone = EnsembleTraining(settings, 3)
        alone.set_members((name,), load_members(pool, (name,)))
        data = FitData(target.train, shown(target.train, 48), settings)
        fit(alone, data, tmp_path / name, Hardware("cpu"))
        expected = alone.members[0].state_dict()
        for key, value in module.members[place].state_dict().items():
            assert torch.allclose(value.float(), expected[key].float(), rtol=1e-5, atol=1e-6), (name, key)


@pytest.mark.parametrize(("fit_at", "step"), [(0, 3), (1, 2), (2, 1), (2, 3)])
def test_an_interrupted_search_ends_like_one_that_was_not(
    fit_at: int, step: int, tuned: tuple[EnsembleTraining, Path], pool: Pool, target: Dataset, tmp_path: Path
) -> None:
    whole, _ = tuned
    with pytest.raises(InterruptedError):
        tune(pool, target, tmp_path, SETTINGS, Stop(fit_at, step), Clock(lambda done, loss: None))
    watch, clock = Stop(-1, -1), Clock(lambda done, loss: None)
    resumed = tune(pool, target, tmp_path, SETTINGS, watch, clock)
    # Fits that were done have nothing left to do, and the one at hand goes on from its checkpoint at step 2, if any.
    goes_on = step >= 2
    assert watch.first_steps == [2 if number == fit_at and goes_on else 0 for number in range(fit_at, 3)]
    assert clock.resumed_at_steps == ((2,) if fit_at == 2 and goes_on else ())  # the record speaks of the last fit
    assert (resumed.rates, resumed.held_out, resumed.history) == (whole.rates, whole.held_out, whole.history)
    first, second = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_other_rates_do_not_take_up_the_checkpoints(
    tuned: tuple[EnsembleTraining, Path], pool: Pool, target: Dataset
) -> None:
    _, folder = tuned
    checkpoint = folder / WORK / "rate-0.05" / CHECKPOINT
    before = checkpoint.stat().st_mtime_ns
    tune(pool, target, folder, replace(SETTINGS, held_out_fraction=0.5))
    assert checkpoint.stat().st_mtime_ns > before


def test_a_rate_at_which_a_member_diverges_is_out_and_the_others_go_on(
    pool: Pool, target: Dataset, tmp_path: Path
) -> None:
    module = tune(pool, target, tmp_path, replace(SETTINGS, learning_rates=(1e30, 0.01)))
    assert module.rates == {"a": 0.01, "b": 0.01}
    assert [values[1e30] for values in module.held_out.values()] == [None, None]
    with pytest.raises(TrainingDivergedError, match=r"'a' diverged at every rate \(1e\+30, 1e\+29\)"):
        tune(pool, target, tmp_path / "none", replace(SETTINGS, learning_rates=(1e30, 1e29)))


def test_of_equal_rates_the_smallest_is_taken() -> None:
    curves = {0.1: {2: 0.5, 4: 0.5}, 0.01: {2: 0.4, 4: 0.5}, 0.001: {2: 0.4, 4: 0.4}, 1.0: {2: None, 4: None}}
    assert _best("a", dict(curves)) == (0.01, 4)
    assert _best("a", {0.1: dict(curves[0.1])}) == (0.1, 2)  # and of equal numbers of steps the fewest


def test_images_that_cannot_choose_are_named(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least 2 images"):
        tune(pool, make_target(1), tmp_path)
    void = make_target(3, void=("00", "01", "02"))
    with pytest.raises(DatasetError, match=r"held out to choose a learning rate or .* by have no labelled pixel"):
        tune(pool, void, tmp_path / "void")
