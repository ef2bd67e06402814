"""A process that does jobs one after the other, so that a crash costs the job at hand and no other.

``python -m muster.execution.worker`` reads one job a line from standard input and ends when that is closed, at once and
in the middle of a job: the parent is gone. ``python -m muster.execution.worker JOB`` does the one job that the file JOB
describes: a distributed fit starts the other processes with the same arguments, and those cannot share the jobs of one
standard input; but that it is closed, all of them notice. Messages to the parent are lines of JSON on standard output;
everything else goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:  # a process that is only to wait imports next to nothing
    from muster.execution.executor import Job

DONE = "done"
"""How a job ends that did not fail."""


def main(arguments: list[str]) -> None:
    """Do what is asked for, one job after the other."""
    channel = _claim_standard_output()
    jobs = _jobs_from_standard_input()
    if arguments:
        # The others wait for this one if it leaves them; by its exit code Lightning knows that it must end them.
        sys.exit(0 if work(json.loads(Path(arguments[0]).read_text("utf-8")), channel) else 1)
    while True:
        work(jobs.get(), channel)


def work(described: dict[str, Any], channel: TextIO) -> bool:
    """Do one job and tell the parent how it ended.

    Args:
        described: What :func:`as_text` wrote.
        channel: Where the parent reads.

    Returns:
        Whether it was done.
    """

    def tell(event: str, content: str) -> None:
        from muster.launch import local_rank  # slow imports come after the parent may have gone

        if local_rank() == 0:
            print(json.dumps({"event": event, "content": content}), file=channel, flush=True)

    event, content = perform(described, lambda message: tell("progressed", message))
    tell(event, content)
    return event == DONE


def perform(described: dict[str, Any], tell: Callable[[str], None]) -> tuple[str, str]:
    """Do one job in this process.

    Args:
        described: What :func:`as_text` wrote.
        tell: Takes the messages of the task.

    Returns:
        ``done`` and the result; or ``refused`` or ``crashed``, see :data:`muster.execution.executor.FailureKind`, and
        the reason. The traceback of a crash is printed.
    """
    from muster.errors import MusterError  # likewise
    from muster.outputs import cause_of

    try:
        module, _, name = described["task"].partition(":")
        task = getattr(import_module(module), name)
        return DONE, task(described["content"], tell)
    except MusterError as error:
        return "refused", str(error)
    except OSError as error:
        return "refused", cause_of(error, described["folder"])
    except Exception as error:  # whatever it is, the other jobs go on; the log has the traceback
        import traceback

        traceback.print_exc()
        return "crashed", f"{type(error).__name__}: {error}".splitlines()[0]


def as_text(job: Job) -> str:
    """A job as one line that :func:`main` reads."""
    return json.dumps({"name": job.name, "task": job.task, "content": job.content, "folder": str(job.folder)})


def _claim_standard_output() -> TextIO:
    """Keep standard output for messages: whatever else prints, in Python or not, goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _jobs_from_standard_input() -> queue.Queue[dict[str, Any]]:
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    # A thread that waits for a line holds the lock of its file, and a forked process that reads images begins by
    # closing sys.stdin, for which it would wait for ever: so the thread reads another file.
    lines = os.fdopen(os.dup(0), encoding="utf-8")
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115 (open as long as the process)

    def read() -> None:
        for line in lines:
            jobs.put(json.loads(line))
        os._exit(0)  # standard input is closed: the parent has ended, however it did

    threading.Thread(target=read, daemon=True).start()
    return jobs


if __name__ == "__main__":
    main(sys.argv[1:])
