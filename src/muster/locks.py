"""Locks on folders: one process at a time writes there, of one machine or several; one that was killed holds nothing.

A lock is a file that its holder made and nobody else could have made too (``O_EXCL``). Whether a holder still lives is
told in two ways. Processes of its own machine see it by the system's lock on that file, which goes with the last
process that has it open. Other machines, whose file system may not pass such locks on, see it by a heartbeat: the
holder touches the file every few seconds, and what was not touched for long may be taken over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from muster.errors import ConfigError, MusterError
from muster.files import is_alive, partial_prefix

LOCK = ".lock"
"""File in an output folder that the process at work there holds."""

HEARTBEAT_SECONDS = 10.0
"""How often a holder touches its lock."""

ABANDONED_SECONDS = 90.0
"""A lock of another machine that was not touched for so long was left by a process that died. Where a file server is
busy, several beats may fail to come through in time."""

_RETRY_SECONDS = 0.2
_SETTLE_SECONDS = 1.0
"""After an abandoned lock was taken over: who did the same at that moment has then written its name as well."""

_NAMELESS_SECONDS = 5.0
"""A lock that names nobody was made a moment ago, or by a process that was killed at that moment."""

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What some network file systems say to the system's locks; heartbeats work there too."""

_MOST_BYTES = 400

_open_locks: dict[int, Path] = {}
"""The open lock files of this process, with the folders that they lock."""


def _forget_locks() -> None:
    """A forked child (it reads images, say) must not hold the lock after its parent was killed."""
    while _open_locks:
        with suppress(OSError):
            os.close(_open_locks.popitem()[0])


os.register_at_fork(after_in_child=_forget_locks)


def is_locked_here(folder: Path) -> bool:
    """Whether this process has locked a folder."""
    return folder.resolve() in _open_locks.values()


def is_held(folder: Path) -> bool:
    """Whether some process holds a folder, as far as one can see from outside.

    Args:
        folder: It may be missing.
    """
    path = folder / LOCK
    with suppress(FileNotFoundError):
        number = os.open(path, os.O_RDWR)
        try:
            holder = _Holder.read(number)
            _lock_in_the_system(number, holder, path)  # for a moment: who wants it right then tries again
            return _seconds_untouched(number, folder) < holder.lasts
        except _BusyError:
            return True
        finally:
            os.close(number)
    return False


@dataclass(frozen=True)
class _Holder:
    """What a lock file says: number of the process, name of its machine, and a word that no other lock has."""

    process: str
    machine: str
    word: str

    @classmethod
    def of_this_process(cls) -> _Holder:
        return cls(str(os.getpid()), _machine(), secrets.token_hex(8))

    @classmethod
    def read(cls, number: int) -> _Holder:
        """From an open file; unknown parts are empty, as in locks of earlier releases, which say the process only."""
        text = os.pread(number, _MOST_BYTES, 0).decode("utf-8", "replace")
        process, machine, word = (*text.split("\n"), "", "", "")[:3]
        return cls(re.sub(r"\D", "", process), machine if machine.isprintable() else "", word)

    def write(self, number: int) -> None:
        os.ftruncate(number, 0)
        os.pwrite(number, f"{self.process}\n{self.machine}\n{self.word}\n".encode(), 0)
        os.fsync(number)

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another machine."""
        return self.machine not in ("", _machine())

    @property
    def lasts(self) -> float:
        """For how many seconds it counts without a touch, where the system does not lock the file: it may live."""
        if self.elsewhere:
            return ABANDONED_SECONDS
        return 0.0 if self.process else _NAMELESS_SECONDS

    @property
    def told(self) -> str:
        """For messages, after "another process"."""
        place = f" on {self.machine}" if self.elsewhere else ""
        return f" (number {self.process}{place})" if self.process else ""


def _machine() -> str:
    return socket.gethostname() or "unknown"


class _BusyError(Exception):
    """Another process holds the lock; its text says which."""


@contextmanager
def locked(
    folder: Path,
    title: str,
    patience: float = 0.0,
    option: str = "--output",
    error: type[MusterError] = ConfigError,
) -> Iterator[int]:
    """Hold a folder for this process, and for children that inherit the open file.

    It is free again when the last of them is gone, however that came: at once for processes of this machine, and after
    :data:`ABANDONED_SECONDS` for those of others.

    Args:
        folder: An output folder; it exists.
        title: What is written there, with its article, for messages.
        patience: Seconds to wait for another process that holds it.
        option: What names the folder.
        error: What to raise.

    Yields:
        The open lock file's number.

    Raises:
        MusterError: Of class ``error``, if another process holds the folder.
    """
    try:
        number = _acquire(folder / LOCK, time.monotonic() + patience)
    except _BusyError as problem:
        raise error(
            f"{option}: another process{problem} is at work on {title} in {folder}. Wait until it ends, or give "
            "another folder."
        ) from None
    _open_locks[number] = folder.resolve()
    try:
        with _heartbeat(number):
            yield number
    finally:
        # Only then: whoever has it open already finds that the file at this path is another, and opens that.
        if _is_at(number, folder / LOCK):
            (folder / LOCK).unlink()
        _open_locks.pop(number, None)
        os.close(number)


@contextmanager
def _heartbeat(number: int) -> Iterator[None]:
    """Touch an open lock file from time to time."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # the next one may come through
                os.utime(number)

    thread = threading.Thread(target=beat, name=f"heartbeat of lock {number}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _acquire(path: Path, deadline: float) -> int:
    """The lock file, held; :class:`_BusyError` if it was not to be had in time."""
    while True:
        try:
            return _try_to_acquire(path)
        except (_BusyError, FileNotFoundError):  # whoever replaces the folder has it away for a moment
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _try_to_acquire(path: Path) -> int:
    try:
        number, fresh = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        try:
            number, fresh = os.open(path, os.O_RDWR), False
        except FileNotFoundError:  # it was let go of just now
            raise _BusyError from None
    try:
        _hold(number, path, fresh)
    except BaseException:
        os.close(number)
        raise
    return number


def _hold(number: int, path: Path, fresh: bool) -> None:
    """Write this process's name into an open lock file, if that may be."""
    before = _Holder.read(number)
    _lock_in_the_system(number, before, path)
    if not _is_at(number, path):  # its holder let go of it meanwhile, or the folder was replaced
        raise _BusyError
    if not fresh and _seconds_untouched(number, path.parent) < before.lasts:
        raise _BusyError(before.told)
    mine = _Holder.of_this_process()
    mine.write(number)
    if before.elsewhere and not fresh:
        time.sleep(_SETTLE_SECONDS)
        now = os.open(path, os.O_RDONLY)  # opened anew: network file systems show then what others wrote
        try:
            after = _Holder.read(now)
        finally:
            os.close(now)
        if after != mine:
            raise _BusyError(after.told)


def _lock_in_the_system(number: int, holder: _Holder, path: Path) -> None:
    """Make sure that no process of this machine holds the file, and that all see that this one does."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _BusyError(holder.told) from None
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        if holder.process and not holder.elsewhere and _lives(int(holder.process), path):
            raise _BusyError(holder.told) from None


def _lives(process: int, path: Path) -> bool:
    """Whether the process that a lock names still holds it: one before this one may have had its number."""
    return is_locked_here(path.parent) if process == os.getpid() else is_alive(process)


def _seconds_untouched(number: int, folder: Path) -> float:
    """For how long nobody touched a lock, by the clock of the file system: those of two machines may differ."""
    handle, probe = tempfile.mkstemp(prefix=partial_prefix(), dir=folder)
    try:
        return os.fstat(handle).st_mtime - os.fstat(number).st_mtime
    finally:
        os.close(handle)
        Path(probe).unlink()


def _is_at(number: int, path: Path) -> bool:
    """Whether an open file is still the one at its path."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(number), path.stat())
    return False


def await_file(path: Path, seconds: float = 30.0) -> None:
    """Wait until another process has made a file; not for ever, as that one's disk may be another machine's."""
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
