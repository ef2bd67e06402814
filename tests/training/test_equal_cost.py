"""The single model of equal cost: what it spends the ensemble's time on is chosen as one would by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from muster.data import Dataset, ImageSize, Split, Views, view_for
from muster.models import SourceModel
from muster.pool import Pool
from muster.tasks.segmentation import mean_iou
from muster.training import equal_cost
from muster.training.affordable import TOLERANCE
from muster.training.clock import Clock
from muster.training.equal_cost import EqualCostModel, Rival, make_equal_cost
from muster.training.evaluation import SplitCounts, count_split
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import load_members
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import SpentOn
from muster.training.settings import TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import make_pool, shown, upsampled

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

SETTINGS = TrainingSettings(steps=2, batch_size=2, crop_size=32, held_out_fraction=0.34, seed=1, learning_rate=0.02)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 3)


@pytest.fixture(scope="module")
def data(target: Dataset) -> TargetData:
    return TargetData(target, target.train, shown(target.train, 64))


def make_rival(pool: Pool, data: TargetData, folder: Path, names: tuple[str, ...] = ("a", "b", "c")) -> Rival:
    """An ensemble as it comes from the pool: what it has learned does not matter here."""
    module = EnsembleTraining(SETTINGS, 3)
    module.set_members(names, load_members(pool, names))
    module.eval()
    ensemble = Ensemble(names, list(module.models.values()), data.dataset.spec.classes, data.preprocessing)
    load = pool["b"].load_model
    return Rival("b", "leep", load, module, ensemble, data, folder, Hardware("cpu"), lambda step, loss: None, {})


@dataclass
class Made:
    rival: Rival
    single: EqualCostModel


@pytest.fixture(scope="module")
def made(pool: Pool, data: TargetData, tmp_path_factory: pytest.TempPathFactory) -> Made:
    rival = make_rival(pool, data, tmp_path_factory.mktemp("equal"))
    single = make_equal_cost(rival)
    assert single is not None
    return Made(rival, single)


def slowly_seen(model: SourceModel, images: Tensor, option: SpentOn, size: tuple[int, int]) -> Tensor:
    """Each view by itself, as the description has it."""
    views = []
    for scale in option.scales:
        rows, columns = (max(1, round(side * scale)) for side in images.shape[-2:])
        scaled = interpolate(images, size=(rows, columns), mode="bilinear", antialias=True)
        views.append(upsampled(model.predict(scaled), (rows, columns), size).float())
        if option.flip:
            mirrored = upsampled(model.predict(torch.flip(scaled, [3])), (rows, columns), size).float()
            views.append(torch.flip(mirrored, [3]))
    return torch.stack(views).mean(dim=0)


def by_hand(pool: Pool, data: TargetData, images: Split, option: SpentOn, steps: int, folder: Path) -> SourceModel:
    settings, resized = (
        replace(SETTINGS, steps=steps),
        replace(data.preprocessing, size=ImageSize.of(option.image_size)),
    )
    alone = EnsembleTraining(settings, 3)
    alone.set_members(("b",), load_members(pool, ("b",)))
    fit(alone, FitData(images, resized, settings), folder, Hardware("cpu"))
    return alone.models["b"].eval()


def counted(model: SourceModel, data: TargetData, split: Split, option: SpentOn) -> SplitCounts:
    def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
        return {"one": slowly_seen(model, view_for(images, None), option, size).argmax(dim=1)}

    return count_split(predict, split, replace(data.preprocessing, size=ImageSize.of(option.image_size)))["one"]


def test_what_is_best_on_held_out_images_is_chosen(made: Made, pool: Pool, data: TargetData, tmp_path: Path) -> None:
    record = made.single.made
    kept, held = data.train.hold_out(0.34, seed=1)
    found = []
    for option in record.options:
        place = tmp_path / f"{option.image_size}"
        model = by_hand(pool, data, kept, option, 2, place)
        found.append(mean_iou(counted(model, data, held, option).confusion))
    assert [option.result for option in record.options] == pytest.approx(found, abs=0.01)
    reached = [option.result or 0.0 for option in record.options]
    assert record.chosen == reached.index(max(reached))
    assert record.spent_on == record.options[record.chosen]
    assert (record.trial_steps, record.train_images, record.held_out_images) == (2, 4, 2)


def test_it_takes_the_steps_of_all_members_on_all_images(
    made: Made, pool: Pool, data: TargetData, tmp_path: Path
) -> None:
    assert made.single.made.steps == 6
    expected = by_hand(pool, data, data.train, made.single.made.spent_on, 6, tmp_path)
    for name, value in made.single.ensemble.members[0].state_dict().items():
        assert torch.allclose(value.float(), expected.state_dict()[name].float(), rtol=1e-5, atol=1e-6), name
    counts = counted(expected, data, data.dataset.test, made.single.made.spent_on)
    assert (made.single.counts.confusion - counts.confusion).abs().sum() <= 2  # a pixel at a tie may fall either way


def test_whatever_is_tried_takes_no_longer_than_the_ensemble(made: Made) -> None:
    record = made.single.made
    first, *_ = record.options
    assert (first.image_size, first.scales, first.flip) == (64, (1.0,), False)
    assert all(option.seconds_per_image <= TOLERANCE * record.budget for option in record.options[1:])
    assert len({(option.image_size, option.scales, option.flip) for option in record.options}) == len(record.options)
    assert sum(option.image_size != 64 for option in record.options) <= 1


def stop(clock: Clock, trainer: pl.Trainer, *_: object) -> None:
    """Break off the last fit in the middle."""
    if trainer.max_steps == 6 and trainer.global_step == 3:
        raise InterruptedError


def test_an_interrupted_one_goes_on_without_measuring_again(
    made: Made, pool: Pool, data: TargetData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "on_train_batch_start", stop)
        with pytest.raises(InterruptedError):
            make_equal_cost(make_rival(pool, data, tmp_path))
    monkeypatch.setattr(equal_cost, "affordable", None)  # would fail if it were called
    resumed = make_equal_cost(make_rival(pool, data, tmp_path))
    assert resumed is not None
    same_spending = replace(resumed.made.spent_on, seconds_per_image=0.0, result=None) == replace(
        made.single.made.spent_on, seconds_per_image=0.0, result=None
    )
    if same_spending:  # another measurement may allow something else
        assert torch.equal(resumed.counts.confusion, made.single.counts.confusion)


def test_an_ensemble_of_one_has_none_and_a_single_training_image_is_told(
    pool: Pool, data: TargetData, tmp_path: Path
) -> None:
    assert make_equal_cost(make_rival(pool, data, tmp_path, names=("b",))) is None
    few = replace(data, train=data.train[:1])
    with pytest.warns(UserWarning, match=r"\(b\) is left out: of a single training image none can be held out"):
        assert make_equal_cost(make_rival(pool, few, tmp_path)) is None
