"""Locks on folders: one process at a time writes there, and one that was killed holds nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from warnings import warn

from muster.errors import ConfigError, MusterError

LOCK = ".lock"
"""File in an output folder that the process at work there holds locked."""

_RETRY_SECONDS = 0.2
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What some network file systems say."""

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


@contextmanager
def locked(
    folder: Path,
    title: str,
    patience: float = 0.0,
    option: str = "--output",
    error: type[MusterError] = ConfigError,
) -> Iterator[int | None]:
    """Hold a folder for this process, and for children that inherit the open file and with it the lock.

    The system lets go of it when the last of them is gone, however that came.

    Args:
        folder: An output folder; it exists.
        title: What is written there, with its article, for messages.
        patience: Seconds to wait for another process that holds it.
        option: What names the folder.
        error: What to raise.

    Yields:
        The open lock file's number; ``None`` where the file system has no locks, which a warning tells.

    Raises:
        MusterError: Of class ``error``, if another process holds the folder.
    """
    try:
        file = _acquire(folder, time.monotonic() + patience)
    except BlockingIOError as problem:
        raise error(
            f"{option}: another process{problem.args[1]} is at work on {title} in {folder}. Wait until it ends, or "
            "give another folder."
        ) from None
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        warn(
            f"{folder} cannot be locked ({problem.strerror}): see to it that no other command writes there.",
            stacklevel=4,
        )
        yield None
        return
    number = file.fileno()
    _open_locks[number] = folder.resolve()
    try:
        yield number
    finally:
        # Only then: whoever has it open already finds that the file at this path is another, and opens that.
        if _is_at(file, folder / LOCK):
            (folder / LOCK).unlink()
        _open_locks.pop(number, None)
        file.close()


def _acquire(folder: Path, deadline: float) -> IO[bytes]:
    """The lock file, locked; a :class:`BlockingIOError` that names the holder, if it was not to be had in time."""
    while True:
        try:
            file = _try_to_acquire(folder)
        except (BlockingIOError, FileNotFoundError):  # whoever replaces the folder has it away for a moment
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
            continue
        if _is_at(file, folder / LOCK):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
            return file
        file.close()


def _try_to_acquire(folder: Path) -> IO[bytes]:
    file = (folder / LOCK).open("a+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        file.seek(0)
        holder = re.sub(r"\D", "", file.read(20).decode("ascii", "replace"))
        file.close()
        raise BlockingIOError(problem.errno, f" (number {holder})" if holder else "") from None
    except OSError:
        file.close()
        raise
    return file


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at its path."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def await_file(path: Path, seconds: float = 30.0) -> None:
    """Wait until another process has made a file; not for ever, as that one's disk may be another machine's."""
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
