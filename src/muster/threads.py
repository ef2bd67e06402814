"""How many threads the loops of torch and the products of NumPy run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's CPU kernels and NumPy's products on one thread within the block.

    For work that lasts fractions of a millisecond. A second thread hardly helps with it on an idle machine, and makes
    it ten times slower or worse on a busy one, or beside the other library's threads, where each waits for the other to
    be given a core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
