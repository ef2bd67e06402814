"""How processes that share work find each other: by torchrun, by srun, or because the first one starts them."""

from __future__ import annotations

import os

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
