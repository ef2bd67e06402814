"""Jobs in processes of this machine, which survives whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any

from muster.errors import OutputError
from muster.execution.executor import Failure, FailureKind, Job, Listener
from muster.execution.worker import as_text
from muster.files import atomic_write

LOG = "log.txt"
DESCRIPTION = "job.json"
"""The file in a job's folder that says what it is, where a process of its own is started for it."""


class LocalProcesses:
    """An :class:`muster.execution.executor.Executor` of worker processes, each with one job at a time.

    A worker that dies costs its job, and another takes its place. If this process is gone, its workers end.
    """

    def __init__(
        self, environments: Sequence[Mapping[str, str]], lock: int | None = None, fresh_processes: bool = False
    ) -> None:
        """Start nothing yet.

        Args:
            environments: Environment variables, for each worker process that works beside the others.
            lock: Number of an open file that workers inherit, so that it stays locked until the last one is gone.
            fresh_processes: Whether every job has a process of its own. A task that starts more processes with the
                same arguments needs that, as a distributed fit does.
        """
        self.environments, self.lock, self.fresh_processes = environments, lock, fresh_processes
        self.waiting: list[Job] = []
        self.workers: list[_Worker] = []
        self.selector = DefaultSelector()

    def submit(self, job: Job) -> None:
        """See :meth:`muster.execution.executor.Executor.submit`."""
        self.waiting.append(job)

    def run(self, listener: Listener) -> None:
        """See :meth:`muster.execution.executor.Executor.run`."""
        try:
            self._fill()
            while self.workers:
                for key, _ in self.selector.select(timeout=1.0):
                    self._listen(key.data, listener)
                self._fill()
                listener.tick()
        finally:
            for worker in list(self.workers):
                self._stop(worker)

    def _fill(self) -> None:
        """Start a worker in each place that is free, as long as jobs wait."""
        taken = {worker.index for worker in self.workers}
        for index, environment in enumerate(self.environments):
            if index not in taken and self.waiting:
                worker = _Worker(index, environment, self.lock, self.fresh_processes, self.waiting.pop(0))
                self.workers.append(worker)
                self.selector.register(worker.process.stdout, EVENT_READ, worker)  # type: ignore[arg-type]

    def _stop(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        self.selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        worker.end()

    def _listen(self, worker: _Worker, listener: Listener) -> None:
        messages = worker.messages()
        if messages is None:
            self._died(worker, listener)
        for message in messages or ():
            assert worker.job is not None  # a worker speaks of its job only
            if message["event"] == "progressed":
                listener.progressed(worker.job, message["content"])
            else:
                self._ended(worker, message, listener)

    def _ended(self, worker: _Worker, message: dict[str, Any], listener: Listener) -> None:
        job, sound = worker.job, message["event"] != "crashed"
        assert job is not None
        if message["event"] == "done":
            listener.done(job, message["content"])
        else:
            listener.failed(job, worker.failure(message["event"], message["content"]))
        worker.job = None
        # After an error on a GPU nothing works in that process any more, so it is given no other job.
        if self.waiting and not self.fresh_processes and sound:
            worker.take(self.waiting.pop(0))
        else:
            self._stop(worker)

    def _died(self, worker: _Worker, listener: Listener) -> None:
        """The process is gone without a word: killed, or crashed outside Python."""
        code = worker.process.wait()
        if worker.job is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
            listener.failed(worker.job, worker.failure("died", f"its process {how}{hint}"))
        self._stop(worker)


class _Worker:
    """One process and the job it is at work on."""

    def __init__(self, index: int, environment: Mapping[str, str], lock: int | None, fresh: bool, job: Job) -> None:
        self.job: Job | None = None
        self.index, self.unread, self.fresh = index, b"", fresh
        arguments = [self._job_file(job)] if fresh else []
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "muster.execution.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            pass_fds=[] if lock is None else [lock],
            start_new_session=True,  # Ctrl-C reaches the parent only, which ends its workers itself
        )
        self.take(job)

    @staticmethod
    def _job_file(job: Job) -> str:
        job.folder.mkdir(parents=True, exist_ok=True)
        path = job.folder / DESCRIPTION
        path.write_text(as_text(job), "utf-8")
        return str(path)

    def take(self, job: Job) -> None:
        """Begin with a job."""
        self.job = job
        self.log_from = os.fstat(self.log.fileno()).st_size
        job.folder.mkdir(parents=True, exist_ok=True)
        if not self.fresh and self.process.stdin is not None:
            with suppress(BrokenPipeError):  # it has died just now, and will be heard of
                self.process.stdin.write(as_text(job).encode() + b"\n")
                self.process.stdin.flush()

    def failure(self, kind: FailureKind, reason: str) -> Failure:
        """How the job at hand failed, with what the process printed put beside its other files."""
        assert self.job is not None
        path = self.job.folder / LOG
        end = os.fstat(self.log.fileno()).st_size
        try:
            with atomic_write(path) as partial:
                # pread, because the process writes at the place where this file stands
                partial.write_bytes(os.pread(self.log.fileno(), end - self.log_from, self.log_from))
        except OutputError as error:  # the disk is full, which may be why it failed
            return Failure(kind, reason, f"no log: {error}")
        return Failure(kind, reason, f"log: {path}")

    def messages(self) -> list[dict[str, Any]] | None:
        """The messages since last time; ``None`` if the process is gone."""
        assert self.process.stdout is not None
        read = os.read(self.process.stdout.fileno(), 1 << 16)
        if not read:
            return None
        *lines, self.unread = (self.unread + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """End the process and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
