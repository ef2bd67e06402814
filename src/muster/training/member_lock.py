"""Who works on a member of a pool: one process of all that work on the pool, on whatever machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from muster.errors import PoolError
from muster.locks import locked

LOOK_SECONDS = 2.0
"""How often one looks whether another process has ended its work on a member."""


class TakenError(PoolError):
    """Another process works on the member."""


@contextmanager
def member_held(work: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a member for this process; it is free again when the process is gone, however that came.

    Args:
        work: The folder in which the member is made; created. Whoever holds the member may remove it.
        wait: Whether to wait for a process that holds it.

    Yields:
        Whether it is held: otherwise another process works on it.
    """
    with ExitStack() as stack:
        while True:
            work.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(work, "a member", error=TakenError))
            except (TakenError, FileNotFoundError):  # or its holder is removing the folder, as it is done
                if not wait:
                    yield False
                    return
                time.sleep(LOOK_SECONDS)
            else:
                break
        yield True
