"""How many threads torch's loops run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's CPU kernels on one thread within the block.

    For kernels that last fractions of a millisecond. A second thread hardly helps with them on an idle machine, and
    makes them ten times slower or worse on a busy one, or beside another library's threads (those of NumPy's products),
    where each waits for the other to be given a core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
