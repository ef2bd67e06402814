"""Confusion matrices over a split, and what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.data import VOID, ChannelStatistics, Split, channel_statistics, prepare_image
from muster.models import Segmenter, build_model
from muster.tasks.class_counts import confusion_matrix
from muster.tasks.segmentation import SEGMENTATION, class_ious, mean_iou
from muster.training.evaluation import count_split, model_predictor
from tests.helpers import confusion_matrices, make_target, shown, upsampled

CONFUSION = torch.tensor([[6, 2, 0], [1, 3, 4], [0, 0, 0]])
"""Rows are the truth: 8 pixels of the first class, 8 of the second, none of the third (which was predicted, though)."""


def test_ious_by_hand() -> None:
    assert class_ious(CONFUSION) == (6 / 9, 3 / 10, None)
    assert mean_iou(CONFUSION) == pytest.approx((6 / 9 + 3 / 10) / 2)
    assert class_ious(torch.tensor([[0, 2], [0, 2]])) == (0.0, 0.5)


def test_majority_by_hand() -> None:
    # Always the second class: 8 of 16 pixels are hits, the first class has none, the third does not count.
    assert SEGMENTATION.constant_guess(torch.tensor([3, 9, 1]), CONFUSION) == pytest.approx((0 + 8 / 16) / 2)
    assert SEGMENTATION.constant_guess(torch.tensor([3, 1, 9]), CONFUSION) == 0


def test_nothing_but_void_has_no_miou() -> None:
    with pytest.raises(ValueError, match="every pixel is void"):
        mean_iou(torch.zeros(3, 3, dtype=torch.int64))


def test_one_image_is_counted_truth_by_prediction() -> None:
    mask = torch.tensor([[0, 0, 1], [1, VOID, VOID]], dtype=torch.uint8)
    labels = torch.tensor([[0, 2, 1], [0, 0, 1]])
    assert confusion_matrix(labels, mask, 3, VOID).tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]


@pytest.fixture(scope="module")
def model() -> Segmenter:
    model = build_model("small_fpn", 3, seed=2)
    with torch.no_grad():
        model.head.weight *= 20
    return model.eval()


def slowly(model: Segmenter, split: Split, statistics: ChannelStatistics, image_size: int) -> np.ndarray:
    counts = np.zeros((3, 3), dtype=np.int64)
    for sample in split:
        image = prepare_image(sample.image, shown(statistics, image_size))
        probabilities = model.predict(image[None])
        labels = upsampled(probabilities, image.shape[1:], sample.mask.shape)[0].argmax(dim=0)
        for truth, label in zip(sample.mask.flatten().tolist(), labels.flatten().tolist(), strict=True):
            if truth != VOID:
                counts[truth, label] += 1
    return counts


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_split_of_differing_sizes_equals_image_by_image(model: Segmenter, batch_size: int) -> None:
    split = make_target(7, void=("02",)).train
    assert len({tuple(sample.mask.shape) for sample in split}) == 2
    statistics = channel_statistics(split)
    found = confusion_matrices(
        model_predictor(model, SEGMENTATION), split, shown(statistics, 48), batch_size=batch_size
    )
    expected = slowly(model, split, statistics, 48)
    assert list(found) == ["prediction"]
    assert (expected > 0).sum() > 4  # not a model that says one thing
    # One pixel at a tie may fall either way when images share a batch.
    assert np.abs(found["prediction"].numpy() - expected).sum() <= 2
    assert int(found["prediction"].sum()) == int(expected.sum())


def test_counts_of_single_images_are_those_of_the_split(model: Segmenter) -> None:
    split = make_target(7, void=("02",)).train
    statistics = channel_statistics(split)
    counts = count_split(model_predictor(model, SEGMENTATION), split, shown(statistics, 48), batch_size=3)["prediction"]
    hits, truth, predicted = counts.by_image.long().sum(dim=0)
    assert torch.equal(hits, counts.confusion.diagonal())
    assert torch.equal(truth, counts.confusion.sum(dim=1))
    assert torch.equal(predicted, counts.confusion.sum(dim=0))
    for place, sample in enumerate(split):  # in the order of the split, although batches are made by size
        pixels = torch.bincount(sample.mask[sample.mask != VOID].long(), minlength=3)
        assert counts.by_image[place, 1].tolist() == pixels.tolist()


def test_one_class_is_counted_as_a_matrix() -> None:
    labels = torch.zeros(2, 3, dtype=torch.int64)
    assert confusion_matrix(labels, torch.zeros(2, 3, dtype=torch.uint8), 1, VOID).tolist() == [[6]]


def test_every_name_is_counted_on_its_own(target_split: Split) -> None:
    def constant(images: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        return {str(k): torch.full((len(images), *size), k) for k in range(2)}

    found = confusion_matrices(constant, target_split, shown(ChannelStatistics((0.5,) * 3, (0.25,) * 3), 48))
    for name, confusion in found.items():
        assert confusion.sum() == confusion[:, int(name)].sum() > 0


@pytest.fixture
def target_split() -> Split:
    return make_target(3).train
