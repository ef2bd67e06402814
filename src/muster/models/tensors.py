"""Weights in files: written as safetensors, and what others saved read without ever unpickling objects."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muster.errors import ConfigError
from muster.user_files import require_regular

_NESTED = (
    *("state_dict", "model_state_dict", "model_state", "classy_state_dict", "base_model", "model"),
    *("net", "trunk", "params", "weights"),
)
"""Keys under which training scripts keep the weights in a checkpoint; VISSL's lie under four of them."""

_SHOWN = 5


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote of a state_dict, alone or in a checkpoint.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        ConfigError: If it cannot be read, holds other objects than tensors and plain values, or no weights.
    """
    try:
        require_regular(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path} holds more than tensors and plain values, which could run code when it is opened. Save the "
            "state_dict of the model alone, best with safetensors.torch.save_file."
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as weights: {error}") from error
    tensors = tensors_in(content)
    if not tensors:
        raise ConfigError(f"{path} holds no weights: expected a mapping of names to tensors.")
    return tensors


def write_tensors(network: nn.Module, path: Path) -> None:
    """Write all weights and buffers of a network as safetensors.

    Args:
        network: On any device.
        path: The file.
    """
    save_file({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, path)


def tensors_in(content: object) -> dict[str, Tensor]:
    """Take weights out of the checkpoint that they may lie in.

    Args:
        content: What ``torch.load`` gave.

    Returns:
        Tensors by name; none if there is no mapping of names to tensors.
    """
    if not isinstance(content, Mapping):
        return {}
    nested = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
    if nested is not None:
        return tensors_in(nested)
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor], where: str, optional: Iterable[str] = ()) -> None:
    """Load weights into the network that they are of.

    Names may have a prefix in common that wrappers add (``module.``, ``model.``).

    Args:
        network: Changed in place; untouched if anything is wrong.
        tensors: By name.
        where: What to call them in messages.
        optional: Beginnings of names that may be left out on either side.

    Raises:
        ConfigError: If a tensor is missing, left over, or has another shape.
    """
    expected = network.state_dict()
    found = _without_prefix(tensors, expected)
    skipped = tuple(optional)
    counted = {key: value for key, value in found.items() if key in expected or not key.startswith(skipped)}
    needed = {
        key: value
        for key, value in expected.items()
        if key in found or not (key.startswith(skipped) or key.endswith("num_batches_tracked"))
    }
    if told := _told(_misfits(needed, counted)):
        raise ConfigError(f"The weights {where} do not fit the network ({len(expected)} tensors): {'; '.join(told)}.")
    network.load_state_dict({key: found[key] for key in needed}, strict=False)


def _without_prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what all names begin with, one part after the other, until they meet those that are expected."""
    found = dict(tensors)
    while found and not found.keys() & expected.keys():
        first = {key.partition(".")[0] for key in found}
        if len(first) != 1 or not all("." in key for key in found):
            return dict(tensors)
        found = {key.partition(".")[2]: value for key, value in found.items()}
    return found


def faults_of(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What is missing, unknown, of the wrong shape or type, or no number.

    Args:
        expected: The network's tensors.
        found: What shall take their places.

    Returns:
        One phrase a kind of fault, with a count and the first few names; empty if all fits.
    """
    shared = sorted(expected.keys() & found.keys())
    faults = _misfits(expected, found) | {
        "of another kind of number": [
            f"{key} (expected {expected[key].dtype}, got {found[key].dtype})"
            for key in shared
            if expected[key].is_floating_point() != found[key].is_floating_point()
        ],
        "not finite": [key for key in shared if not torch.isfinite(found[key]).all()],
    }
    return _told(faults)


def _misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Names of tensors that have no place, or not the shape of theirs."""
    return {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{key} (expected {list(expected[key].shape)}, got {list(found[key].shape)})"
            for key in sorted(expected.keys() & found.keys())
            if expected[key].shape != found[key].shape
        ],
    }


def _told(faults: Mapping[str, Sequence[str]]) -> list[str]:
    """One phrase a kind of fault."""
    return [f"{len(keys)} {fault}: {_some(keys)}" for fault, keys in faults.items() if keys]


def _some(keys: Sequence[str]) -> str:
    rest = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
