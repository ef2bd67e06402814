"""Fits that are interrupted and taken up again, and checkpoints that must not be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from muster.callbacks.ensemble_selection import recorded_selection
from muster.data import VOID, Dataset, Split, channel_statistics
from muster.errors import ConfigError, SelectionError
from muster.models import Segmenter, build_model
from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.training.checkpoints import CHECKPOINT, keep_checkpoint_of
from muster.training.evaluation import model_predictor
from muster.training.fit_data import FitData, _ValidationShare
from muster.training.fitting import fit
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings
from tests.helpers import confusion_matrices, make_target, shown

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # it holds what is resumed
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),  # what is tested here
]

SETTINGS = TrainingSettings(steps=6, batch_size=2, crop_size=32, checkpoint_every=2, seed=1)


class Watch(pl.Callback):
    """Notes what each step saw, and breaks off before a step."""

    def __init__(self, stop: int | None) -> None:
        self.stop = stop
        self.seen: list[tuple[int, Tensor]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.stop:
            raise InterruptedError
        self.seen.append((trainer.global_step, batch[0].clone()))


def train(
    target: Dataset,
    folder: Path,
    stop: int | None = None,
    settings: TrainingSettings = SETTINGS,
    validation: Split | None = None,
    workers: int = 0,
) -> tuple[EnsembleTraining, Watch]:
    module = EnsembleTraining(settings, 3, ("a",), (build_model("small_fpn", 3, seed=0),))
    data = FitData(target.train, shown(target.train, 48), settings, workers, validation, 3)
    watch = Watch(stop)
    trainer = fit(module, data, folder, Hardware("cpu"), [watch])
    assert trainer.global_step == settings.steps
    return module, watch


def same_weights(first: EnsembleTraining, second: EnsembleTraining) -> bool:
    others = second.state_dict()
    return all(torch.equal(value, others[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("stop", [2, 4, 5])
@pytest.mark.parametrize("validated", [False, True])
def test_an_interrupted_fit_ends_like_one_that_was_not(
    target: Dataset, tmp_path: Path, stop: int, validated: bool
) -> None:
    validation = target.test if validated else None
    whole, expected = train(target, tmp_path / "whole", validation=validation)
    with pytest.raises(InterruptedError):
        train(target, tmp_path / "broken", stop, validation=validation)
    resumed, watch = train(target, tmp_path / "broken", validation=validation)
    first = stop - stop % SETTINGS.checkpoint_every
    assert [step for step, _ in watch.seen] == list(range(first, 6))
    for (_, images), (_, same) in zip(watch.seen, expected.seen[first:], strict=True):
        assert torch.equal(images, same)
    assert same_weights(whole, resumed)
    assert resumed.history == whole.history
    assert any("miou/a" in point for point in whole.history) == validated


def test_a_fit_that_was_done_is_not_done_again(target: Dataset, tmp_path: Path) -> None:
    done, _ = train(target, tmp_path)
    again, watch = train(target, tmp_path)
    assert watch.seen == []
    assert same_weights(done, again)
    assert again.history == done.history


def test_worker_processes_change_nothing(target: Dataset, tmp_path: Path) -> None:
    settings = TrainingSettings(steps=2, batch_size=2, crop_size=32)
    here, _ = train(target, tmp_path / "0", settings=settings)
    there, _ = train(target, tmp_path / "1", settings=settings, workers=1)
    assert same_weights(here, there)


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT | os.O_WRONLY)


def test_objects_in_a_checkpoint_are_refused_and_not_run(target: Dataset, tmp_path: Path) -> None:
    train(target, tmp_path)
    checkpoint, trace = tmp_path / CHECKPOINT, tmp_path / "trace"
    content = torch.load(checkpoint, weights_only=True)
    content["callbacks"]["more"] = Evil(trace)
    torch.save(content, checkpoint)
    with pytest.raises(ConfigError, match=r"last\.ckpt is no checkpoint of tensors and plain values.*Delete it"):
        train(target, tmp_path)
    with pytest.raises(SelectionError, match="Cannot resume"):
        recorded_selection(checkpoint, "EnsembleSelection")
    assert not trace.exists()
    torch.load(checkpoint, weights_only=False)
    assert trace.exists()  # so the file was indeed an evil one


def test_a_checkpoint_of_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    settings = {"learning_rate": 1e-05, "scale_range": [0.7, 1.5]}
    description = {"settings": settings, "images": ["größer", "02"], "n": None}
    folder = tmp_path / "work"
    keep_checkpoint_of(folder, description)
    checkpoint = folder / CHECKPOINT
    checkpoint.touch()
    keep_checkpoint_of(folder, description)
    assert checkpoint.exists()
    keep_checkpoint_of(folder, {**description, "n": 0})
    assert not checkpoint.exists()
    checkpoint.touch()
    keep_checkpoint_of(folder, {**description, "n": 0})
    assert checkpoint.exists()


def test_a_checkpoint_of_unknown_origin_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).touch()
    keep_checkpoint_of(tmp_path, {"seed": 0})
    assert not (tmp_path / CHECKPOINT).exists()


class Hungry(EnsembleTraining):
    """Asks for more memory than there is."""

    def training_step(self, batch: Any) -> Tensor:
        return torch.zeros(1 << 50, device=self.device)


def test_memory_that_runs_out_is_told_with_what_helps(target: Dataset, tmp_path: Path) -> None:
    module = Hungry(SETTINGS, 3, ("a",), (build_model("small_fpn", 3, seed=0),))
    data = FitData(target.train, shown(target.train, 48), SETTINGS)
    with pytest.raises(ConfigError, match=r"out of memory on cpu\. A smaller batch_size \(2 now\) or crop_size \(32"):
        fit(module, data, tmp_path, Hardware("cpu"))


@pytest.mark.parametrize(("images", "processes"), [(1, 2), (5, 2), (3, 4), (4, 4)])
def test_every_process_validates_as_many_items_and_together_each_image_once(
    target: Dataset, images: int, processes: int
) -> None:
    split = target.test.subset(1, 0) if images == 1 else target.train[:images]
    statistics = channel_statistics(target.train)
    shares = [_ValidationShare(split, shown(statistics, 48), rank, processes) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1
    labelled = [int((mask != VOID).sum()) for share in shares for _, mask in (share[i] for i in range(len(share)))]
    expected = [int((sample.mask != VOID).sum()) for sample in split]
    assert sorted(count for count in labelled if count) == sorted(count for count in expected if count)


def test_one_class_is_validated_like_any_other_number(tmp_path: Path) -> None:
    made_up = make_target(3, highest=0)
    spec = replace(made_up.train.spec, classes=("ground",))
    train_split, test_split = (replace(split, spec=spec) for split in (made_up.train, made_up.test))
    module = EnsembleTraining(SETTINGS, 1, ("a",), (build_model("small_fpn", 1, seed=0),))
    data = FitData(train_split, shown(train_split, 48), SETTINGS, 0, test_split, 3)
    fit(module, data, tmp_path, Hardware("cpu"))
    assert [point["miou/a"] for point in module.history if "miou/a" in point] == [1, 1]
    model = module.members[0].eval()
    assert isinstance(model, Segmenter)
    confusion = confusion_matrices(model_predictor(model, SEGMENTATION), test_split, data.preprocessing)["prediction"]
    assert confusion.shape == (1, 1)
    assert mean_iou(confusion) == 1
