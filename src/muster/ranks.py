"""Work split over the processes of a distributed run; in a single process everything here does nothing.

Every rank ends with the same arrays, so whatever follows is the same on all of them without another exchange.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_APART = ContextVar("apart", default=False)


@contextmanager
def apart() -> Iterator[None]:
    """Within the block this process shares nothing with the others: it may do more or less than they do."""
    token = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(token)


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


def mean_over_ranks(values: Tensor, device: torch.device) -> Tensor:
    """:func:`sum_over_ranks`, divided by the number of processes: what each divides by where gradients are averaged.

    Args:
        values: Of the same shape on every rank.
        device: This rank's device.
    """
    return sum_over_ranks(values, device) / world_size()


def largest_over_ranks(values: Tensor, device: torch.device) -> Tensor:
    """The largest that any process has, element by element.

    Args:
        values: Of the same shape on every rank.
        device: This rank's device.

    Returns:
        The largest, where the values are.
    """
    if world_size() == 1:
        return values
    moved = values.to(_exchange_device(device))
    dist.all_reduce(moved, dist.ReduceOp.MAX)
    return moved.to(values.device)


def sum_with_gradients(values: Tensor) -> Tensor:
    """Add up a tensor over the processes as a step of the computation: gradients flow back to every process.

    Args:
        values: Of the same shape on every rank.

    Returns:
        The sum. As every rank's result depends on every rank's values, the gradient of each is summed likewise.
    """
    return values if world_size() == 1 else _SumWithGradients.apply(values)


class _SumWithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 (torch's signature)
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


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
    return not _APART.get() and dist.is_available() and dist.is_initialized()


def _exchange_device(device: torch.device) -> torch.device:
    return device if dist.get_backend() == "nccl" else torch.device("cpu")
