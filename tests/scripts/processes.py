"""Start the scripts as users do, wait with a limit, and say on failure what they printed."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone")
LIMIT = 180.0


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def variables_of(home: Path) -> dict[str, str]:
    """Environment variables of a script whose home folder is ``home``."""
    return {"HOME": str(home), "MUSTER_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def children_of(process: int) -> list[int]:
    """Process ids of what a process started, the first started first."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(status.parent.name))
    return sorted(found)


class Script:
    """A Python process of its own process group, with its output in files."""

    def __init__(self, words: Sequence[str | Path], home: Path, folder: Path = ROOT, **variables: str) -> None:
        """Start it.

        Args:
            words: What comes after ``python``.
            home: Home folder of the process, where its cache goes too.
            folder: Where it is started.
            variables: More environment variables.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
        environment = kept | variables_of(home) | variables
        self.words = [str(word) for word in words]
        self.output, self.errors = home / f"output-{time.monotonic_ns()}", home / f"errors-{time.monotonic_ns()}"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *self.words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                # A shell lets background jobs ignore Ctrl-C, and a suite that is run as one hands that down.
                preexec_fn=_heed_ctrl_c,
            )

    def said(self) -> str:
        """All that it printed, for messages."""
        output, errors = self.output.read_text("utf-8", "replace"), self.errors.read_text("utf-8", "replace")
        return f"$ python {' '.join(self.words)}\n--- output\n{output}\n--- errors\n{errors}"

    def end(self, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Wait until it ends, for so long as the limit; ``None`` takes any exit status."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"Not done after {LIMIT:.0f} s:\n{self.said()}") from None
        finally:
            self.kill()
        assert status in (None, code), f"Exit status {code} instead of {status}:\n{self.said()}"
        return subprocess.CompletedProcess(self.words, code, self.output.read_text("utf-8"), self.errors.read_text())

    def wait_until(self, happened: Callable[[], object], what: str) -> None:
        """Wait, while it runs, for something to happen."""
        deadline = time.monotonic() + LIMIT
        while not happened():
            assert self.process.poll() is None, f"It ended before {what}:\n{self.said()}"
            assert time.monotonic() < deadline, f"It took too long until {what}:\n{self.said()}"
            time.sleep(0.01)

    def children(self) -> list[int]:
        """Process ids of what it started, the first started first."""
        return children_of(self.process.pid)

    def kill(self) -> None:
        """End it and whatever it started in its group, the hard way."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def run(
    words: Sequence[str | Path], home: Path, folder: Path = ROOT, status: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Start a script and wait for its end."""
    return Script(words, home, folder, **variables).end(status)


def run_here(words: Sequence[str | Path], home: Path, status: int = 0) -> str:
    """Run a script to its end in this process: an interpreter of its own takes six seconds to import everything.

    Returns:
        What it printed.
    """
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("default")  # as a user sees them
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [str(word) for word in words])
        for name, value in variables_of(home).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(words[0]), run_name="__main__")
    assert ended.value.code == status, printed.getvalue()
    return printed.getvalue()


@contextmanager
def started(words: Sequence[str | Path], home: Path) -> Iterator[Script]:
    """A script that is gone afterwards, whatever happens."""
    script = Script(words, home)
    workers: list[int] = []
    try:
        yield script
        workers = script.children()
    finally:
        script.kill()
        for worker in workers:  # each leads a group of its own
            with suppress(ProcessLookupError):
                os.killpg(worker, signal.SIGKILL)


def alive(process: int) -> bool:
    """Whether a process is still at work."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False
