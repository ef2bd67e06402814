"""What a worker of Ray does with a job; it imports next to nothing before it knows that it can."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from muster.execution.executor import Job
from muster.execution.local import LocalProcesses
from muster.execution.one_job import OneJob
from muster.execution.worker import DONE, perform
from muster.launch import without_launcher


class WorkerDiedError(Exception):
    """The process of a job ended without a word; Ray tries such a job again."""


def log_of(folder: Path) -> Path:
    """Where the output of a job is until it ends: beside its folder, which the job may remove.

    Args:
        folder: The job's.
    """
    return folder.with_name(f"{folder.name}.log")


def work(
    described: dict[str, Any], place: str, environment: Mapping[str, str], messages: Any, alone: bool
) -> tuple[str, str, str]:
    """Do one job in this worker, as a task of Ray.

    Args:
        described: What :func:`muster.execution.worker.as_text` wrote.
        place: The folder in which the command was started, which paths start from.
        environment: Environment variables, set before anything slow is imported.
        messages: The queue (``ray.util.queue.Queue``) that messages go to, with the job's name.
        alone: Whether the job has a process of its own, as a distributed fit needs it: that starts more processes with
            the same arguments.

    Returns:
        What :func:`muster.execution.worker.perform` returns, and the last message, which may still be on its way.

    Raises:
        WorkerDiedError: If that process of its own died.
    """
    folder = Path(described["folder"])
    for needed in (Path(place), folder):
        if not needed.is_dir():
            reason = (
                f"{platform.node()} has no folder {needed}. All machines of a Ray cluster need the same shared file "
                "system at the same path."
            )
            return "refused", reason, ""
    os.chdir(place)
    alone_here = without_launcher(os.environ)  # Ray itself may have been started by srun
    for name in set(os.environ) - set(alone_here):
        del os.environ[name]
    os.environ.update(environment)
    if not _gpus():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    post = _Post(described["name"], messages)
    if alone:
        ended = _in_a_process_of_its_own(described, folder, post)
    else:
        with _printed_to(log_of(folder)):
            ended = perform(described, post)
    return (*ended, post.last)


class _Post:
    """Sends messages without waiting for an answer.

    A task that waits gives its cores away meanwhile, and Ray would begin with another one.
    """

    def __init__(self, name: str, messages: Any) -> None:
        self.name, self.messages, self.last = name, messages, ""

    def __call__(self, message: str) -> None:
        self.messages.actor.put_nowait.remote((self.name, message))
        self.last = message


def _gpus() -> list[Any]:
    import ray

    return list(ray.get_gpu_ids())


def _in_a_process_of_its_own(
    described: Mapping[str, Any], folder: Path, tell: Callable[[str], None]
) -> tuple[str, str]:
    processes, heard = LocalProcesses([os.environ], fresh_processes=True), OneJob(tell)
    processes.submit(Job(described["name"], described["task"], described["content"], folder))
    processes.run(heard)
    if heard.failure is None:
        return DONE, heard.result
    if heard.failure.kind == "died":
        raise WorkerDiedError(heard.failure.reason)
    return heard.failure.kind, heard.failure.reason


@contextmanager
def _printed_to(path: Path) -> Iterator[None]:
    """Add whatever is printed inside the block to a file, in Python or not."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            with redirect_stdout(file), redirect_stderr(file):
                yield
        finally:
            file.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
