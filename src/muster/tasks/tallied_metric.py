"""The tally of a task as a metric that Lightning gathers over processes."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import Metric

from muster.tasks.task import Task


class TalliedMetric(Metric):
    """The tally of a task over batches, and over the processes of a distributed fit."""

    full_state_update = False

    def __init__(self, task: Task, outputs: int) -> None:
        """Begin with nothing."""
        super().__init__()
        self.task, self.outputs = task, outputs
        self.total: Tensor
        self.add_state("total", task.no_tally(outputs), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, truth: Tensor) -> None:
        """Take in the predictions of some images."""
        self.total += self.task.total(self.task.decide(probabilities), truth, self.outputs)

    def compute(self) -> Tensor:
        """The tally of all."""
        return self.total

    def whole(self) -> Tensor:
        """The tally of all, on the host: :meth:`compute` drops the dimensions of a single class."""
        found: Tensor = self.compute()
        return found.cpu().view(self.task.no_tally(self.outputs).shape)

    def __hash__(self) -> int:
        """By identity: it is a module among others."""
        return id(self)
