"""Fine-tuning a selection on a tiny pool, from the target to the results on disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor

import muster
from muster.data import ChannelStatistics, Dataset
from muster.errors import ConfigError, SelectionError
from muster.models import Segmenter
from muster.pool import Pool, software_versions
from muster.records import parse_record
from muster.report.finetuned_images import finetuned_images
from muster.selection import Selection
from muster.selection.run import select
from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.training.checkpoints import CHECKPOINT
from muster.training.clock import Clock
from muster.training.evaluation import model_predictor
from muster.training.finetuned_ensemble import Ensemble
from muster.training.finetuning import (
    build_ensemble,
    evaluate,
    fit_members,
    forget_checkpoint,
    load_members,
    with_baseline,
)
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, FinetuneResult
from muster.training.run_files import CONFUSION, ENSEMBLE, HISTORY, RESULT, WORK
from muster.training.settings import TrainingSettings
from muster.training.summary import summarise, write_results
from muster.training.target_data import TargetData, target_data
from tests.helpers import confusion_matrices, make_pool, shown

SETTINGS = TrainingSettings(steps=4, batch_size=2, crop_size=32, seed=1, checkpoint_every=2)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 4)


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    """A pair, and a single best that is not in it."""
    chosen = select(pool, target, size=2, pixels_per_image=40, cache_gb=0.0)
    outside = next(member.name for member in pool if member.name not in chosen.members)
    return replace(chosen, single_best=outside)


class Run:
    """What a run makes, step by step."""

    def __init__(self, folder: Path, pool: Pool, selection: Selection, target: Dataset, hardware: Hardware) -> None:
        self.folder, self.hardware = folder, hardware
        self.target = target_data(selection, target)
        self.module = EnsembleTraining(SETTINGS, target.spec.num_classes)
        names = with_baseline(selection)
        self.module.set_members(names, load_members(pool, names))
        assert fit_members(self.module, self.target, folder, hardware)
        self.checkpointed = (folder / WORK / CHECKPOINT).is_file()
        self.ensemble = build_ensemble(self.module, selection.members, self.target, hardware)
        self.counts = evaluate(self.module, self.ensemble, self.target, hardware)
        scores = {"soft_iou_eep": selection.score}
        self.result: FinetuneResult = summarise(
            selection, scores, self.module, self.ensemble, self.counts, self.target, hardware, 1.26, [2]
        )
        write_results(folder, self.result, self.module, self.ensemble)


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, pool: Pool, selection: Selection, target: Dataset, hardware: Hardware
) -> Run:
    with pytest.warns(UserWarning, match="is not empty"):  # the work folder holds what the checkpoint was made under
        return Run(tmp_path_factory.mktemp("run"), pool, selection, target, hardware)


class TestTarget:
    def test_is_what_the_selection_saw(self, selection: Selection, target: Dataset) -> None:
        some = replace(selection, train_images=("03", "01"), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), image_size=32)
        data = target_data(some, target)
        assert [sample.identifier for sample in data.train] == ["03", "01"]
        assert data.preprocessing == shown(ChannelStatistics((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)), 32)
        assert data.dataset == target

    def test_other_classes_are_refused(self, selection: Selection, target: Dataset) -> None:
        other = replace(selection, classes=("ground", "sky", "wall"))
        with pytest.raises(
            SelectionError, match=r"for classes ground, sky, wall, but .*'tiny'.* has ground, wall, sky"
        ):
            target_data(other, target)

    def test_images_that_are_gone_are_named(self, selection: Selection, target: Dataset) -> None:
        other = replace(selection, train_images=("00", "98", "97"))
        with pytest.raises(SelectionError, match=r"^2 training images .*no longer in dataset 'tiny'.*e\.g\. 97"):
            target_data(other, target)


def test_the_baseline_is_fine_tuned_with_the_members(selection: Selection) -> None:
    assert with_baseline(selection) == tuple(sorted([*selection.members, selection.single_best]))
    assert with_baseline(replace(selection, single_best=selection.members[1])) == selection.members


class TestRun:
    def test_result_says_what_was_reached(self, run: Run, selection: Selection) -> None:
        result = run.result
        names = [*with_baseline(selection), PLAIN_MEAN, LEARNED_HEAD]
        assert list(result.results) == list(result.class_ious) == names
        assert selection.single_best not in result.members
        assert selection.single_best in result.results
        assert all(0 <= value <= 1 for value in result.results.values())
        for name in names:
            known = [value for value in result.class_ious[name] if value is not None]
            assert result.results[name] == pytest.approx(sum(known) / len(known))
        assert (result.train_images, result.test_images, result.steps, result.seconds) == (6, 2, 4, 1.3)
        assert result.predicted == {"soft_iou_eep": selection.score}

    def test_result_says_how_it_came_about(self, run: Run) -> None:
        result = run.result
        assert (result.batch_size, result.schedule, result.seed) == (2, "step", 1)
        assert result.learning_rates == dict.fromkeys(result.costs.keys() - {LEARNED_HEAD, PLAIN_MEAN}, 0.05)
        assert (result.image_size, result.precision) == (run.target.preprocessing.known_size.longer, "32-true")
        assert result.versions == software_versions()
        assert result.device.startswith("cpu (")
        assert datetime.now(UTC) - datetime.fromisoformat(result.date) < timedelta(minutes=10)
        assert result.resumed_at_steps == (2,)

    def test_every_miou_has_its_interval_and_its_cost(self, run: Run, selection: Selection) -> None:
        result = run.result
        assert list(result.result_intervals) == list(result.results)
        assert set(result.costs) == set(result.results)
        for name, (low, high) in result.result_intervals.items():
            assert 0 <= low <= high <= 1, name
        members = {name: result.costs[name] for name in run.module.names}
        for name, model in zip(run.module.names, run.module.members, strict=True):
            assert members[name].parameters == sum(values.numel() for values in model.parameters())
            assert members[name].models == 1
            assert members[name].seconds_per_image > 0
        mean, head = result.costs[PLAIN_MEAN], result.costs[LEARNED_HEAD]
        assert mean.models == head.models == 2
        assert mean.parameters == sum(members[name].parameters for name in selection.members)
        assert head.parameters == mean.parameters + 2 * 2 * 3
        assert head.seconds_per_image == sum(members[name].seconds_per_image for name in selection.members)
        assert "forward passes of one image of" in result.cost_measured

    def test_differences_are_to_the_baseline(self, run: Run, selection: Selection) -> None:
        result = run.result
        best = selection.single_best
        assert set(result.differences_to_single_best) == set(result.results) - {best}
        for name, difference in result.differences_to_single_best.items():
            assert difference.result == pytest.approx(result.results[name] - result.results[best])
            assert difference.low is not None
            assert difference.high is not None

    def test_a_record_reads_back_and_so_does_one_from_before(self, run: Run) -> None:
        content = yaml.safe_load((run.folder / RESULT).read_text("utf-8"))
        again = parse_record(content, FinetuneResult, RESULT, ConfigError)
        assert again == replace(run.result, losses={}, confusion=())
        new = {"learning_rates", "batch_size", "schedule", "image_size", "precision", "device", "date", "versions"}
        new |= {"resumed_at_steps", "costs", "cost_measured", "result_intervals", "differences_to_single_best"}
        new |= {"interval_level", "resamples"}
        assert new <= set(content)
        old = {key: value for key, value in content.items() if key not in new}
        assert parse_record(old, FinetuneResult, RESULT, ConfigError).results == run.result.results
        older = {"mious" if key == "results" else key: value for key, value in old.items()}
        assert parse_record(older, FinetuneResult, RESULT, ConfigError).results == run.result.results

    def test_class_pixels_are_those_of_the_ground_truth(self, run: Run, target: Dataset) -> None:
        counts = torch.stack([torch.bincount(sample.mask.flatten(), minlength=256) for sample in target.test]).sum(0)
        assert list(run.result.class_pixels) == counts[:3].tolist()

    def test_members_were_trained_and_say_how(self, run: Run, pool: Pool, selection: Selection) -> None:
        assert run.checkpointed
        assert list(run.result.losses) == list(with_baseline(selection))
        for name, member in zip(run.module.names, run.module.members, strict=True):
            assert [step for step, _ in run.result.losses[name]] == [0, 3]
            source = pool[name].load_model().get_parameter("body.stem.0.weight")
            assert not torch.equal(member.get_parameter("body.stem.0.weight"), source)

    def test_head_was_learned_and_is_told(self, run: Run, selection: Selection) -> None:
        weights, biases = (run.result.head_weights, run.result.head_biases)
        assert list(weights) == list(biases) == list(selection.members)
        learned = run.ensemble.head
        assert [weights[name] for name in selection.members] == learned.weights.tolist()
        assert [biases[name] for name in selection.members] == learned.biases.tolist()
        assert not torch.equal(learned.weights, torch.ones(2, 3))

    def test_one_pass_counts_like_one_pass_each(self, run: Run) -> None:
        test, data = run.target.dataset.test, run.target

        def slowly(predict: muster.training.evaluation.Predictor) -> Tensor:
            return confusion_matrices(predict, test, data.preprocessing)["prediction"]

        def combined(ensemble: Ensemble) -> Tensor:
            return slowly(lambda images, size: {"prediction": ensemble(images, size).argmax(dim=1)})

        expected = {}
        for name, member in zip(run.module.names, run.module.members, strict=True):
            assert isinstance(member, Segmenter)
            expected[name] = slowly(model_predictor(member, SEGMENTATION))
        expected[LEARNED_HEAD] = combined(run.ensemble)
        plain = Ensemble(
            run.ensemble.names,
            [member for member in run.ensemble.members if isinstance(member, Segmenter)],
            run.ensemble.classes,
            data.preprocessing,
        )
        expected[PLAIN_MEAN] = combined(plain)
        assert expected.keys() == run.counts.keys()
        for name, counts in run.counts.items():
            assert (counts.confusion - expected[name]).abs().sum() <= 2, name  # a pixel at a tie may fall either way
            assert run.result.results[name] == mean_iou(counts.confusion)

    def test_results_are_on_disk_and_work_is_gone(self, run: Run, target: Dataset) -> None:
        assert sorted(path.name for path in run.folder.iterdir()) == sorted(
            [CONFUSION, ENSEMBLE, HISTORY, RESULT, WORK]
        )
        forget_checkpoint(run.folder)
        assert not (run.folder / WORK).exists()
        table = pd.read_csv(run.folder / CONFUSION)
        assert table.columns.tolist() == ["truth", *run.result.classes]
        assert table["truth"].tolist() == list(run.result.classes)
        assert table.drop(columns="truth").to_numpy().tolist() == run.counts[LEARNED_HEAD].confusion.tolist()
        content = yaml.safe_load((run.folder / RESULT).read_text("utf-8"))
        assert content["results"] == run.result.results
        assert content["members"] == list(run.result.members)
        assert pd.read_csv(run.folder / HISTORY)["step"].tolist() == [0, 3]
        image = target.test[0].image
        assert torch.equal(muster.load_ensemble(run.folder).predict(image), run.ensemble.predict(image))

    def test_images_show_members_and_ensemble(self, run: Run) -> None:
        report_images = finetuned_images(run.ensemble, run.target, 2)
        assert len(report_images) == 2
        for report_image in report_images:
            assert set(run.ensemble.names) <= set(report_image.predictions)
            assert all(labels.shape == report_image.truth.shape for labels in report_image.predictions.values())
            known = report_image.confidence[report_image.truth != 255]
            assert ((known >= 0) & (known <= 1 + 1e-6)).all()


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_checkpoint_of_another_run_is_not_taken_up(
    tmp_path: Path, pool: Pool, target: Dataset, selection: Selection, hardware: Hardware
) -> None:
    data: TargetData = target_data(selection, target)

    def tune(learning_rate: float, folder: str, **depends_on: object) -> list[tuple[int, float]]:
        module = EnsembleTraining(replace(SETTINGS, learning_rate=learning_rate), 3)
        module.set_members(("a",), load_members(pool, ("a",)))
        fit_members(module, data, tmp_path / folder, hardware, depends_on=depends_on)
        return module.losses("a")

    fresh = tune(0.01, "fresh")
    tune(0.2, "used")
    assert tune(0.01, "used") == fresh
    checkpoint = tmp_path / "used" / WORK / CHECKPOINT
    before = checkpoint.stat().st_mtime_ns
    tune(0.01, "used")
    assert checkpoint.stat().st_mtime_ns == before  # the same run: done, nothing left to do
    tune(0.01, "used", pool="another")
    assert checkpoint.stat().st_mtime_ns > before


class _Break(pl.Callback):
    """Ends a fit before a step."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            raise InterruptedError


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
def test_every_interruption_is_remembered(
    tmp_path: Path, pool: Pool, target: Dataset, selection: Selection, hardware: Hardware
) -> None:
    data = target_data(selection, target)

    def tune(stop: int | None) -> tuple[int, ...]:
        module = EnsembleTraining(replace(SETTINGS, steps=6), 3)
        module.set_members(("a",), load_members(pool, ("a",)))
        clock = Clock(lambda step, loss: None)
        fit_members(module, data, tmp_path, hardware, [clock, _Break(stop)])
        return clock.resumed_at_steps

    for stop in (3, 5):
        with pytest.raises(InterruptedError):
            tune(stop)
    assert tune(None) == (2, 4)
    assert tune(None) == (2, 4)  # it was done: nothing went on
