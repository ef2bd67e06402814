"""How a task scores predictions: what those of each image come to, which is added over images, and the result of it.

Axis names: ``b`` images, ``outputs`` numbers of a head (classes, as a rule); ``...`` any others, such as draws of a
bootstrap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from muster.data.spec import Split
from muster.tasks.facts import TaskFacts


class TaskScoring(TaskFacts, ABC):
    """The part of a :class:`muster.tasks.task.Task` that scores."""

    @abstractmethod
    def no_tally(self, outputs: int) -> Tensor:
        """The tally of no image at all, which others are added to."""

    @abstractmethod
    def tally(self, decided: Tensor, truth: Tensor, outputs: int) -> Tensor:
        """What predictions come to, image by image; the sum over images is that of all of them together.

        Args:
            decided: What :meth:`muster.tasks.task.Task.decide` gave.
            truth: Of the same images.
            outputs: Numbers of the head.

        Returns:
            ``[b, ...]``, one tally an image, such as a confusion matrix.
        """

    def total(self, decided: Tensor, truth: Tensor, outputs: int) -> Tensor:
        """The sum of :meth:`tally` over the images, for those who need no single one.

        Args:
            decided: What :meth:`muster.tasks.task.Task.decide` gave.
            truth: Of the same images.
            outputs: Numbers of the head.
        """
        return self.tally(decided, truth, outputs).sum(dim=0)

    @abstractmethod
    def digest(self, tally: Tensor) -> Tensor:
        """The part of tallies that the result needs; smaller, as one is kept for every image of a test split.

        Args:
            tally: ``[b, ...]``.

        Returns:
            ``[b, ...]``; the sum over images is again that of all of them together.
        """

    @abstractmethod
    def results(self, digests: Tensor) -> Float64[Tensor, ...]:
        """The results of digests, each of which may be a sum over images.

        Args:
            digests: ``[..., *]``, as :meth:`digest` gives them.

        Returns:
            Larger is better; NaN where nothing was scored.
        """

    def errors(self, digests: Tensor) -> Float64[Tensor, ...]:
        """The error beside the result, see :attr:`error`; NaN where there is none.

        Args:
            digests: As for :meth:`results`.
        """
        return torch.full_like(self.results(digests), torch.nan)

    def error_of(self, tally: Tensor) -> float | None:
        """:meth:`errors` of one tally; ``None`` where there is none."""
        value = float(self.errors(self.digest(tally[None]))[0])
        return None if value != value else value  # NaN

    def result_of(self, tally: Tensor) -> float:
        """The result of one tally.

        Raises:
            ValueError: If nothing was scored.
        """
        value = float(self.results(self.digest(tally[None]))[0])
        if value != value:  # NaN
            raise ValueError(f"{self.result} of a split without a labelled {self.unit} is not defined.")
        return value

    @abstractmethod
    def class_results_of(self, tally: Tensor) -> tuple[float | None, ...]:
        """The part of each class in the result; ``None`` for a class that does not occur in the truth."""

    def expected_class_results(
        self,
        predictions: Sequence[Float[Tensor, "units outputs"]],  # noqa: ARG002 (for those who do)
        labels: Tensor,  # noqa: ARG002
    ) -> tuple[float | None, ...] | None:
        """:meth:`class_results_of` as predictions at the probe units have it, before any fine-tuning.

        Args:
            predictions: Probabilities of each member of an ensemble.
            labels: The true classes of the units.

        Returns:
            ``None`` where the IoU of the metric that was chosen by says it.
        """
        return None

    @abstractmethod
    def guess(self, train: Split, tally: Tensor) -> float:
        """The result of whoever never looks at an image, such as always naming the most frequent class.

        Args:
            train: The training images; their truths are read.
            tally: Any over the test split; only what it says of the truth is read.
        """

    @abstractmethod
    def units_of_outputs(self, tally: Tensor) -> tuple[int, ...]:
        """How many units were scored, for each output of the head: those of a class, as a rule."""
