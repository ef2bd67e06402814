"""Work split over the processes of a distributed run; in a single process everything here does nothing.

Every rank ends with the same arrays, so whatever follows is the same on all of them without another exchange.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that share the work."""
    return dist.get_world_size() if _is_distributed() else 1


def rank() -> int:
    """Number of this process among them; rank zero alone touches files."""
    return dist.get_rank() if _is_distributed() else 0


def sum_over_ranks(values: Tensor, device: torch.device) -> Tensor:
    """Add up a tensor over the processes.

    Args:
        values: Of the same shape on every rank.
        device: This rank's device, through which NCCL has to go.

    Returns:
        The sum, where the values are; exact where all ranks but one hold zeros.
    """
    if world_size() == 1:
        return values
    moved = values.to(_exchange_device(device))
    dist.all_reduce(moved)
    return moved.to(values.device)


def from_rank_zero(values: Tensor, device: torch.device) -> Tensor:
    """The tensor that rank zero holds.

    Args:
        values: Of the same shape and type on every rank; only rank zero's content counts.
        device: This rank's device.

    Returns:
        Rank zero's values, where this rank's are.
    """
    if world_size() == 1:
        return values
    moved = values.to(_exchange_device(device))
    dist.broadcast(moved, src=0)
    return moved.to(values.device)


def flag_from_rank_zero(flag: bool, device: torch.device) -> bool:
    """What rank zero says, where ranks might see different things, e.g. a file that appears just now."""
    return bool(from_rank_zero(torch.tensor(int(flag)), device))


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _exchange_device(device: torch.device) -> torch.device:
    return device if dist.get_backend() == "nccl" else torch.device("cpu")
