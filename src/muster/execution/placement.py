"""Where worker processes of this machine compute: which GPUs each sees, and how many threads it has."""

from __future__ import annotations

import os

from muster.machine import available_cores

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
_TORCHRUN_PREFIXES = ("GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


def visible_gpus(count: int) -> list[str]:
    """Names of the GPUs that this process sees, as ``CUDA_VISIBLE_DEVICES`` has them.

    Args:
        count: How many there are, for where the variable is not set.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(index) for index in range(count)]


def worker_environments(workers: int, devices: int, gpus: list[str]) -> list[dict[str, str]]:
    """The environment variables of each worker process.

    Args:
        workers: How many there are.
        devices: GPUs, or processes on the CPU, that one job takes.
        gpus: What :func:`visible_gpus` gives; empty if jobs compute on the CPU.

    Returns:
        For each worker this process's variables with: its GPUs, the next ones in turn, so that workers share a GPU
        only if there are more of them than GPUs; its share of the cores as ``OMP_NUM_THREADS``, unless the user says
        otherwise; and without torchrun's variables, as a worker is no part of what torchrun started.
    """
    threads = max(1, available_cores() // (workers * devices))
    environments = []
    for index in range(workers):
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in _TORCHRUN and not name.startswith(_TORCHRUN_PREFIXES)
        }
        if gpus:
            mine = [gpus[(index * devices + offset) % len(gpus)] for offset in range(devices)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        environment.setdefault("OMP_NUM_THREADS", str(threads))
        environments.append(environment)
    return environments
