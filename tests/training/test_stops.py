"""The number of steps is chosen on held-out images, for each member by itself; the last fit stops a member there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from muster.data import Dataset
from muster.errors import ConfigError
from muster.models import SourceModel
from muster.pool import Pool
from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.training.averaging import averaging_decay
from muster.training.evaluation import model_predictor
from muster.training.finetuning import fit_members, load_members
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.held_out import stops_of
from muster.training.idle_settings import idle_settings
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import confusion_matrices, make_pool, shown
from tests.training.diary import Diary

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

SETTINGS = TrainingSettings(
    steps=4, batch_size=2, crop_size=32, learning_rate=0.2, schedule="cosine", warmup_steps=1, ema_decay=0.5,
    weight_decay=0.1, tried_stops=2, held_out_fraction=0.34, checkpoint_every=2, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 2)


def module_of(pool: Pool, settings: TrainingSettings) -> EnsembleTraining:
    module = EnsembleTraining(settings, 3)
    module.set_members(("a", "b"), load_members(pool, ("a", "b")))
    return module


def tune(pool: Pool, target: Dataset, folder: Path, *callbacks: pl.Callback) -> EnsembleTraining:
    module = module_of(pool, SETTINGS)
    data = TargetData(target, target.train, shown(target.train, 48))

    def reload(names: Sequence[str]) -> list[SourceModel]:
        return list(load_members(pool, names))

    fit_members(module, data, folder, Hardware("cpu"), callbacks, reload=reload)
    return module


def test_stops_are_evenly_spaced_and_end_with_all_steps() -> None:
    assert stops_of(400, 4) == (100, 200, 300, 400)
    assert stops_of(5, 2) == (3, 5)
    assert stops_of(7, 1) == (7,)
    assert stops_of(3, TrainingSettings(steps=3, tried_stops=4).tried_stops) == (1, 2, 3)
    with pytest.raises(ConfigError, match="tried_stops"):
        TrainingSettings(tried_stops=0)
    assert TrainingSettings(steps=3).total_steps == 3
    assert TrainingSettings(steps=3, tried_stops=3).total_steps == 6
    one = TrainingSettings(steps=3, learning_rates=(0.3,))  # there is nothing to choose: one fit, at this rate
    assert (one.total_steps, one.initial_rate, one.without_choices().learning_rate) == (3, 0.3, 0.3)
    assert replace(one, learning_rates=(0.3, 0.1)).total_steps == 9
    assert replace(one, tried_stops=2).tried_rates == (0.3,)
    assert "training.held_out_fraction" not in idle_settings(TrainingSettings(tried_stops=2))


def test_the_best_held_out_point_is_taken_and_an_interrupted_choice_ends_alike(
    pool: Pool, target: Dataset, tmp_path: Path
) -> None:
    whole = tune(pool, target, tmp_path / "whole")
    kept, held = target.train.hold_out(0.34, seed=1)
    preprocessing = shown(target.train, 48)
    for name in ("a", "b"):
        assert set(whole.curves[name][0.2]) == {2, 4}
        curve = {stop: value or 0.0 for stop, value in whole.curves[name][0.2].items()}
        assert whole.stops[name] == max(curve, key=lambda stop: (curve[stop], -stop))
        assert whole.held_out[name] == {0.2: max(curve.values())}
    slowly = module_of(pool, replace(SETTINGS, tried_stops=1))
    slowly.stops = {"a": 2, "b": 4}
    fit(slowly, FitData(kept, preprocessing, SETTINGS), tmp_path / "slowly", Hardware("cpu"))
    for name, model in slowly.eval().models.items():
        found = mean_iou(confusion_matrices(model_predictor(model, SEGMENTATION), held, preprocessing)["prediction"])
        assert whole.curves[name][0.2][slowly.stops[name]] == pytest.approx(found, abs=1e-3), name

    with pytest.raises(InterruptedError):
        tune(pool, target, tmp_path / "stopped", Diary(stop_at=1))
    resumed = tune(pool, target, tmp_path / "stopped")
    assert (resumed.stops, resumed.curves) == (whole.stops, whole.curves)
    first, second = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_member_that_stops_keeps_the_average_it_had_then(pool: Pool, target: Dataset, tmp_path: Path) -> None:
    data = FitData(target.train, shown(target.train, 48), SETTINGS)
    diary, whole, stopped = Diary(), module_of(pool, SETTINGS), module_of(pool, SETTINGS)
    fit(whole, data, tmp_path / "whole", Hardware("cpu"), [diary])
    stopped.stops = {"a": 2, "b": 4}
    fit(stopped, data, tmp_path / "stopped", Hardware("cpu"))
    found, kept = stopped.state_dict(), averaging_decay(0.5, 1)
    for name, first in diary.weights[0].items():
        if name.startswith("members.0."):
            second = diary.weights[1][name]
            averaged = first * kept + second * (1 - kept) if first.is_floating_point() else second
            assert torch.allclose(found[name], averaged, atol=1e-6), name
        else:
            assert torch.allclose(found[name].float(), whole.state_dict()[name].float(), atol=1e-6), name
    stopped.stops = {"a": 2, "b": 2}
    assert stopped.last_step == 2
