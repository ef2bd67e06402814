"""What torchrun says of this process, before the processes have joined (:mod:`muster.ranks` is for afterwards)."""

from __future__ import annotations

import os

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK")


def launched_processes() -> int:
    """Number of processes that torchrun started, on all machines; 1 without it."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def launched_on_this_machine() -> int | None:
    """Number of processes that torchrun started on this machine; ``None`` without it."""
    count = os.environ.get("LOCAL_WORLD_SIZE")
    return int(count) if count else None


def launched_nodes() -> int:
    """Number of machines that torchrun started processes on; 1 without it."""
    return int(os.environ.get("GROUP_WORLD_SIZE") or 1)


def local_rank() -> int:
    """Number of this process among those of this machine; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def only_helps() -> bool:
    """Whether this process of a distributed run only helps the first one, which alone writes results."""
    if launched_processes() < 2:
        return False  # a cluster numbers its nodes for single processes too
    return any(int(os.environ.get(name) or 0) > 0 for name in _RANKS)
