"""The ensemble head as a module that is fine-tuned on whole images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from muster.data import VOID, Dataset, prepare_image
from muster.models import Segmenter, build_model
from muster.training.checkpoints import CHECKPOINT
from muster.training.finetuned_ensemble import Ensemble
from muster.training.hardware import Hardware
from muster.training.head_training import CURVE, HeadTraining, fit_head, head_loss
from muster.training.modules import TrainingDivergedError
from muster.training.settings import HeadSettings
from tests.helpers import make_target, shown

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

SETTINGS = HeadSettings(optimizer="sgd", steps=20, batch_size=3, learning_rate=0.05, penalty=0.0)


def make_ensemble(target: Dataset) -> Ensemble:
    members = [build_model("small_fpn", 3, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        for member in members:
            member.head.weight *= 20
    return Ensemble(["a", "b"], members, target.spec.classes, shown(target.train, 48)).eval()


def whole_loss(ensemble: Ensemble, target: Dataset) -> float:
    """Over all labelled pixels of all images, from the whole maps that the ensemble predicts."""
    losses = []
    for sample in target.train:
        image = prepare_image(sample.image, ensemble.preprocessing)[None]
        whole = ensemble(image, (sample.mask.shape[0], sample.mask.shape[1]))[0]
        rows, columns = torch.nonzero(sample.mask != VOID, as_tuple=True)
        losses.append(-whole[sample.mask[rows, columns].long(), rows, columns].log())
    return float(torch.cat(losses).mean())


def learn(target: Dataset, folder: Path, settings: HeadSettings = SETTINGS) -> tuple[Ensemble, list[dict[str, float]]]:
    ensemble = make_ensemble(target)
    return ensemble, fit_head(ensemble, target.train, settings, 0, folder, Hardware("cpu"), steps_before=100)


def test_learns_on_all_labelled_pixels_and_leaves_the_members(target: Dataset, tmp_path: Path) -> None:
    ensemble, curve = learn(target, tmp_path)
    fresh = make_ensemble(target)
    assert whole_loss(ensemble, target) < whole_loss(fresh, target) - 0.01
    for name, value in ensemble.members.state_dict().items():
        assert torch.equal(value, fresh.members.state_dict()[name]), name
    assert [point["step"] for point in curve] == [100, 110, 119]
    assert all(point[CURVE] > 0 for point in curve)
    assert not ensemble.training


def test_the_loss_of_an_image_is_that_of_the_whole_map(target: Dataset) -> None:
    ensemble = make_ensemble(target)
    with torch.no_grad():
        ensemble.head.weights += torch.linspace(-0.3, 0.3, 6).view(2, 3)
    total, labelled = 0.0, 0
    for sample in target.train:
        image = prepare_image(sample.image, ensemble.preprocessing)[None]
        total += float(head_loss(ensemble.task, ensemble.head, ensemble.member_maps(image), sample.mask).detach())
        labelled += int((sample.mask != VOID).sum())
    assert total / labelled == pytest.approx(whole_loss(ensemble, target), rel=1e-5)


def test_a_checkpoint_holds_the_head_only_and_is_taken_up(
    target: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, curve = learn(target, tmp_path / "whole")
    run, steps = HeadTraining.training_step, []

    def broken(self: HeadTraining, batch: Any) -> Tensor:
        steps.append(self.global_step)
        if self.global_step == 15 and steps.count(15) == 1:
            raise InterruptedError
        return run(self, batch)

    monkeypatch.setattr(HeadTraining, "training_step", broken)
    with pytest.raises(InterruptedError):
        learn(target, tmp_path / "broken")
    content = torch.load(tmp_path / "broken" / CHECKPOINT, weights_only=True)
    assert sorted(content["state_dict"]) == ["head.biases", "head.weights"]
    resumed, again = learn(target, tmp_path / "broken")
    assert steps == [*range(16), *range(14, 20)]
    assert torch.equal(resumed.head.weights, whole.head.weights)
    assert torch.equal(resumed.head.biases, whole.head.biases)
    assert again == curve


@pytest.mark.parametrize("change", [{"penalty": 1.0}, {"schedule": "poly"}, {"batch_size": 2}])
def test_other_settings_do_not_take_up_the_checkpoint(target: Dataset, tmp_path: Path, change: dict[str, Any]) -> None:
    first, _ = learn(target, tmp_path)
    changed, _ = learn(target, tmp_path, HeadSettings(**{**vars(SETTINGS), **change}))
    assert not torch.equal(first.head.weights, changed.head.weights)


def test_stays_the_plain_mean_if_there_is_no_label(tmp_path: Path) -> None:
    ensemble, _ = learn(make_target(2, void=("00", "01")), tmp_path)
    assert torch.equal(ensemble.head.weights, torch.ones(2, 3))
    assert torch.equal(ensemble.head.biases, torch.zeros(2, 3))


def test_a_loss_that_is_not_finite_ends_it(target: Dataset, tmp_path: Path) -> None:
    ensemble = make_ensemble(target)
    (first, _) = ensemble.members
    assert isinstance(first, Segmenter)
    with torch.no_grad():
        first.head.bias.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(TrainingDivergedError, match=r"loss of the ensemble head is nan .*smaller head\.learning_rate"):
        fit_head(ensemble, target.train, SETTINGS, 0, tmp_path, Hardware("cpu"))
    assert not (tmp_path / CHECKPOINT).exists()
