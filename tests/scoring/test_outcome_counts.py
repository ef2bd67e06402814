"""Counts of all candidates over images that come one by one, against counting each candidate by itself."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.data import VOID
from muster.scoring.outcome_counts import OutcomeCounts
from muster.tasks.class_counts import confusion_matrix
from muster.tasks.classification import CLASSIFICATION
from muster.tasks.segmentation import SEGMENTATION, mean_iou

CLASSES = 4


def images(members: int, seed: int = 0) -> list[tuple[list[Tensor], Tensor]]:
    """Three images of different size; class 3 never occurs; rough probabilities, so that there are ties."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for pixels in (700, 1, 333):
        labels = torch.randint(0, CLASSES - 1, (pixels,), generator=generator)
        rough = [torch.randint(0, 4, (pixels, CLASSES), generator=generator) / 4 for _ in range(members)]
        made.append((rough, labels))
    return made


def slow_confusion(given: list[tuple[list[Tensor], Tensor]], members: tuple[int, ...]) -> Tensor:
    total = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for predictions, labels in given:
        summed = torch.zeros(())
        for member in members:
            summed = summed + predictions[member]
        total += confusion_matrix(summed.argmax(dim=1)[None], labels[None].to(torch.uint8), CLASSES, VOID)
    return total


@pytest.mark.parametrize("threads", [1, 3])
def test_counts_are_exact(threads: int) -> None:
    given = images(5)
    counts = OutcomeCounts(5, CLASSES, (1, 2, 3, 5), threads)
    for predictions, labels in given:
        counts.add(predictions, labels)
    for size in (1, 2, 3, 5):
        counted = torch.from_numpy(counts.digests(size))
        results, accuracies = SEGMENTATION.results(counted), CLASSIFICATION.results(counted)
        for row, members in enumerate(combinations(range(5), size)):
            confusion = slow_confusion(given, members)
            hits = confusion.diagonal()
            assert torch.equal(counted[row], torch.stack([hits, confusion.sum(dim=1), confusion.sum(dim=0)]))
            assert results[row].item() == pytest.approx(mean_iou(confusion), abs=1e-12)
            assert accuracies[row].item() == pytest.approx(hits.sum().item() / confusion.sum().item(), abs=1e-12)


def test_an_image_without_labels_counts_nothing() -> None:
    counts = OutcomeCounts(2, CLASSES, (2,))
    counts.add([torch.zeros(0, CLASSES)] * 2, torch.zeros(0, dtype=torch.int64))
    assert counts.label_counts.sum() == 0
    predictions, labels = images(2)[0]
    counts.add(predictions, labels)
    assert counts.label_counts.tolist() == torch.bincount(labels, minlength=CLASSES).tolist()


def test_on_another_backend_the_counts_are_the_same() -> None:
    """Torch's, which works on any device, here on the processor."""
    counted = []
    for backend in ("numba", "torch"):
        counts = OutcomeCounts(4, CLASSES, (1, 3), backend=backend)
        for predictions, labels in images(4):
            counts.add(predictions, labels)
        counted.append(counts)
    for size in (1, 3):
        np.testing.assert_array_equal(*(counts.digests(size) for counts in counted))
