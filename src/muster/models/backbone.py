"""The backbone of a network: the part that is pre-trained by itself, under names that its makers gave.

One backbone has several namings: timm's, torchvision's, that of segmentation_models_pytorch (SMP), each with or without
a prefix for the network that it was taken out of. Tensors are matched by name; :func:`name_by_order` is for files whose
names nobody knows, and is used only where such a file is known or a person looks at the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from muster.errors import PretrainingError
from muster.late import late

timm, torchvision = late("timm"), late("torchvision")

_PREFIXES = (
    "",
    "module.",
    "model.",
    "encoder.",
    "encoder.model.",
    "backbone.",
    "backbone.model.",
    "module.encoder.",
    "module.backbone.",
)
"""What stands before the backbone's names where a file holds a larger network, or was saved from a wrapper."""

_TORCHVISION = {
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b1": "efficientnet_b1",
    "efficientnet_b2": "efficientnet_b2",
    "efficientnet_b3": "efficientnet_b3",
    "efficientnet_b4": "efficientnet_b4",
    "mnasnet_100": "mnasnet1_0",
    "mobilenetv2_100": "mobilenet_v2",
}
"""torchvision's models with other names inside than timm's, tensor by tensor in the same order; the rest (ResNet,
ResNeXt, DenseNet) have the same names."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a backbone; the counters of batch norms are left out of all three.

    Attributes:
        tensors: The file's tensors, by their names in the body.
        missing: Names in the body that the file has no tensor for.
        unused: Names in the file of tensors that the body has no place for, such as those of a classifier.
    """

    tensors: dict[str, Tensor]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def fit_by_name(backbone: str, keys: Mapping[str, str], found: Mapping[str, Tensor]) -> Fit:
    """Match the tensors of a file by the naming that fits best.

    Args:
        backbone: What timm or SMP call it, e.g. ``"mobilenetv2_100"``.
        keys: The name of each of its tensors in the body, with its name in timm's or SMP's network.
        found: The file's tensors.

    Returns:
        The best fit; it may be a bad one.
    """
    found = without_counters(found)
    keys = without_counters(keys)
    namings = [{name.removeprefix(p): name for name in found if name.startswith(p)} for p in _PREFIXES]
    namings += [torchvision_names(backbone, naming) for naming in namings]
    fits = [_fit(keys, found, naming) for naming in namings]
    return max(fits, key=lambda fit: len(fit.tensors))


def _fit(keys: Mapping[str, str], found: Mapping[str, Tensor], naming: Mapping[str, str]) -> Fit:
    """Match by one naming: from the backbone's names to the file's."""
    known = {_flat(name): theirs for name, theirs in naming.items()}
    places = {key: known[_flat(public)] for key, public in keys.items() if _flat(public) in known}
    missing = tuple(key for key in keys if key not in places)
    used = set(places.values())
    return Fit(
        {key: found[name] for key, name in places.items()},
        missing,
        tuple(name for name in found if name not in used),
    )


def without_counters(named: Mapping[str, Value]) -> dict[str, Value]:
    """All entries but those of the counters of batch norms, which some files leave out and nothing here reads."""
    return {name: value for name, value in named.items() if not name.endswith("num_batches_tracked")}


def _flat(name: str) -> str:
    """Timm writes ``stages_0`` for ``stages.0`` where it takes a network apart for its feature maps."""
    return name.replace(".", "_")


def torchvision_names(backbone: str, naming: Mapping[str, str]) -> dict[str, str]:
    """Translate torchvision's names to timm's.

    Args:
        backbone: timm's name of the network.
        naming: Names as torchvision may have given them, with what they stand for.

    Returns:
        timm's names with the same; empty if torchvision has no such network, or the names are not those of it.
    """
    return {our: naming[name] for our, name in _timm_and_torchvision(backbone) if name in naming}


@cache
def _timm_and_torchvision(backbone: str) -> tuple[tuple[str, str], ...]:
    """Both names of each tensor; none where torchvision has no such network. Both networks are built for it, once."""
    theirs = _TORCHVISION.get(backbone)
    if theirs is None:
        return ()
    with torch.device("meta"):
        names = torchvision.models.get_model(theirs, weights=None).state_dict()
    return tuple(zip(tensors_of_timm(backbone), names, strict=True))


def tensors_of_timm(backbone: str) -> dict[str, Tensor]:
    """Names and shapes of the tensors of timm's network with its classifier, in its order; without values.

    Args:
        backbone: timm's name of it.

    Returns:
        Tensors on the device ``meta``.

    Raises:
        PretrainingError: If timm has no such network.
    """
    if not timm.is_model(backbone):
        raise PretrainingError(f"timm has no network {backbone!r}, whose tensors could be named in their order.")
    with torch.device("meta"):
        network: torch.nn.Module = timm.create_model(backbone)
        return dict(network.state_dict())


def name_by_order(backbone: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors the names that timm's network has at the same places.

    Args:
        backbone: timm's name of the network.
        found: Tensors in the order in which a network of the same kind registers them; the last ones, of the
            classifier, may be missing.

    Returns:
        The same tensors by timm's names.

    Raises:
        PretrainingError: If their number, a shape, or a role (``weight``, ``running_mean``, ...) differs.
    """
    ours, theirs = without_counters(tensors_of_timm(backbone)), without_counters(found)
    classifier = str(timm.get_pretrained_cfg_value(backbone, "classifier") or "classifier")
    bodies = [name for name in ours if not name.startswith(f"{classifier}.")]
    if len(theirs) not in {len(ours), len(bodies)}:
        raise PretrainingError(
            f"Expected the {len(ours)} tensors of {backbone!r}, or the {len(bodies)} without its classifier, "
            f"but got {len(theirs)}."
        )
    names = list(ours) if len(theirs) == len(ours) else bodies
    _require_alike(backbone, {name: ours[name] for name in names}, theirs)
    return dict(zip(names, theirs.values(), strict=True))


def _require_alike(backbone: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Compare shapes and roles place by place."""
    differing: Sequence[str] = [
        f"{name} {list(tensor.shape)} and {name_of_theirs} {list(their_tensor.shape)}"
        for (name, tensor), (name_of_theirs, their_tensor) in zip(ours.items(), theirs.items(), strict=True)
        if tensor.shape != their_tensor.shape or name.rpartition(".")[2] != name_of_theirs.rpartition(".")[2]
    ]
    if differing:
        raise PretrainingError(
            f"{len(differing)} of {len(ours)} tensors are not those of {backbone!r} at the same places, the first: "
            f"{differing[0]}."
        )
