"""What a member of a pool says at the probe pixels: from the cache if it is there, otherwise by running the member.

Axis names: ``pixels`` the probe pixels, ``source_classes`` the member's classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float32
from torch import Tensor

from muster.errors import UnfitMemberError
from muster.pool import Member
from muster.probe.cache import ProbeCache, prediction_key
from muster.probe.ranks import flag_from_rank_zero, from_rank_zero, rank
from muster.probe.read import ProbeReader


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
    key = "" if cache is None else _key(member, reader)  # on every rank, so that all of them refuse a damaged member
    found = cache.get(key, *shape) if cache is not None and rank() == 0 else None
    if flag_from_rank_zero(found is not None, reader.device):
        return from_rank_zero(torch.empty(shape) if found is None else found, reader.device)
    model = member.load_model(reader.device)
    if model.body.minimum_side > reader.smallest_side:  # the same on every rank, whoever reads the smallest image
        raise UnfitMemberError(
            f"{member.card.architecture} needs images with sides of at least {model.body.minimum_side} pixels, but the "
            f"target's come down to {reader.smallest_side}. A larger image_size helps."
        )
    said = reader.read(model, progress)
    if cache is not None and rank() == 0:
        cache.put(key, said)
    return said


def _key(member: Member, reader: ProbeReader) -> str:
    """The cache key, after the weights on disk were compared with the card."""
    return prediction_key(
        member.verified_checksum(),
        member.card.architecture,
        reader.probe,
        reader.statistics,
        reader.image_size,
        reader.device.type,
    )
