"""What is scored under many weightings of the probe images, and how sums over pixels become scores.

:mod:`muster.scoring.cpu.resampling` and :mod:`muster.scoring.device.resampling` make the sums. Axis names as in
:mod:`muster.scoring.bootstrap`; ``sources`` are the source classes of all members in a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics.registry import get_ensemble_metric
from muster.scoring.metric_kinds import adds_logs, definition_of, is_soft


@dataclass(frozen=True, eq=False)
class ResamplingProblem:
    """What is to be scored, checked.

    Attributes:
        arrays: Per member float32 or float64 ``[pixels, source_classes]`` if its EEP is refitted, or else its target
            predictions ``[pixels, classes]``; all on one device.
        refits: Whether the arrays are source probabilities, to be turned into EEPs under every weighting.
        labels: int64 ``[pixels]``.
        num_classes: Number of target classes.
        order: The pixels image by image, and in an image by label.
        starts: Where each image begins in ``order``, and the number of all pixels at the end.
        rows: ``[candidates, size]``, places in ``arrays``.
        metric: Name of a metric of ensembles.
    """

    arrays: list[Tensor]
    refits: bool
    labels: Int[NumpyArray, " pixels"]
    num_classes: int
    order: Int[NumpyArray, " pixels"]
    starts: Int[NumpyArray, " images_and_one"]
    rows: Int[NumpyArray, "candidates size"]
    metric: str

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.starts) - 1

    @property
    def takes_logs(self) -> bool:
        """Whether only what the true class gets is looked at."""
        return adds_logs(get_ensemble_metric(self.metric))

    @property
    def is_soft(self) -> bool:
        """Whether a pixel counts by what the true class gets, and not by 1."""
        return is_soft(get_ensemble_metric(self.metric))

    @property
    def sums_members(self) -> bool:
        """Whether a candidate's score is the sum of its members'."""
        return definition_of(get_ensemble_metric(self.metric)).sums_members

    @property
    def scored(self) -> Int[NumpyArray, "candidates size"]:
        """What sums are taken for: the candidates, or each member by itself if candidates sum their scores."""
        return np.arange(len(self.arrays))[:, None] if self.sums_members else self.rows

    @property
    def precision(self) -> torch.dtype:
        """To which target predictions are rounded, as for :func:`muster.arrays.as_members`."""
        single = all(array.dtype == torch.float32 for array in self.arrays)
        return torch.float32 if single else torch.float64

    @property
    def smallest(self) -> float:
        """Least argument of a log."""
        return float(torch.finfo(self.precision).smallest_normal)

    @property
    def ends(self) -> Int[NumpyArray, " members_and_one"]:
        """Where the sources of each member begin, and the number of all at the end."""
        return np.cumsum([0, *(array.shape[1] for array in self.arrays)])

    def pixels_of(self, image: int) -> Int[NumpyArray, " pixels"]:
        """Places of one image's pixels, by label."""
        return self.order[self.starts[image] : self.starts[image + 1]]

    @property
    def image_of_pixel(self) -> Int[NumpyArray, " pixels"]:
        """Index of the image of each pixel, from 0."""
        owners = np.empty_like(self.order)
        owners[self.order] = np.repeat(np.arange(self.images), np.diff(self.starts))
        return owners

    def label_counts(self) -> Float[NumpyArray, "images classes"]:
        """Pixels of each class in each image."""
        flat = self.image_of_pixel * self.num_classes + self.labels
        counts = np.bincount(flat, minlength=self.images * self.num_classes)
        return counts.reshape(self.images, self.num_classes).astype(np.float64)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the sums for one image or weighting: of logs, or three for each class and candidate.

        These are hits of the class, what was predicted wrongly as it, and what of it was missed.
        """
        by_class = () if self.takes_logs else (3 * self.num_classes,)
        return (len(self.scored), *by_class)

    def scores(
        self, states: Float[NumpyArray, "weightings scored ..."], weights: Float[NumpyArray, "weightings images"]
    ) -> Float[NumpyArray, "weightings candidates"]:
        """Turn weighted sums over pixels into scores.

        Args:
            states: Sums under each weighting, of :attr:`state_shape`.
            weights: How often each image counts.

        Returns:
            The scores; larger is better. A class without a pixel under a weighting does not count there.
        """
        counts, totals = weights @ self.label_counts(), states
        if not self.takes_logs:
            by_kind = states.reshape(*states.shape[:2], 3, self.num_classes)
            totals = np.stack([by_kind[:, :, 0], by_kind[:, :, 1] + by_kind[:, :, 2]], axis=2)
        scores: NumpyArray = get_ensemble_metric(self.metric).final_scores(totals, counts[:, None])
        return scores[:, self.rows].sum(axis=2) if self.sums_members else scores
