"""How processes that share work find each other: by torchrun, by srun, or because the first one starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from muster.errors import ConfigError
from muster.launch import launched_nodes, launched_processes, launcher


def cluster_environment() -> ClusterEnvironment:
    """What Lightning is to ask for ranks and addresses.

    It is not left to look for itself: in a batch script of SLURM, or in a worker there, it would take the numbers of
    the allocation for processes that were started, and wait for them.

    Returns:
        SLURM's under srun, without its resubmission of jobs: the same command goes on from the last checkpoint.

    Raises:
        ConfigError: If srun started another number of tasks on each machine, or was not told the number.
    """
    started_by = launcher()
    if started_by == "torchrun":
        return TorchElasticEnvironment()
    if started_by == "none":
        return LightningEnvironment()
    each = os.environ.get("SLURM_NTASKS_PER_NODE", "none")
    if not each.isdecimal() or int(each) * launched_nodes() != launched_processes():
        raise ConfigError(
            f"srun started {launched_processes()} tasks on {launched_nodes()} machines, with --ntasks-per-node {each}: "
            "expected the same number of tasks on each machine. Give sbatch or srun --nodes and --ntasks-per-node, and "
            "no --ntasks."
        )
    return SLURMEnvironment(auto_requeue=False)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes that torchrun or srun started, if they did; a group that is there is left alone.

    Args:
        device: This process's.

    Yields:
        Nothing.
    """
    if launched_processes() == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    environment = cluster_environment()
    # Of srun's variables torch knows none, and of torchrun's store more than an address.
    place = f"tcp://{environment.main_address}:{environment.main_port}" if launcher() == "srun" else "env://"
    ranks = (environment.global_rank(), environment.world_size()) if launcher() == "srun" else (-1, -1)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", place, rank=ranks[0], world_size=ranks[1])
    try:
        yield
    finally:
        dist.destroy_process_group()
