"""Files of pre-trained weights, read without running code."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from muster.errors import PretrainingError


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
