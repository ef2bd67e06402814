"""What torchrun or srun says of this process, before the processes have joined (:mod:`muster.ranks` is for later).

torchrun wins where srun started it: the tasks of a SLURM step are then one agent of torchrun for each machine. A step
of one task, a batch script and an interactive allocation start nothing together, whatever the allocation holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Launcher = Literal["none", "torchrun", "srun"]

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
_TORCHRUN_PREFIXES = ("GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
_SRUN_PREFIXES = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_", "SLURM_TASK")


def launcher() -> Launcher:
    """Who started this process together with others."""
    if all(os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")):
        return "torchrun"
    return "srun" if _number("SLURM_STEP_NUM_TASKS", 1) > 1 else "none"


def launched_processes() -> int:
    """Number of processes that were started together, on all machines; 1 without a launcher."""
    return _number({"srun": "SLURM_STEP_NUM_TASKS"}.get(launcher(), "WORLD_SIZE"), 1)


def launched_on_this_machine() -> int | None:
    """Number of processes that were started together on this machine; ``None`` without a launcher."""
    if launcher() == "srun":
        return launched_processes() // launched_nodes()  # as many on each, see muster.training.cluster
    return _number("LOCAL_WORLD_SIZE", 0) or None


def launched_nodes() -> int:
    """Number of machines that processes were started on together; 1 without a launcher."""
    return _number({"srun": "SLURM_STEP_NUM_NODES"}.get(launcher(), "GROUP_WORLD_SIZE"), 1)


def local_rank() -> int:
    """Number of this process among those of this machine; 0 without a launcher."""
    return _number({"srun": "SLURM_LOCALID"}.get(launcher(), "LOCAL_RANK"), 0)


def only_helps() -> bool:
    """Whether this process of a distributed run only helps the first one, which alone writes results."""
    if launched_processes() < 2:
        return False  # a cluster numbers its nodes for single processes too
    names = ("SLURM_PROCID",) if launcher() == "srun" else ("RANK", "LOCAL_RANK", "NODE_RANK")
    return any(_number(name, 0) > 0 for name in names)


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for a process that is no part of what torchrun or srun started.

    Args:
        environment: Variables by name.

    Returns:
        Those that say nothing of ranks.

    Example:
        >>> without_launcher({"RANK": "1", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7"})
        {'SLURM_JOB_ID': '7'}
    """
    prefixes = (*_TORCHRUN_PREFIXES, *_SRUN_PREFIXES)
    return {
        name: value for name, value in environment.items() if name not in _TORCHRUN and not name.startswith(prefixes)
    }


def _number(name: str, otherwise: int) -> int:
    return int(os.environ.get(name) or otherwise)
