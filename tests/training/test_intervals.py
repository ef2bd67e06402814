"""Intervals over bootstrap samples of the test images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.tasks.segmentation import SEGMENTATION, mean_iou
from muster.training.evaluation import SplitCounts
from muster.training.intervals import bootstrap_results, differences_to, percentile_interval, result_intervals


def random_confusions(images: int, classes: int, seed: int = 0, right: float = 3.0) -> Tensor:
    """One confusion matrix an image; some classes are missing in some images."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 50, (images, classes, classes)) * (generator.random((images, classes, 1)) < 0.6)
    counts += (right * 50 * np.eye(classes) * (counts.sum(axis=2, keepdims=True) > 0)).astype(np.int64)
    return torch.from_numpy(counts)


def counted(confusions: Tensor) -> SplitCounts:
    parts = [confusions.diagonal(dim1=1, dim2=2), confusions.sum(dim=2), confusions.sum(dim=1)]
    return SplitCounts(SEGMENTATION, confusions.sum(dim=0), torch.stack(parts, dim=1).int())


def slowly(confusions: Tensor, seed: int, draws: int) -> list[float]:
    """Whole confusion matrices, one draw after the other, from the draws that the function documents."""
    images = len(confusions)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws)
    results = []
    for drawn in weights:
        total = sum(int(times) * confusion for times, confusion in zip(drawn, confusions, strict=True))
        results.append(mean_iou(torch.as_tensor(total)))
    return results


def test_equals_whole_confusion_matrices_drawn_one_by_one() -> None:
    confusions = random_confusions(9, 4)
    found = bootstrap_results(counted(confusions), seed=3, draws=50)
    assert found is not None
    assert found == pytest.approx(slowly(confusions, 3, 50), abs=1e-12)


def test_many_draws_are_those_of_one_stream() -> None:
    counts = counted(random_confusions(7, 3))
    many, few = bootstrap_results(counts, seed=1, draws=250), bootstrap_results(counts, seed=1, draws=100)
    assert many is not None
    assert few is not None
    assert np.array_equal(many[:100], few)
    assert len(many) == 250


def test_interval_holds_the_result_and_narrows_with_more_images() -> None:
    widths = []
    for images in (10, 160):
        counts = {"model": counted(random_confusions(images, 5, seed=2, right=1.0))}
        low, high = result_intervals(counts, seed=0)["model"]
        assert low < mean_iou(counts["model"].confusion) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_equal_images_leave_no_doubt() -> None:
    confusions = (random_confusions(1, 4) + 1).expand(6, 4, 4)
    low, high = result_intervals({"model": counted(confusions)}, seed=0)["model"]
    assert low == pytest.approx(high) == pytest.approx(mean_iou(confusions.sum(dim=0)))


@pytest.mark.parametrize("void", [0, 4])
def test_one_labelled_image_has_no_interval(void: int) -> None:
    confusions = torch.cat([random_confusions(1, 3) + 1, torch.zeros(void, 3, 3, dtype=torch.int64)])
    counts = {"model": counted(confusions), "B1": counted(confusions)}
    assert result_intervals(counts, seed=0) == {}
    difference = differences_to("B1", counts, seed=0)["model"]
    assert (difference.result, difference.low, difference.high) == (0.0, None, None)


def test_void_images_are_drawn_too_and_count_nothing() -> None:
    confusions = torch.cat([random_confusions(2, 3) + 1, torch.zeros(1, 3, 3, dtype=torch.int64)])
    found = bootstrap_results(counted(confusions), seed=0, draws=400)
    assert found is not None
    empty = np.isnan(found).mean()
    assert 0 < empty < 0.15  # (1/3)^3 of the draws hold nothing but the void image
    low, high = percentile_interval(found)
    assert 0 < low <= high < 1


def test_differences_are_paired() -> None:
    """Two models with the same mistakes but for one pixel an image differ by next to nothing on every draw."""
    confusions = random_confusions(20, 3, seed=5)
    confusions[:, 0, 0] += 1
    better = confusions.clone()
    better[:, 0, 1] += 1
    alone = result_intervals({"B1": counted(confusions)}, seed=0)["B1"]
    difference = differences_to("B1", {"B1": counted(confusions), "ours": counted(better)}, seed=0)
    assert set(difference) == {"ours"}
    ours = difference["ours"]
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low <= ours.result <= ours.high
    assert ours.high - ours.low < (alone[1] - alone[0]) / 10


def test_hundreds_of_classes_and_thousands_of_images_take_little_memory() -> None:
    by_image = torch.ones(2000, 3, 254, dtype=torch.int32)
    assert by_image.nbytes < 7_000_000  # their confusion matrices would take 500 MB
    counts = SplitCounts(SEGMENTATION, torch.ones(254, 254, dtype=torch.int64), by_image)
    found = bootstrap_results(counts, seed=0, draws=20)
    assert found is not None
    assert np.all(found == 1)
