"""A process that trains members of a pool, so that a crash costs the member being trained and no other.

``python -m muster.execution.worker`` reads one job a line from standard input and ends when that is closed, at once and
in the middle of a step: the parent is gone. ``python -m muster.execution.worker JOB`` trains the one member that the
file JOB describes: Lightning starts the other processes of a distributed fit with the same arguments, and those cannot
share the jobs of one standard input; but that it is closed, all of them notice. Messages to the parent are lines of
JSON on standard output; everything else goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO


def main(arguments: list[str]) -> None:
    """Train what is asked for, one member after the other."""
    channel = _claim_standard_output()
    jobs = _jobs_from_standard_input()
    if arguments:
        # The others wait for this one if it leaves them; by its exit code Lightning knows that it must end them.
        sys.exit(0 if work(json.loads(Path(arguments[0]).read_text("utf-8")), channel) else 1)
    while True:
        work(jobs.get(), channel)


def work(described: dict[str, Any], channel: TextIO) -> bool:
    """Train one member and tell the parent how it ended.

    Args:
        described: A :class:`muster.training.source.MemberJob` as plain values.
        channel: Where the parent reads.

    Returns:
        Whether it was trained.
    """
    from muster.errors import MusterError, PoolError  # slow imports come after the parent may have gone
    from muster.files import parse_record
    from muster.launch import local_rank
    from muster.outputs import cause_of
    from muster.training.source import MemberJob, train_member

    def tell(**message: Any) -> None:
        if local_rank() == 0:
            print(json.dumps({"member": described["name"], **message}), file=channel, flush=True)

    try:
        job = parse_record(described, MemberJob, "job", PoolError)
        tell(event="started")
        train_member(job, lambda step, loss: tell(event="step", step=step, loss=loss))
    except MusterError as error:
        tell(event="failed", reason=str(error), sound=True)
    except OSError as error:
        tell(event="failed", reason=cause_of(error, described["pool"]), sound=True)
    except Exception as error:  # whatever it is, the other members go on; the log has the traceback
        import traceback

        traceback.print_exc()
        # After an error on a GPU nothing works in this process any more, so it is given no other member.
        tell(event="failed", reason=f"{type(error).__name__}: {error}".splitlines()[0], sound=False)
    else:
        tell(event="done")
        return True
    return False


def job_as_text(job: Any) -> str:
    """A job as one line that :func:`main` reads."""
    from muster.files import plain

    return json.dumps(plain(asdict(job)))


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
