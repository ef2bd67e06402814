"""Weights that others saved: read without ever unpickling objects, and loaded into the network that they are of."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from muster.errors import ConfigError
from muster.user_files import require_regular

_NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net")
"""Keys under which training scripts keep the weights in a checkpoint."""

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
    return _weights_in(content, path)


def _weights_in(content: object, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for key in _NESTED:
            if isinstance(content.get(key), Mapping):
                return _weights_in(content[key], path)
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise ConfigError(f"{path} holds no weights: expected a mapping of names to tensors.")


def load_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], where: str, optional: Iterable[str] = (), prefix: str = ""
) -> None:
    """Load weights into the network that they are of.

    Names may have a prefix in common that wrappers add (``module.``, ``model.``).

    Args:
        network: Changed in place; untouched if anything is wrong.
        tensors: By name.
        where: What to call them in messages.
        optional: Beginnings of names that may be left out on either side.
        prefix: One that is known to be in common.

    Raises:
        ConfigError: If a tensor is missing, left over, or has another shape.
    """
    expected = network.state_dict()
    found = _without_prefix({key.removeprefix(prefix): value for key, value in tensors.items()}, expected)
    skipped = tuple(optional)
    missing = [key for key in expected if key not in found and not key.startswith(skipped or ("\0",))]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    left = [key for key in found if key not in expected and not key.startswith(skipped or ("\0",))]
    shared = [key for key in expected if key in found]
    shapes = [
        f"{key} (expected {list(expected[key].shape)}, got {list(found[key].shape)})"
        for key in shared
        if expected[key].shape != found[key].shape
    ]
    faults = {"missing": missing, "unexpected": left, "of another shape": shapes}
    told = [f"{len(keys)} {fault}: {_some(keys)}" for fault, keys in faults.items() if keys]
    if told:
        raise ConfigError(f"The weights {where} do not fit the network ({len(expected)} tensors): {'; '.join(told)}.")
    network.load_state_dict({key: found[key] for key in shared}, strict=False)


def _without_prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what all names begin with, one part after the other, until they meet those that are expected."""
    found = dict(tensors)
    while found and not found.keys() & expected.keys():
        first = {key.partition(".")[0] for key in found}
        if len(first) != 1 or not all("." in key for key in found):
            return dict(tensors)
        found = {key.partition(".")[2]: value for key, value in found.items()}
    return found


def _some(keys: list[str]) -> str:
    rest = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
