"""Locks between processes of one machine and of several; other machines are played by what they leave in the file."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from muster import locks
from muster.errors import ConfigError
from muster.locks import ABANDONED_SECONDS, LOCK, is_held, is_locked_here, locked

BOTH = """
import sys, time
from pathlib import Path
from muster import locks
from muster.errors import ConfigError
locks._machine = lambda: sys.argv[2]
locks.fcntl.flock = lambda *_: None  # a file system that passes no locks on
end = time.monotonic() + 20
while not Path(sys.argv[1], "go").exists() and time.monotonic() < end:
    time.sleep(0.001)
try:
    with locks.locked(Path(sys.argv[1]), "a pool"):
        print("held", flush=True)
        time.sleep(1.6)
except ConfigError as error:
    print("refused", error)
"""


def left_by_another_machine(folder: Path, seconds_ago: float) -> Path:
    path = folder / LOCK
    path.write_text("4321\nnode-7\nabcd\n")
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def refused(folder: Path, words: str) -> None:
    with pytest.raises(ConfigError, match=words), locked(folder, "a pool"):
        pass


def test_a_lock_of_another_machine_counts_as_long_as_it_is_touched(tmp_path: Path) -> None:
    path = left_by_another_machine(tmp_path, ABANDONED_SECONDS / 2)
    refused(tmp_path, r"another process \(number 4321 on node-7\) is at work on a pool")
    assert path.read_text() == "4321\nnode-7\nabcd\n"
    assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]


def test_whether_a_folder_is_held_is_seen_from_outside(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "missing")
    assert not is_held(tmp_path)
    with locked(tmp_path, "a pool"):
        assert is_held(tmp_path)
    left_by_another_machine(tmp_path, ABANDONED_SECONDS / 2)
    assert is_held(tmp_path)
    left_by_another_machine(tmp_path, ABANDONED_SECONDS * 2)
    assert not is_held(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]


def test_one_that_was_not_touched_for_long_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_SETTLE_SECONDS", 0.01)
    path = left_by_another_machine(tmp_path, ABANDONED_SECONDS * 2)
    with locked(tmp_path, "a pool"):
        assert path.read_text().splitlines()[:2] == [str(os.getpid()), socket.gethostname()]
        assert is_locked_here(tmp_path)
    assert not path.exists()


def test_who_took_it_over_later_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines find the same abandoned lock: the one whose name stands there in the end goes on."""
    path = left_by_another_machine(tmp_path, ABANDONED_SECONDS * 2)

    def meanwhile(seconds: float) -> None:
        if seconds == locks._SETTLE_SECONDS:
            path.write_text("99\nnode-8\nffff\n")

    monkeypatch.setattr(locks.time, "sleep", meanwhile)
    refused(tmp_path, r"number 99 on node-8")
    assert path.exists()


def test_a_lock_that_names_nobody_may_have_been_made_just_now(tmp_path: Path) -> None:
    path = tmp_path / LOCK
    path.touch()
    refused(tmp_path, "another process is at work")
    os.utime(path, (time.time() - 60,) * 2)
    with locked(tmp_path, "a pool"):
        pass


def test_a_holder_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.02)
    with locked(tmp_path, "a pool"):
        os.utime(tmp_path / LOCK, (0, 0))
        end = time.monotonic() + 10
        while (tmp_path / LOCK).stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert time.time() - (tmp_path / LOCK).stat().st_mtime < 60


@pytest.mark.parametrize("process", ["dead", "alive"])
def test_a_file_system_without_locks_asks_whether_the_process_lives(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(number: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        if process == "dead":
            other.kill()
            other.wait()
        (tmp_path / LOCK).write_text(f"{other.pid}\n{socket.gethostname()}\nabcd\n")
        if process == "alive":
            refused(tmp_path, f"number {other.pid}")
        else:
            with locked(tmp_path, "a pool"):
                refused(tmp_path, f"number {os.getpid()}")
        other.kill()


@pytest.mark.parametrize("before", [None, ABANDONED_SECONDS * 2], ids=["new", "abandoned"])
def test_of_two_machines_that_begin_at_once_one_has_it(before: float | None, tmp_path: Path) -> None:
    if before is not None:
        left_by_another_machine(tmp_path, before)
    environment = os.environ | {"PYTHONPATH": str(Path(locks.__file__).parents[1])}
    start: Callable[[str], subprocess.Popen[str]] = lambda name: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", BOTH, str(tmp_path), name], env=environment, stdout=subprocess.PIPE, text=True
    )
    machines = [start("node-1"), start("node-2")]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    told = sorted(machine.communicate(timeout=60)[0].split()[0] for machine in machines)
    assert told == ["held", "refused"]
