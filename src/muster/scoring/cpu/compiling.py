"""Loads compiled loops when they are first needed, and says if that is slow.

Numba takes most of a second to import, and compiles a loop at its first call on a machine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import ModuleType

import numpy as np

_PATIENCE_SECONDS = 2.0
"""Loops that are on disk already are loaded in less."""

_log = logging.getLogger(__name__)
_ready: set[tuple[str, str]] = set()


@contextmanager
def told_if_slow(message: str) -> Iterator[None]:
    """Log a message if the block takes longer than loading loops from disk would."""
    timer = Timer(_PATIENCE_SECONDS, _log.warning, (message,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def kernels(dtype: np.dtype[np.floating], *names: str) -> ModuleType:
    """The inner loops of :mod:`muster.scoring.cpu.extension_kernels`.

    Args:
        dtype: The type of the predictions that they will run on.
        names: Which loops will be called; they are compiled, or loaded from disk, before this returns.

    Returns:
        The module.
    """
    from muster.scoring.cpu import extension_kernels

    missing = [name for name in names if (name, dtype.name) not in _ready]
    if missing:
        with told_if_slow("Compiling the search loops for this processor. This happens once; they are kept on disk."):
            calls = _smallest_calls(dtype)
            for name in missing:
                getattr(extension_kernels, name)(*calls[name])
                _ready.add((name, dtype.name))
    return extension_kernels


def _smallest_calls(dtype: np.dtype[np.floating]) -> dict[str, tuple[object, ...]]:
    """Arguments of one member, class and pixel, of the types that the loops are called with."""
    rows, block, row, table = np.ones((1, 1), dtype), np.ones((1, 1, 1), dtype), np.ones(1), np.ones((1, 1))
    labels, candidates = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    totals, moments, effects = np.zeros((1, 2, 1)), np.ones((1, 2)), np.ones((1, 3, 1))
    return {
        "transpose": (rows, rows.copy()),
        "add_extensions": (rows, labels, block, table, 1, True, totals),
        "add_candidates": (block, labels, candidates, True, 1, totals),
        "influence": (block, labels, candidates[0], effects[0], True, row.copy()),
        "add_moments": (block, labels, candidates, effects, True, 1, row, moments),
        "sum_logs": (rows, row, labels, 1.0, 1, row.copy()),
        "add_candidate_logs": (rows, candidates, 1.0, 1, row.copy()),
        "add_log_moments": (rows, candidates, 1.0, row, moments),
        "weigh": (rows, row, row.copy()),
    }
