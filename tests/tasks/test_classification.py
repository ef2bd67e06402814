"""The task of classifying whole images: its results, and which images are chosen to look at."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from muster.data import DatasetSpec, Sample, Split
from muster.errors import ConfigError
from muster.models import build_model
from muster.models.pooled import Pooled
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.segmentation import SEGMENTATION
from muster.tasks.tallied_metric import TalliedMetric
from muster.tasks.task import TASKS, task_of

DECIDED, TRUTH = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([0, 1, 2, 2, 2])


def split_of(classes: list[int], count: int = 3) -> Split:
    """Images that are their class."""
    spec = DatasetSpec("made up", "none", tuple(map(str, range(count))), task="classification")

    def read(identifier: str) -> Sample:
        return Sample(identifier, torch.zeros(3, 4, 4, dtype=torch.uint8), torch.tensor([[classes[int(identifier)]]]))

    return Split(spec, "train", tuple(f"{place:03}" for place in range(len(classes))), read)


def chosen_classes(split: Split) -> Counter[int]:
    return Counter(int(sample.mask) for sample in split)


def test_a_dataset_says_which_task_it_is_for() -> None:
    assert task_of(split_of([0]).spec) is CLASSIFICATION
    assert task_of(DatasetSpec("masks", "none", ("a", "b"))) is SEGMENTATION
    assert {"classification", "segmentation", "multilabel"} <= set(TASKS.names())
    with pytest.raises(ConfigError, match="Did you mean 'classification'"):
        task_of(DatasetSpec("odd", "none", ("a", "b"), task="clasification"))


def test_results_are_those_of_counting_by_hand() -> None:
    tally = CLASSIFICATION.tally(DECIDED[:, None, None], TRUTH[:, None, None], 3)
    assert tally.shape == (5, 3, 3)
    total = tally.sum(dim=0)
    assert total.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert CLASSIFICATION.result_of(total) == pytest.approx(3 / 5)
    assert CLASSIFICATION.class_results_of(total) == pytest.approx((1, 1, 1 / 3))
    assert CLASSIFICATION.constant_guess(torch.tensor([4, 9, 2]), total) == pytest.approx(1 / 5)  # always class 1
    drawn = CLASSIFICATION.digest(tally)[[2, 2, 0]].sum(dim=0)
    assert CLASSIFICATION.results(drawn).item() == pytest.approx(1 / 3)


def test_a_class_beyond_255_is_a_class_like_any_other() -> None:
    truth, decided = torch.tensor([[[255]], [[300]]]), torch.tensor([[[255]], [[255]]])
    total = CLASSIFICATION.tally(decided, truth, 301).sum(dim=0)
    assert (total[255, 255], total[300, 255], total.sum()) == (1, 1, 2)
    scores = torch.zeros(2, 301, 1, 1)
    scores[:, 255] = 9.0
    expected = torch.nn.functional.cross_entropy(scores[:, :, 0, 0], truth[:, 0, 0])
    assert CLASSIFICATION.loss(scores, truth).item() == pytest.approx(expected.item(), rel=1e-6)


def test_nothing_to_score_has_no_result() -> None:
    truth = CLASSIFICATION.without_truth(torch.tensor([[[1]]]))
    total = CLASSIFICATION.tally(torch.tensor([[[1]]]), truth, 3).sum(dim=0)
    assert total.sum() == 0
    with pytest.raises(ValueError, match="without a labelled image"):
        CLASSIFICATION.result_of(total)
    assert CLASSIFICATION.class_results_of(total) == (None, None, None)


@pytest.mark.parametrize("task", [SEGMENTATION, CLASSIFICATION], ids=lambda task: task.name)
def test_a_metric_over_batches_is_the_tally_of_all(task: type) -> None:
    metric = TalliedMetric(task, 3)  # type: ignore[arg-type]
    for decided, truth in zip(DECIDED, TRUTH, strict=True):
        probabilities = torch.nn.functional.one_hot(decided, 3).float()[None, :, None, None]
        metric.update(probabilities, truth.view(1, 1, 1))
    assert metric.whole().tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_a_choice_has_two_of_every_class_where_it_can() -> None:
    classes = [0] * 90 + [1] * 6 + [2] * 2
    for seed in range(5):
        found = chosen_classes(CLASSIFICATION.subset(split_of(classes), 12, seed))
        assert found.total() == 12
        assert found[2] == 2
        assert found[1] >= 2
    assert len(CLASSIFICATION.subset(split_of(classes), None, 0)) == len(classes)
    assert len(CLASSIFICATION.subset(split_of(classes), 500, 0)) == len(classes)


def test_where_the_count_does_not_allow_it_whole_classes_are_left_out() -> None:
    classes = list(np.repeat(np.arange(20), 5))
    found = chosen_classes(CLASSIFICATION.subset(split_of(classes, 20), 10, 3))
    assert sorted(found.values()) == [2] * 5
    different = {CLASSIFICATION.subset(split_of(classes, 20), 10, seed).identifiers for seed in range(4)}
    assert len(different) == 4


def test_a_network_is_pooled_once() -> None:
    model = build_model("small_fpn", 3, seed=0)
    pooled = CLASSIFICATION.fitted(model)
    assert isinstance(pooled, Pooled)
    assert CLASSIFICATION.fitted(pooled) is pooled
    assert SEGMENTATION.fitted(model) is model


@pytest.mark.parametrize(
    ("loss", "added", "named"), [("dice", "none", "training.loss"), ("scores", "focal", "added_loss")]
)
def test_losses_of_maps_are_refused(loss: str, added: str, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"{named}: expected one for classification \(scores\), but got"):
        CLASSIFICATION.require_losses(loss, added)
    SEGMENTATION.require_losses(loss, added)
    CLASSIFICATION.require_losses("scores")
