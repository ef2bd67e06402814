"""Where worker processes of this machine compute: which GPUs each sees, and how many threads it has."""

from __future__ import annotations

import os

from muster.launch import without_launcher
from muster.machine import available_cores


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
        otherwise; and without the variables of torchrun and srun, as a worker is no part of what they started.
    """
    threads = max(1, available_cores() // (workers * devices))
    environments = []
    for index in range(workers):
        environment = without_launcher(os.environ)
        if gpus:
            mine = [gpus[(index * devices + offset) % len(gpus)] for offset in range(devices)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        environment.setdefault("OMP_NUM_THREADS", str(threads))
        environments.append(environment)
    return environments
