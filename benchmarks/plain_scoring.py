"""Scoring one ensemble after the other in plain vectorised torch: what exhaustive search is compared with.

It is not meant to be slow: float32 throughout, all four metrics from one pass over the predictions, what belongs to a
single member made once, no copy that can be avoided.
"""

from __future__ import annotations

import torch
from torch import Tensor


class PlainScorer:
    """Scores one candidate at a time."""

    def __init__(self, eeps: Tensor, labels: Tensor) -> None:
        """``eeps`` float32 ``[members, pixels, classes]``; ``labels`` int64 ``[pixels]``."""
        self.eeps, self.labels = eeps, labels
        self.num_classes = eeps.shape[2]
        self.label_counts = torch.bincount(labels, minlength=self.num_classes)
        self.present = self.label_counts > 0
        self.tiny = torch.finfo(eeps.dtype).smallest_normal
        self.true_class = torch.stack([eep.gather(1, labels[:, None])[:, 0] for eep in eeps])
        self.leeps = self.true_class.clamp(min=self.tiny).log().mean(dim=1).tolist()
        self._sum, self._largest = torch.empty_like(eeps[0]), torch.empty(len(labels))
        self._predicted = torch.empty(len(labels), dtype=torch.int64)

    def score(self, members: tuple[int, ...]) -> dict[str, float]:
        """All four metrics of one candidate."""
        first, second, *others = members
        total = torch.add(self.eeps[first], self.eeps[second], out=self._sum)
        for member in others:
            total += self.eeps[member]
        torch.max(total, dim=1, out=(self._largest, self._predicted))
        mean = self.true_class[list(members)].mean(dim=0)
        correct = self._predicted == self.labels
        hits = torch.bincount(self.labels[correct], minlength=self.num_classes)
        union = self.label_counts + torch.bincount(self._predicted, minlength=self.num_classes) - hits
        zero = torch.zeros(())
        soft_hits = self._add_up(self.labels, torch.where(correct, mean, zero))
        misses = torch.where(correct, zero, 1 - mean)
        soft_union = soft_hits + self._add_up(self.labels, misses) + self._add_up(self._predicted, misses)
        return {
            "ms_leep": sum(self.leeps[member] for member in members),
            "e_leep": float(mean.clamp_(min=self.tiny).log_().mean()),
            "iou_eep": float((hits / union)[self.present].mean()),
            "soft_iou_eep": float((soft_hits / soft_union)[self.present].mean()),
        }

    def _add_up(self, classes: Tensor, weights: Tensor) -> Tensor:
        return torch.bincount(classes, weights, minlength=self.num_classes)
