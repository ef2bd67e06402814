"""What a task of Ray is given, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from muster.limits import MOST_PROCESSES, require_real, require_whole

ExecutorName: TypeAlias = Literal["local", "ray"]
"""Who runs the jobs of a command: processes of this machine, or Ray."""

CORES_OF_A_GPU = 4
"""Processor cores for each GPU of a task: one leads it, the others read images."""


@dataclass(frozen=True)
class RaySettings:
    """Tasks of Ray, with ``--executor ray``.

    Attributes:
        address: Of the cluster: ``auto`` for the one that this machine belongs to, or ``HOST:PORT`` of its head. null
            starts one on this machine alone, which ends with the command.
        cpus: Processor cores of a task. null takes one for each process of it, or four for each GPU.
        gpus: GPUs of a task; a fraction where several share one. null takes ``hardware.devices`` where the cluster has
            GPUs and ``hardware.device`` allows them.
        memory_gb: Memory that Ray sets aside for a task, in gigabytes; null does not count it.
        retries: How often Ray starts a task again whose worker died or whose machine was taken away. It goes on from
            its last checkpoint.
    """

    address: str | None = None
    cpus: int | None = None
    gpus: float | None = None
    memory_gb: float | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a number is out of its range.
        """
        if self.cpus is not None:
            require_whole("ray.cpus", self.cpus, 1, MOST_PROCESSES)
        if self.gpus is not None:
            require_real("ray.gpus", self.gpus, 0.0, float(MOST_PROCESSES))
        if self.memory_gb is not None:
            require_real("ray.memory_gb", self.memory_gb, 0.0, above=True)
        require_whole("ray.retries", self.retries, 0)
