"""Successive halving among the metric's leading candidates, compared with one fit after the other by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from muster.data import Dataset, Views, view_for
from muster.errors import ConfigError, SelectionError
from muster.pool import Pool
from muster.selection.candidates import Candidate, choosing, leading_candidates, members_of, scores_of
from muster.tasks.segmentation import mean_iou
from muster.training.confirmation import Trial, confirm, total_round_steps
from muster.training.finetuning import load_members
from muster.training.fit_data import FitData
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining, TrainingDivergedError
from muster.training.results import Confirmation
from muster.training.settings import ComparisonSettings, TrainingSettings
from muster.training.target_data import TargetData
from tests.helpers import confusion_matrices, make_pool, shown, upsampled
from tests.report.made_up import make_selection

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

SETTINGS = TrainingSettings(
    steps=20, batch_size=2, crop_size=32, held_out_fraction=0.4, checkpoint_every=100, seed=1, learning_rate=0.02
)
CANDIDATES: tuple[Candidate, ...] = (("a", "b"), ("a", "c"), ("b", "c"), ("c", "d"))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 4)


@pytest.fixture(scope="module")
def data(target: Dataset) -> TargetData:
    return TargetData(target, target.train, shown(target.train, 48))


class Passes(pl.Callback):
    """Counts the training passes of every member; may break off before a step."""

    def __init__(self, break_before: int = -1) -> None:
        self.break_before, self.first_steps = break_before, list[int]()
        self.counted = Counter[str]()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.first_steps.append(trainer.global_step)
        self.hooks = [
            model.register_forward_hook(lambda *_, name=name: self.counted.update([name]))
            for name, model in pl_module.models.items()
        ]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for hook in self.hooks:
            hook.remove()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.break_before:
            raise InterruptedError


def try_them(
    pool: Pool,
    data: TargetData,
    folder: Path,
    *callbacks: pl.Callback,
    candidates: tuple[Candidate, ...] = CANDIDATES,
    settings: TrainingSettings = SETTINGS,
    spoilt: str = "",
) -> Confirmation:
    module = EnsembleTraining(settings, 3, trial=True)
    names = members_of(candidates)
    module.set_members(names, load_members(pool, names))
    if spoilt:
        torch.nn.init.constant_(module.models[spoilt].head.weight, torch.nan)
    told = list[int]()
    trial = Trial(
        module, lambda: candidates, data, folder, Hardware("cpu"), callbacks, lambda step, loss: told.append(step), {}
    )
    return confirm(trial)


@pytest.fixture(scope="module")
def whole(pool: Pool, data: TargetData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Confirmation, Passes]:
    passes = Passes()
    return try_them(pool, data, tmp_path_factory.mktemp("whole"), passes), passes


def by_hand(pool: Pool, data: TargetData, folder: Path, steps: int) -> dict[Candidate, float]:
    """Held-out mIoU of every candidate, each member fine-tuned alone from the beginning."""
    kept, held = data.train.hold_out(0.4, seed=1)
    models = {}
    for name in "abcd":
        alone = EnsembleTraining(SETTINGS, 3)
        alone.set_members((name,), load_members(pool, (name,)))
        fit(alone, FitData(kept, data.preprocessing, SETTINGS), folder / name, Hardware("cpu"), until=steps)
        models[name] = alone.models[name].eval()

    def mean_of(candidate: Candidate) -> float:
        def predict(images: Views, size: tuple[int, int]) -> dict[str, Tensor]:
            first, second = (
                upsampled(models[name].predict(seen := view_for(images, None)), seen.shape[2:], size).float()
                for name in candidate
            )
            return {"mean": ((first + second) / 2).argmax(dim=1)}

        return mean_iou(confusion_matrices(predict, held, data.preprocessing)["mean"])

    return {candidate: mean_of(candidate) for candidate in CANDIDATES}


def test_the_better_half_goes_on_and_the_best_on_held_out_images_is_left(
    whole: tuple[Confirmation, Passes], pool: Pool, data: TargetData, tmp_path: Path
) -> None:
    confirmation, _ = whole
    first, second = by_hand(pool, data, tmp_path / "two", 2), by_hand(pool, data, tmp_path / "four", 4)
    better = sorted(CANDIDATES, key=lambda candidate: -first[candidate])[:2]
    best = max(better, key=lambda candidate: second[candidate])
    assert [each.steps for each in confirmation.rounds] == [2, 4]
    assert confirmation.rounds[0].candidates == CANDIDATES
    assert confirmation.rounds[0].results == pytest.approx(tuple(first.values()), abs=1e-6)
    assert confirmation.rounds[1].candidates == tuple(sorted(better))
    assert confirmation.rounds[1].results == pytest.approx([second[each] for each in sorted(better)], abs=1e-6)
    assert (confirmation.by_metric, confirmation.chosen) == (("a", "b"), best)
    assert (confirmation.train_images, confirmation.held_out_images) == (4, 2)
    assert confirmation.seconds > 0


def test_a_member_is_trained_once_and_no_longer_than_a_candidate_needs_it(
    whole: tuple[Confirmation, Passes],
) -> None:
    confirmation, passes = whole
    stay = members_of(confirmation.rounds[1].candidates)
    assert passes.counted == {name: 4 if name in stay else 2 for name in "abcd"}
    assert passes.first_steps == [0, 2]


@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupted_confirmation_ends_like_one_that_was_not(
    step: int, whole: tuple[Confirmation, Passes], pool: Pool, data: TargetData, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedError):
        try_them(pool, data, tmp_path, Passes(break_before=step))
    passes = Passes()
    again = try_them(pool, data, tmp_path, passes)
    assert passes.first_steps[0] == (0 if step < 2 else 2)  # the end of a round is always kept
    assert again.seconds > 0
    assert replace(again, seconds=0.0) == replace(whole[0], seconds=0.0)
    third = Passes()
    assert try_them(pool, data, tmp_path, third) == again  # all rounds are read again
    assert third.first_steps == []


def test_what_another_confirmation_left_is_not_taken_up(
    whole: tuple[Confirmation, Passes], pool: Pool, data: TargetData, tmp_path: Path
) -> None:
    first = try_them(pool, data, tmp_path, settings=replace(SETTINGS, learning_rate=0.001))
    assert first.rounds[0].results != whole[0].rounds[0].results
    again = try_them(pool, data, tmp_path)
    assert replace(again, seconds=0.0) == replace(whole[0], seconds=0.0)


@pytest.mark.filterwarnings("ignore:.*Found .* module.s. in eval mode")
def test_a_candidate_with_a_diverged_member_comes_last(pool: Pool, data: TargetData, tmp_path: Path) -> None:
    confirmation = try_them(pool, data, tmp_path / "one", spoilt="a", candidates=CANDIDATES[:3])
    assert confirmation.rounds[0].results[:2] == (None, None)
    assert confirmation.chosen == ("b", "c")
    with pytest.raises(TrainingDivergedError, match="Each of the 2 candidates to confirm has a member that diverged"):
        try_them(pool, data, tmp_path / "all", spoilt="a", candidates=CANDIDATES[:2])


def test_rounds_stop_at_all_the_steps() -> None:
    assert [total_round_steps(1, count) for count in (2, 4, 16)] == [1, 1, 1]
    assert [total_round_steps(100, count) for count in (2, 3, 4, 5, 16, 64)] == [10, 10, 20, 20, 80, 100]


def test_of_several_rates_the_middle_one_is_used() -> None:
    assert SETTINGS.without_choices() == SETTINGS
    several = replace(SETTINGS, learning_rates=(0.3, 0.01, 0.1, 0.03))
    assert several.without_choices() == replace(SETTINGS, learning_rate=0.03)


def test_one_candidate_alone_cannot_be_compared() -> None:
    assert not ComparisonSettings(equal_cost=False).holds_out
    assert ComparisonSettings(confirm=2, equal_cost=False).holds_out
    with pytest.raises(ConfigError, match="confirm: expected 0, or at least 2 candidates"):
        ComparisonSettings(confirm=1)


def test_another_candidate_becomes_the_choice_of_a_selection() -> None:
    selection = make_selection()
    first, second, *_ = leading_candidates(selection, 3)
    assert first == selection.members
    assert scores_of(selection, first)[selection.metric] == selection.score
    assert choosing(selection, first) is selection
    other = choosing(selection, second)
    assert (other.members, other.score) == (second, scores_of(selection, second)[selection.metric])
    assert other.margin is None
    assert set(other.class_ious) == {None}
    with pytest.raises(SelectionError, match="delta, z: no candidate of the ranking has these members"):
        choosing(selection, ("delta", "z"))
