"""Tensors of weights files, read without running code, and what keeps them from fitting a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from muster.errors import PretrainingError

_SHOWN = 5


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file.

    Args:
        path: The file.

    Returns:
        By name, on the CPU.

    Raises:
        PretrainingError: If the file cannot be read.
    """
    try:
        return load_file(path, device="cpu")
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """What a ``.safetensors`` file says of itself.

    Args:
        path: The file.

    Returns:
        Texts by name; empty if it says nothing.

    Raises:
        PretrainingError: If the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> PretrainingError:
    return PretrainingError(f"Cannot read the pretraining weights {str(path)!r}: {error}. Is it complete?")


def faults_of(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What is missing, unknown, of the wrong shape or type, or no number.

    Args:
        expected: The network's tensors.
        found: What shall take their places.

    Returns:
        One phrase a kind of fault, with a count and the first few names; empty if all fits.
    """
    shared = sorted(expected.keys() & found.keys())
    faults = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{key} (expected {list(expected[key].shape)}, got {list(found[key].shape)})"
            for key in shared
            if expected[key].shape != found[key].shape
        ],
        "of another kind of number": [
            f"{key} (expected {expected[key].dtype}, got {found[key].dtype})"
            for key in shared
            if expected[key].is_floating_point() != found[key].is_floating_point()
        ],
        "not finite": [key for key in shared if not torch.isfinite(found[key]).all()],
    }
    return [f"{len(keys)} {fault}: {shorten(keys)}" for fault, keys in faults.items() if keys]


def shorten(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    names = list(names)
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
