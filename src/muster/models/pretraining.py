"""Where initial weights come from: nowhere, a hub, or a local file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from muster.errors import PretrainingError, unknown_name
from muster.models.segmenter import Segmenter

PRETRAINING_SCHEMES: tuple[str, ...] = ("imagenet", "none")
"""The schemes that have a name; any other is the path of a ``.safetensors`` file."""

_PICKLES = (".bin", ".ckpt", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".tar")
_HEAD = "head."
_SHOWN = 5


def weights_file(pretraining: str) -> Path | None:
    """Tell a local file from a named scheme.

    Args:
        pretraining: ``"none"``, ``"imagenet"`` or the path of a ``.safetensors`` file.

    Returns:
        The file, or ``None`` for a named scheme.

    Raises:
        PretrainingError: If it is neither, if the file is not there, or if it is of a kind that holds pickled objects.
    """
    if pretraining in PRETRAINING_SCHEMES:
        return None
    path = Path(pretraining).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise PretrainingError(
            f"Expected pretraining weights as .safetensors, but got {pretraining!r}: files of that kind can run code "
            "when they are opened. Save its tensors with safetensors.torch.save_file first."
        )
    if path.suffix.lower() != ".safetensors":
        names = (*PRETRAINING_SCHEMES, "PATH.safetensors")
        raise PretrainingError(unknown_name("pretraining", pretraining, names))
    if not path.is_file():
        raise PretrainingError(f"The pretraining weights {str(path)!r} do not exist or are not a file.")
    return path


@contextmanager
def hub_weights(weights: str) -> Iterator[None]:
    """Explain a download that fails within the block.

    Args:
        weights: Which weights, in words that go into the message.

    Yields:
        Nothing.

    Raises:
        PretrainingError: If the hub cannot be reached and the weights are not in its local cache.
    """
    try:
        with warnings.catch_warnings():
            # SMP then tries another address; that too may fail, and then the error below says so.
            warnings.filterwarnings("ignore", message="Error loading .* trying loading from original url")
            yield
    # OSError covers what is missing in the cache, sockets, time-outs and urllib.
    except (OSError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise PretrainingError(
            f"Cannot get {weights}: the hub was not reachable, and they are not in its local cache "
            f"({type(error).__name__}: {error}). Use pretraining=none, give the path of a local .safetensors file, "
            "or try again with a connection."
        ) from error


def load_weights(model: Segmenter, path: Path) -> None:
    """Start from a local file, such as the ``model.safetensors`` of a pool member of the same architecture.

    Only the body is loaded: two datasets with equally many classes do not share their meaning, so a head in the file is
    left where it is.

    Args:
        model: What to load into, in place; untouched if anything is wrong.
        path: The ``.safetensors`` file, with the keys of :meth:`torch.nn.Module.state_dict`.

    Raises:
        PretrainingError: If the file cannot be read, or its body does not have exactly the model's keys and shapes.
    """
    try:
        found = load_file(path, device="cpu")
    except (OSError, SafetensorError) as error:
        raise PretrainingError(
            f"Cannot read the pretraining weights {str(path)!r}: {error}. Is it complete?"
        ) from error
    expected = model.state_dict()
    found = {key: tensor for key, tensor in found.items() if not key.startswith(_HEAD)}
    found |= {key: tensor for key, tensor in expected.items() if key.startswith(_HEAD)}
    _check_keys(model.architecture, path, expected, found)
    model.load_state_dict(found)


def _check_keys(architecture: str, path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise an error that says what is missing, unknown or of the wrong shape or type."""
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
    told = [f"{len(keys)} {fault}: {_some(keys)}" for fault, keys in faults.items() if keys]
    if told:
        raise PretrainingError(
            f"The weights {str(path)!r} do not fit {architecture!r} ({len(expected)} tensors): {'; '.join(told)}. "
            "Give weights of the same architecture."
        )


def _some(keys: list[str]) -> str:
    """The first few, and how many more there are."""
    rest = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
