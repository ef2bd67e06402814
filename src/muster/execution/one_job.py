"""Whoever has a single job for an executor listens to it with this."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from muster.errors import ConfigError
from muster.execution.executor import Executor, Failure, Job


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


def ask(executor: Executor, task: str, content: str, folder: Path) -> str:
    """Ask one job of an executor about the place where its jobs run.

    Args:
        executor: Nothing waits in it.
        task: As :attr:`Job.task`.
        content: As :attr:`Job.content`.
        folder: Where the job works; it is gone afterwards.

    Returns:
        What the job returned.

    Raises:
        ConfigError: If the executor has no place that can do this, or not what was asked for.
    """
    answer = OneJob()
    executor.submit(Job(folder.name, task, content, folder))
    executor.run(answer)
    if answer.failure is not None:
        raise ConfigError(f"Nothing can be computed there: {answer.failure.reason} ({answer.failure.log})")
    shutil.rmtree(folder, ignore_errors=True)
    return answer.result
