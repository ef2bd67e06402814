"""Networks by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from muster.data.statistics import ChannelStatistics
from muster.errors import ConfigError
from muster.models.family import FAMILIES, Family
from muster.models.pretraining.scheme import SCHEMES, scheme_of
from muster.models.segmenter import Body, Segmenter


def list_architectures() -> tuple[str, ...]:
    """Every name that :func:`build_model` takes.

    Returns:
        The small networks; ``hrnet_wN``, where N is any width; and ``NAME:ENCODER`` for each SMP architecture, where
        ENCODER is an SMP encoder (``resnet18``) or ``tu-`` and a timm model (``tu-resnet10t``).
    """
    return FAMILIES.spellings()


def build_model(architecture: str, num_classes: int, pretraining: str = "none", seed: int = 0) -> Segmenter:
    """Build a network with a linear head.

    Args:
        architecture: A name as in :func:`list_architectures`, e.g. ``"small_fpn"``, ``"hrnet_w18"``,
            ``"unet:tu-resnet10t"``.
        num_classes: Classes of the head; at least 1.
        pretraining: ``"none"``; ``"imagenet"``, weights of this machine, of an installed package or of a hub for the
            encoder (SMP) or the body (HRNet); ``"simclr"``, such weights of this machine; or the path of a
            ``.safetensors`` file with a body of the same architecture, or with its backbone alone (see
            :mod:`muster.models.pretraining`).
        seed: The seed of all weights that ``pretraining`` does not set. They depend on nothing but the architecture,
            the number of classes (the body not even on that) and the seed; the global random state is left as it was.

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
    family, scheme = family_of(architecture), scheme_of(pretraining)
    family.check(architecture)
    with seeded(seed):
        started = scheme.build_body(family, architecture, pretraining)
    model = _with_head(architecture, started.body, num_classes, seed)
    model.started_from = started.known
    return model


def check_architecture(architecture: str) -> None:
    """Refuse a name that :func:`build_model` does not take, without building anything.

    Args:
        architecture: The name.

    Raises:
        ConfigError: If it, or the encoder in it, is not known.
    """
    family_of(architecture).check(architecture)


def weights_file(architecture: str, pretraining: str) -> Path | None:
    """The local file that a pre-training starts an architecture from.

    Args:
        architecture: Any name that :func:`build_model` takes.
        pretraining: What the user wrote.

    Returns:
        The file, or ``None`` for random weights and those of a hub.

    Raises:
        ConfigError: If no family takes the architecture.
        PretrainingError: If no scheme takes the pre-training, if the file is not there, or if it is of a kind that
            holds pickled objects.
    """
    return scheme_of(pretraining).file(family_of(architecture), architecture, pretraining)


def pretraining_statistics(architecture: str, pretraining: str) -> ChannelStatistics:
    """What images were normalised with when the weights that an architecture starts from were trained.

    Args:
        architecture: Any name that :func:`build_model` takes.
        pretraining: What the user wrote.

    Returns:
        Means and deviations of the backbone's usual ImageNet training.

    Raises:
        ConfigError: If nothing is pre-trained, or the statistics are not known.
        PretrainingError: If no scheme takes the pre-training.
    """
    family = family_of(architecture)
    is_random = scheme_of(pretraining) is SCHEMES["none"]
    found = None if is_random else family.statistics(architecture)
    if found is None:
        why = "starts from random weights" if is_random else "has a backbone whose statistics are not known"
        raise ConfigError(
            f"normalisation: {architecture!r} {why}. Use normalisation: source for it, e.g. by an override."
        )
    return found


def family_of(architecture: str) -> Family:
    """The family that builds an architecture.

    Args:
        architecture: The name.

    Returns:
        The family.

    Raises:
        ConfigError: If none takes the name.
    """
    return FAMILIES.meant_by("architecture", architecture)


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
def seeded(seed: int) -> Iterator[None]:
    """Draw from a seed within the block, and put the CPU generator back afterwards; those of GPUs are not touched."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)
