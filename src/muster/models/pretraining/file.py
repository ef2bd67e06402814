"""A local file to start from: a whole network of the same architecture, or weights of its backbone alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from muster.errors import PretrainingError
from muster.models.backbone import fit_by_name, without_counters
from muster.models.family import Family
from muster.models.pretraining.local import SUFFIX, known_of_file
from muster.models.pretraining.scheme import SCHEMES, Scheme, StartedBody
from muster.models.pretraining.tensors import read_safetensors
from muster.models.segmenter import Body
from muster.models.tensors import faults_of

PICKLES = (".bin", ".ckpt", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".tar")
"""Endings of files that may hold objects beside tensors."""

_BODY, _HEAD, _INNER = "body.", "head.", "inner."


class WeightsFile(Scheme):
    """``PATH.safetensors``."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return (f"PATH{SUFFIX}",)

    def takes(self, pretraining: str) -> bool:
        """Files of other kinds too, so that the message says why they are refused."""
        return Path(pretraining).suffix.lower() in {SUFFIX, *PICKLES}

    def file(self, family: Family, architecture: str, pretraining: str) -> Path:  # noqa: ARG002 (of any)
        """See :meth:`Scheme.file`."""
        path = Path(pretraining).expanduser()
        if path.suffix.lower() in PICKLES:
            raise PretrainingError(
                f"Expected pretraining weights as {SUFFIX}, but got {pretraining!r}: files of that kind can run code "
                "when they are opened. Make one of it first: muster weights convert"
            )
        if not path.is_file():
            raise PretrainingError(f"The pretraining weights {str(path)!r} do not exist or are not a file.")
        return path

    def build_body(self, family: Family, architecture: str, pretraining: str) -> StartedBody:
        """See :meth:`Scheme.build_body`."""
        path = self.file(family, architecture, pretraining)
        body = family.build(architecture, imagenet=False)
        tensors = _of_the_body(body, _of_a_segmenter(read_safetensors(path)))
        backbone = _of_its_backbone(family, architecture, body, tensors)
        if backbone is None:
            told = _load_whole(architecture, body, tensors, path)
        else:
            told = load_backbone(family, architecture, body, backbone, path)
        return StartedBody(body, known_of_file(path) | {"tensors": told})


SCHEMES.add("file", WeightsFile())


def _of_a_segmenter(found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of the network within a member that classifies whole images or finds objects, by its own names."""
    if not any(name.startswith(f"{_INNER}{_BODY}") for name in found):
        return found
    return {name.removeprefix(_INNER): tensor for name, tensor in found.items() if name.startswith(_INNER)}


def _of_its_backbone(
    family: Family, architecture: str, body: Body, found: Mapping[str, Tensor]
) -> Mapping[str, Tensor] | None:
    """The tensors that are to be looked through for the backbone; ``None`` if the file is to start the whole body.

    A member of another architecture starts the backbone, if it has all of it.
    """
    keys = without_counters(family.backbone_keys(body))
    if not keys:
        return None
    if not any(name.startswith(_BODY) for name in found):
        return found
    names = without_counters(body.state_dict())
    if all(f"{_BODY}{name}" in found for name in names):
        return None
    inside = {name.removeprefix(_BODY): tensor for name, tensor in found.items() if name.startswith(_BODY)}
    return None if fit_by_name(family.backbone(architecture), keys, inside).missing else inside


def _of_the_body(body: Body, found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors by the names of a pool member, where they bear those of the body itself, as published ones may.

    A file of the whole network then starts all of it; the classifiers that it has beside stay where they are.
    """
    names = body.state_dict()
    if not without_counters(names).keys() <= found.keys():
        return found
    counters = {name: found.get(name, value) for name, value in names.items()}
    return {f"{_BODY}{name}": tensor for name, tensor in counters.items()}


def _load_whole(architecture: str, body: Body, found: Mapping[str, Tensor], path: Path) -> str:
    """Load weights of a network of the same architecture, such as the ``model.safetensors`` of a pool member.

    Only the body is loaded: two datasets with equally many classes do not share their meaning, so a head in the file is
    left where it is.

    Args:
        architecture: Its name, for messages.
        body: What to load into, in place; untouched if anything is wrong.
        found: The file's tensors, with the names of :meth:`muster.models.Segmenter.state_dict`.
        path: The file, for messages.

    Returns:
        How many tensors were loaded.

    Raises:
        PretrainingError: If the tensors do not have exactly the body's names and shapes.
    """
    expected = {f"{_BODY}{name}": tensor for name, tensor in body.state_dict().items()}
    tensors = {name: tensor for name, tensor in found.items() if not name.startswith(_HEAD)}
    if faults := faults_of(expected, tensors):
        raise PretrainingError(
            f"The weights {str(path)!r} do not fit {architecture!r} ({len(expected)} tensors): {'; '.join(faults)}. "
            "Give weights of the same architecture."
        )
    body.load_state_dict({name.removeprefix(_BODY): tensor for name, tensor in tensors.items()})
    return f"{len(tensors)} of {len(expected)} of the network before its head"


def load_backbone(family: Family, architecture: str, body: Body, found: Mapping[str, Tensor], path: Path) -> str:
    """Load weights of the backbone alone; the rest of the body keeps what it has.

    Args:
        family: Of the architecture.
        architecture: Its name.
        body: What to load into, in place; untouched if anything is wrong.
        found: The file's tensors, named as timm, torchvision or SMP do.
        path: The file, for messages.

    Returns:
        How many tensors were loaded, and how many of the file were left out.

    Raises:
        PretrainingError: If a tensor of the backbone is not in the file, or has another shape.
    """
    keys, backbone = without_counters(family.backbone_keys(body)), family.backbone(architecture)
    state = body.state_dict()
    fit = fit_by_name(backbone, keys, found)
    expected = {key: state[key] for key in (*fit.tensors, *fit.missing)}
    if faults := faults_of(expected, fit.tensors):
        raise PretrainingError(
            f"The weights {str(path)!r} ({len(found)} tensors) do not fit {backbone!r}, the backbone of "
            f"{architecture!r}: {len(fit.tensors)} of its {len(keys)} tensors are in the file, looked for by the names "
            f"of timm, torchvision and SMP; {'; '.join(faults)}. Give weights of this backbone, or of a whole network "
            "of the same architecture as a pool's model.safetensors has them."
        )
    body.load_state_dict(fit.tensors, strict=False)
    left = f"; {len(fit.unused)} of the file left out" if fit.unused else ""
    return f"{len(fit.tensors)} of {len(keys)} of the backbone {backbone}{left}"
