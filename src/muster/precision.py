"""In which precision networks run, in probing and in training alike: one option, and what it means on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal, TypeAlias, get_args

import torch

from muster.errors import ConfigError, unknown_name

Precision: TypeAlias = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
"""``auto`` is bf16-mixed on a GPU that has it, and 32-true elsewhere."""

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """The precision that an option means on a device.

    Args:
        precision: See :data:`Precision`.
        device: Where the network runs.

    Returns:
        Any of them but ``auto``.

    Raises:
        ConfigError: If there is no such precision.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision: {unknown_name('precision', precision, get_args(Precision))}")
    if precision != "auto":
        return precision
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has_bf16 else "32-true"


@contextmanager
def forward_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Run forward passes inside the block in a precision, without TF32.

    TF32's error is a thousand times what scores may differ by between machines, and half precision is faster.

    Args:
        precision: What :func:`resolve_precision` gave.
        device: Where the network runs.
    """
    with ExitStack() as stack:
        stack.enter_context(full_products())
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False))
        stack.enter_context(autocast(precision, device))
        yield


def is_mixed(precision: str) -> bool:
    """Whether a resolved precision computes in half the bits where that does no harm."""
    return precision in _MIXED


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Compute within a block in mixed precision, if that is asked for.

    Args:
        precision: What :func:`resolve_precision` gave.
        device: Where.

    Returns:
        The context; it does nothing for ``32-true``.
    """
    return torch.autocast(device.type, _MIXED[precision]) if is_mixed(precision) else nullcontext()


def full_products() -> AbstractContextManager[None]:
    """Multiply float32 matrices in float32 inside the block, whatever was allowed outside."""
    return _products("highest")


def fast_products() -> AbstractContextManager[None]:
    """Let a GPU round float32 products to 10 bits (TF32) inside the block."""
    return _products("high")


@contextmanager
def _products(precision: str) -> Iterator[None]:
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
