"""Networks by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from muster.errors import ConfigError, PretrainingError, unknown_name
from muster.models.hrnet import hrnet_body
from muster.models.pretraining import load_weights, weights_file
from muster.models.segmenter import Body, Segmenter
from muster.models.small import SMALL_BODIES
from muster.models.smp import SMP_ARCHITECTURES, check_encoder, smp_body

_HRNET = re.compile(r"hrnet_w([1-9][0-9]*)")


def list_architectures() -> tuple[str, ...]:
    """Every name that :func:`build_model` takes.

    Returns:
        The small networks; ``hrnet_wN``, where N is any width; and ``NAME:ENCODER`` for each SMP architecture, where
        ENCODER is an SMP encoder (``resnet18``) or ``tu-`` and a timm model (``tu-resnet10t``).
    """
    return (*sorted(SMALL_BODIES), "hrnet_wN", *(f"{name}:ENCODER" for name in SMP_ARCHITECTURES))


def build_model(architecture: str, num_classes: int, pretraining: str = "none", seed: int = 0) -> Segmenter:
    """Build a network with a linear head.

    Args:
        architecture: A name as in :func:`list_architectures`, e.g. ``"small_fpn"``, ``"hrnet_w18"``,
            ``"unet:tu-resnet10t"``.
        num_classes: Classes of the head; at least 1.
        pretraining: ``"none"``; ``"imagenet"``, weights of a hub for the encoder (SMP) or the body (HRNet); or the
            path of a ``.safetensors`` file with a body of the same architecture (see
            :func:`muster.models.load_weights`).
        seed: Of all weights that ``pretraining`` does not set. They depend on nothing but the architecture, the number
            of classes (the body not even on that) and the seed; the global random state is left as it was.

    Returns:
        The network, in training mode, on the CPU.

    Raises:
        ConfigError: If the architecture or its encoder is not known, or the number of classes is not positive.
        PretrainingError: If the weights cannot be had or do not fit.

    Example:
        >>> model = build_model("small_fpn", num_classes=5)
        >>> model(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 5, 16, 24])
    """
    if num_classes < 1:
        raise ConfigError(f"Expected a positive number of classes, but got num_classes={num_classes}.")
    check_architecture(architecture)
    path = weights_file(pretraining)
    with _seeded(seed):
        body = _build_body(architecture, imagenet=pretraining == "imagenet")
    model = _with_head(architecture, body, num_classes, seed)
    if path is not None:
        load_weights(model, path)
    return model


def check_architecture(architecture: str) -> None:
    """Refuse a name that :func:`build_model` does not take, without building anything.

    Args:
        architecture: The name.

    Raises:
        ConfigError: If it, or the encoder in it, is not known.
    """
    if architecture in SMALL_BODIES or _HRNET.fullmatch(architecture):
        return
    name, colon, encoder = architecture.partition(":")
    if architecture in SMP_ARCHITECTURES:
        raise ConfigError(
            f"Architecture {architecture!r} needs the name of an encoder, e.g. '{architecture}:resnet18'."
        )
    if not colon:
        raise ConfigError(unknown_name("architecture", architecture, list_architectures()))
    if name not in SMP_ARCHITECTURES:
        raise ConfigError(unknown_name("architecture (the part before the colon)", name, SMP_ARCHITECTURES))
    check_encoder(name, encoder)


def _build_body(architecture: str, imagenet: bool) -> Body:
    """Build what a valid name stands for."""
    if match := _HRNET.fullmatch(architecture):
        return hrnet_body(int(match[1]), imagenet)
    if architecture not in SMALL_BODIES:
        name, _, encoder = architecture.partition(":")
        return smp_body(name, encoder, imagenet)
    if imagenet:
        raise PretrainingError(
            f"There are no ImageNet weights for {architecture!r}. Use pretraining=none, a local .safetensors file, "
            "or another architecture."
        )
    return SMALL_BODIES[architecture]()


def _with_head(architecture: str, body: Body, num_classes: int, seed: int) -> Segmenter:
    """Put a head on, and say it in our words if a body from elsewhere cannot take the blank image it is tried on."""
    try:
        return Segmenter(architecture, body, num_classes, seed)
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"Architecture {architecture!r} cannot take images of any size, as it must here: {str(error).rstrip('.')}. "
            "Use another encoder, e.g. 'resnet18'."
        ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seed within the block, and put the CPU generator back afterwards; those of GPUs are not touched."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)
