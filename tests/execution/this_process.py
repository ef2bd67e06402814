"""An executor without other processes, so that tests of what submits jobs start none."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from muster.errors import MusterError
from muster.execution.executor import Failure, Job, Listener

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
            else:
                listener.done(job, result)

    @staticmethod
    def _tell(listener: Listener, job: Job, message: str) -> None:
        listener.progressed(job, message)
        listener.tick()
