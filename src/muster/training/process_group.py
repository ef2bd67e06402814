"""One group of all processes that share work outside of a Trainer, such as a selection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from muster.launch import launched_processes, launcher


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
    from muster.training.cluster import cluster_environment  # here, since Lightning takes seconds to import

    environment = cluster_environment()
    # Of srun's variables torch knows none, and of torchrun's store more than an address.
    place = f"tcp://{environment.main_address}:{environment.main_port}" if launcher() == "srun" else "env://"
    ranks = (environment.global_rank(), environment.world_size()) if launcher() == "srun" else (-1, -1)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", place, rank=ranks[0], world_size=ranks[1])
    try:
        yield
    finally:
        dist.destroy_process_group()
