"""A local file to start from, such as the ``model.safetensors`` of a pool member of the same architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from muster.errors import PretrainingError
from muster.models.pretraining.scheme import SCHEMES, Scheme
from muster.models.segmenter import Segmenter

_SUFFIX = ".safetensors"
_PICKLES = (".bin", ".ckpt", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".tar")
_HEAD = "head."
_SHOWN = 5


class WeightsFile(Scheme):
    """``PATH.safetensors``."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return (f"PATH{_SUFFIX}",)

    def takes(self, pretraining: str) -> bool:
        """Files of other kinds too, so that the message says why they are refused."""
        return Path(pretraining).suffix.lower() in {_SUFFIX, *_PICKLES}

    def file(self, pretraining: str) -> Path:
        """See :meth:`Scheme.file`."""
        path = Path(pretraining).expanduser()
        if path.suffix.lower() in _PICKLES:
            raise PretrainingError(
                f"Expected pretraining weights as {_SUFFIX}, but got {pretraining!r}: files of that kind can run code "
                "when they are opened. Save its tensors with safetensors.torch.save_file first."
            )
        if not path.is_file():
            raise PretrainingError(f"The pretraining weights {str(path)!r} do not exist or are not a file.")
        return path

    def load(self, model: Segmenter, pretraining: str) -> None:
        """See :func:`load_weights`."""
        load_weights(model, self.file(pretraining))


SCHEMES.add("file", WeightsFile())


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
