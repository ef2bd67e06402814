"""What a member of a pool says at the probe pixels: from the cache if it is there, otherwise by running the member.

Axis names: ``pixels`` the probe pixels, ``source_classes`` the member's classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float32
from torch import Tensor

from muster.errors import UnfitMemberError
from muster.models import Segmenter
from muster.pool import Member
from muster.probe.cache import ProbeCache, prediction_key
from muster.probe.read import ProbeReader, Reading
from muster.ranks import flag_from_rank_zero, from_rank_zero, rank


def member_probabilities(
    member: Member,
    reader: ProbeReader,
    cache: ProbeCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float32[Tensor, "pixels source_classes"]:
    """What a member says at the probe pixels.

    In a distributed run rank zero alone looks into the cache and writes to it.

    Args:
        member: The member.
        reader: Knows the probe set and the images.
        cache: Where predictions are kept, if anywhere.
        progress: Called with how many batches are done and how many there are, if the member has to be run.

    Returns:
        Probabilities, on the CPU. Not checked: a broken member gives NaN.

    Raises:
        UnfitMemberError: If its network cannot take images as small as some of these.
        PoolError: If the weights are missing or damaged, even if predictions from before that are in the cache.
    """
    shape = (len(reader.probe), len(member.card.classes))
    key = "" if cache is None else member_key(member, reader)  # on every rank: all of them refuse a damaged member
    found = look_up(key, shape, reader, cache)
    if found is not None:
        return found
    said = reader.read(_load(member, reader), progress)
    keep(key, said, cache)
    return said


def member_reading(
    member: Member,
    reader: ProbeReader,
    cache: ProbeCache | None = None,
    progress: Callable[[int, int], None] | None = None,
    stages: bool = True,
) -> Reading:
    """What a member says at the probe pixels, and the features that it says it from.

    The member is always run: its features would fill a cache. Its probabilities go there, for
    :func:`member_probabilities`.

    Args:
        member: The member.
        reader: Knows the probe set and the images.
        cache: Where probabilities are kept, if anywhere.
        progress: Called with how many batches are done and how many there are.
        stages: Whether what each stage of the network makes of an image is wanted too.

    Returns:
        The reading. Not checked: a broken member gives NaN.

    Raises:
        UnfitMemberError: If its network cannot take images as small as some of these.
        PoolError: If the weights are missing or damaged.
    """
    reading = reader.read_all(_load(member, reader), progress, stages)
    if cache is not None:
        keep(member_key(member, reader), reading.probabilities, cache)
    return reading


def look_up(key: str, shape: tuple[int, int], reader: ProbeReader, cache: ProbeCache | None) -> Tensor | None:
    """Look into the cache on rank zero, and tell all ranks.

    Args:
        key: What to look for.
        shape: What it must have.
        reader: Knows the device.
        cache: Where to look; ``None`` finds nothing.

    Returns:
        The same on every rank.
    """
    found = cache.get(key, *shape) if cache is not None and rank() == 0 else None
    if not flag_from_rank_zero(found is not None, reader.device):
        return None
    return from_rank_zero(torch.empty(shape) if found is None else found, reader.device)


def keep(key: str, values: Tensor, cache: ProbeCache | None) -> None:
    """Put something into the cache, on rank zero."""
    if cache is not None and rank() == 0:
        cache.put(key, values)


def _load(member: Member, reader: ProbeReader) -> Segmenter:
    model = member.load_model(reader.device)
    if model.body.minimum_side > reader.smallest_side:  # the same on every rank, whoever reads the smallest image
        raise UnfitMemberError(
            f"{member.card.architecture} needs images with sides of at least {model.body.minimum_side} pixels, but the "
            f"target's come down to {reader.smallest_side}. A larger image_size helps."
        )
    return model


def member_key(member: Member, reader: ProbeReader) -> str:
    """The cache key of a member's probabilities, after the weights on disk were compared with the card.

    Args:
        member: The member.
        reader: Knows the probe set and the images.

    Returns:
        See :func:`prediction_key`.

    Raises:
        PoolError: If the weights are missing or damaged.
    """
    return prediction_key(
        member.verified_checksum(),
        member.card.architecture,
        reader.probe,
        reader.statistics,
        reader.image_size,
        reader.device.type,
    )
