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
        dtype: Of the predictions that they will run on.
        names: Which loops will be called; they are compiled, or loaded from disk, before this returns.

    Returns:
        The module.
    """
    from muster.scoring.cpu import extension_kernels

    missing = [name for name in names if (name, dtype.name) not in _ready]
    if missing:
        said = "Compiling the search loops for this processor. This happens once; they are kept on disk."
        with told_if_slow(said):
            calls = _smallest_calls(dtype)
            for name in missing:
                getattr(extension_kernels, name)(*calls[name])
                _ready.add((name, dtype.name))
    return extension_kernels


def _smallest_calls(dtype: np.dtype[np.floating]) -> dict[str, tuple[object, ...]]:
    """Arguments of one member, class and pixel, of the types that the loops are called with."""
    said, block, row, table = np.ones((1, 1), dtype), np.ones((1, 1, 1), dtype), np.ones(1), np.ones((1, 1))
    labels, sets, totals, moments = (
        np.zeros(1, np.int64),
        np.zeros((1, 1), np.int64),
        np.zeros((1, 2, 1)),
        np.ones((1, 2)),
    )
    return {
        "transpose": (said, said.copy()),
        "add_extensions": (said, labels, block, table, 1, True, totals),
        "add_sets": (block, labels, sets, True, 1, totals),
        "influence": (block, labels, sets[0], row, row, True, row.copy()),
        "add_moments": (block, labels, sets, table, table, True, 1, row, moments),
        "sum_logs": (said, row, labels, 1.0, 1, row.copy()),
        "add_set_logs": (said, sets, 1.0, 1, row.copy()),
        "add_log_moments": (said, sets, 1.0, row, moments),
        "weigh": (said, row, row.copy()),
    }
