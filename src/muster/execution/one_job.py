"""Whoever has a single job for an executor listens to it with this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from muster.execution.executor import Failure, Job


def _nobody(message: str) -> None:
    """Nobody is told."""


@dataclass
class OneJob:
    """A :class:`muster.execution.executor.Listener` that keeps how the one job ended.

    Attributes:
        tell: Is told the job's messages.
        result: What the job returned, if it did.
        failure: How it failed, if it did.
    """

    tell: Callable[[str], None] = _nobody
    result: str = ""
    failure: Failure | None = None

    def progressed(self, job: Job, message: str) -> None:  # noqa: ARG002 (a listener's)
        """See :class:`muster.execution.executor.Listener`."""
        self.tell(message)

    def done(self, job: Job, result: str) -> None:  # noqa: ARG002
        """See :class:`muster.execution.executor.Listener`."""
        self.result = result

    def failed(self, job: Job, failure: Failure) -> None:  # noqa: ARG002
        """See :class:`muster.execution.executor.Listener`."""
        self.failure = failure

    def tick(self) -> None:
        """There is nothing to show."""
