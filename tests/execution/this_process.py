"""An executor without other processes, so that tests of what submits jobs start none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from muster.errors import MusterError
from muster.execution.choice import chosen_executor
from muster.execution.executor import Executor, Failure, Job, Listener
from muster.outputs import cause_of

_NO_LOG = "no log: it ran in this process"


class ThisProcess:
    """An :class:`muster.execution.executor.Executor` without other processes."""

    def __init__(self) -> None:
        """Nothing waits yet."""
        self.waiting: list[Job] = []

    def submit(self, job: Job) -> None:
        """See :meth:`muster.execution.executor.Executor.submit`."""
        self.waiting.append(job)

    def run(self, listener: Listener) -> None:
        """See :meth:`muster.execution.executor.Executor.run`."""
        while self.waiting:
            job = self.waiting.pop(0)
            module, _, name = job.task.partition(":")
            job.folder.mkdir(parents=True, exist_ok=True)
            try:
                result = getattr(import_module(module), name)(job.content, partial(self._tell, listener, job))
            except MusterError as error:
                listener.failed(job, Failure("refused", str(error), _NO_LOG))
            except OSError as error:
                listener.failed(job, Failure("refused", cause_of(error, job.folder), _NO_LOG))
            else:
                listener.done(job, result)

    @staticmethod
    def _tell(listener: Listener, job: Job, message: str) -> None:
        listener.progressed(job, message)
        listener.tick()


def _chosen(name: Any, ray: Any, processes: int, *others: Any) -> AbstractContextManager[Executor | None]:
    if name == "local" and processes == 1:
        return nullcontext(ThisProcess())
    return chosen_executor(name, ray, processes, *others)


@contextmanager
def without_workers() -> Iterator[None]:
    """Commands do their jobs in this process: a worker process imports for six seconds before it begins with one.

    Real workers do them in the tests of ``tests/scripts``, and wherever several processes share a job.
    """
    with pytest.MonkeyPatch.context() as patch:
        for command in ("train", "study"):
            patch.setattr(f"muster.commands.{command}.chosen_executor", _chosen)
        yield
