"""A study of a tiny pool: the mIoU of every ensemble, against evaluating some of them from scratch (A22 section 4)."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from muster.data import Dataset, prepare_image
from muster.metrics import kendall, pearson, weighted_kendall
from muster.models import Segmenter
from muster.pool import Pool
from muster.selection import Selection
from muster.selection.run import select
from muster.study import finetuned_candidates
from muster.study.finetuned_candidates import RANDOM, SCRATCH, StudyResult, run_study
from muster.training.finetuning import WORK
from muster.training.hardware import Hardware
from muster.training.modules import EnsembleTraining
from muster.training.settings import TrainingSettings
from tests.helpers import make_pool, make_target, upsampled

SETTINGS = TrainingSettings(steps=3, batch_size=2, crop_size=32, seed=1)


@pytest.fixture(scope="module")
def target() -> Dataset:
    return make_target(5)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), 5)


@pytest.fixture(scope="module")
def selection(pool: Pool, target: Dataset) -> Selection:
    return select(pool, target, size=2, pixels_per_image=40, cache_gb=0.0, resamples=0)


class Study:
    """A study of all members, and the networks as they were when it evaluated them."""

    def __init__(self, folder: Path, pool: Pool, selection: Selection, target: Dataset) -> None:
        self.folder, made = folder, []
        original = finetuned_candidates._module

        def kept(*arguments: object) -> EnsembleTraining:
            made.append(original(*arguments))  # type: ignore[arg-type]
            return made[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finetuned_candidates, "_module", kept)
            self.result: StudyResult = run_study(
                selection, pool, target, SETTINGS, Hardware("cpu"), folder, "all", ("small_fpn",), seed=3
            )
        self.module: EnsembleTraining = made[0]
        self.table = pd.read_csv(folder / "ensembles.csv").set_index("members")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, pool: Pool, selection: Selection, target: Dataset) -> Study:
    with pytest.warns(UserWarning, match="is not empty"):  # the work folder holds what the checkpoint was made under
        return Study(tmp_path_factory.mktemp("study"), pool, selection, target)


def brute_force(module: EnsembleTraining, names: tuple[str, ...], target: Dataset, selection: Selection) -> float:
    """MIoU of the plain mean of some members, image by image and pixel by pixel from their whole maps."""
    classes = len(target.spec.classes)
    hits, union, occurs = np.zeros(classes), np.zeros(classes), np.zeros(classes, bool)
    for sample in target.test:
        image = prepare_image(sample.image, selection.preprocessing)[None]
        total = torch.zeros(classes, *sample.mask.shape)
        for name in names:
            model = module.members[module.names.index(name)]
            assert isinstance(model, Segmenter)
            with torch.no_grad():
                scores = model.eval()(image).softmax(dim=1)
            total += upsampled(scores, image.shape[2:], sample.mask.shape)[0]
        predicted, truth = total.argmax(dim=0).numpy(), sample.mask.numpy()
        for c in range(classes):
            here, said = truth == c, (predicted == c) & (truth != 255)
            hits[c] += (here & said).sum()
            union[c] += (here | said).sum()
            occurs[c] |= here.any()
    return float((hits[occurs] / union[occurs]).mean())


def test_ten_random_candidates_equal_evaluating_each_from_scratch(
    done: Study, selection: Selection, target: Dataset
) -> None:
    everything = list(combinations(selection.member_names, 2))
    assert [" ".join(names) for names in everything] == list(done.table.index)
    order = np.random.default_rng(0).permutation(len(everything))[:10]
    for names in (everything[place] for place in order):
        expected = brute_force(done.module, names, target, selection)
        assert done.table["finetuned_miou"][" ".join(names)] == float(f"{expected:.6g}"), (
            names
        )  # as the table is written
    for name, value in done.result.members.items():
        assert value == pytest.approx(brute_force(done.module, (name,), target, selection), abs=0)


def test_choices_are_read_from_the_table_and_correlated_with_it(done: Study, selection: Selection) -> None:
    result = done.result
    values = done.table["finetuned_miou"]
    assert set(result.choices) == {*selection.choices, RANDOM}
    for metric, chosen in result.choices.items():
        assert result.plain_means[metric] == pytest.approx(values[" ".join(chosen)], rel=1e-5)
        assert 0 <= result.learned_heads[metric] <= 1
    assert len(set(result.choices[RANDOM])) == 2
    assert result.miou_range == pytest.approx((values.min(), values.mean(), values.max()), rel=1e-5)
    assert (result.ensembles, len(result.members)) == (10, 6)
    assert SCRATCH + "small_fpn" in result.members
    for metric, told in result.correlations.items():
        pair = done.table[metric].to_numpy(), values.to_numpy()
        slowly = {"weighted_kendall": weighted_kendall(*pair), "kendall": kendall(*pair), "pearson": pearson(*pair)}
        assert told == pytest.approx(slowly, abs=1e-4)


def test_results_are_on_disk_and_work_is_gone(done: Study) -> None:
    assert sorted(path.name for path in done.folder.iterdir()) == ["ensembles.csv", "history.csv", "study.yaml"]
    content = yaml.safe_load((done.folder / "study.yaml").read_text("utf-8"))
    assert content["members"] == done.result.members
    assert not (done.folder / WORK).exists()
