"""Image classification: one class for every image, by a map that is averaged over the image.

Axis names: ``c`` classes; in a confusion matrix the first is the truth and the second the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Real
from torch import Tensor

from muster.arrays import number_within_groups
from muster.data import Split
from muster.tasks.class_counts import ClassCounts
from muster.tasks.task import TASKS

LEAST_OF_A_CLASS = 2
"""Images of each class in a choice, as far as there are so many (B21 section 4.1)."""


class Classification(ClassCounts):
    """The task: share of the images of a split whose class is the most probable one."""

    name, unit, result, key, class_result = "classification", "image", "top-1 accuracy", "top1", "accuracy"
    is_pooled = True
    losses = ("scores",)
    ensemble_metrics = ("ms_leep", "e_leep", "accuracy_eep", "soft_accuracy_eep")
    # Not soft accuracy, what stands beside SoftIoU-EEP: it is linear, so a set's score is the mean of its members', and
    # members that repeat each other look as good as members that complete each other. E-LEEP is of the whole set too,
    # and tells sets apart that are right on the same of a few hundred images, where accuracy-EEP has ties.
    default_metric = "e_leep"
    hub_tags, hub_metric = ("image-classification",), "accuracy"
    void = -1

    def results(self, digests: Real[Tensor, "... 3 c"]) -> Float64[Tensor, ...]:
        """Hits among all images."""
        hits, truth, _ = digests.double().unbind(dim=-2)
        return hits.sum(dim=-1) / truth.sum(dim=-1)

    def class_results_of(self, tally: Int64[Tensor, "c c"]) -> tuple[float | None, ...]:
        """Hits among the images of each class."""
        hits, truth = tally.diagonal(), tally.sum(dim=1)
        return tuple(float(h / t) if t else None for h, t in zip(hits.double(), truth, strict=True))

    def expected_class_results(
        self, predictions: Sequence[Float[Tensor, "units c"]], labels: Int64[Tensor, " units"]
    ) -> tuple[float | None, ...]:
        """See :meth:`Task.expected_class_results`."""
        mean = torch.stack([each.float().cpu() for each in predictions]).mean(dim=0)
        decided = self.decide(mean[:, :, None, None])
        return self.class_results_of(self.tally(decided, labels.cpu()[:, None, None], mean.shape[1]).sum(dim=0))

    def subset(self, split: Split, count: int | None, seed: int) -> Split:
        """See :meth:`Task.subset`: at least two images of each class, where there are so many and the count allows it.

        Source:
            Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", 2021, section 4.1; there
            classes are left out where the count does not allow it, as here: at random.
        """
        if count is None or count >= len(split) or count < 1:
            return split.subset(count, seed)
        generator = np.random.default_rng(seed % 2**64)
        classes = np.array([int(split.mask(index)) for index in range(len(split))])
        order = generator.permutation(len(split))
        nth = number_within_groups(classes[order])
        first = order[nth < LEAST_OF_A_CLASS]
        # Whole classes come first: both images of one, then both of the next.
        first = first[np.argsort(generator.permutation(classes.max() + 1)[classes[first]], kind="stable")]
        chosen = np.sort(np.concatenate([first, order[nth >= LEAST_OF_A_CLASS]])[:count])
        return replace(split, identifiers=tuple(split.identifiers[index] for index in chosen.tolist()))


CLASSIFICATION = TASKS.add("classification", Classification())
