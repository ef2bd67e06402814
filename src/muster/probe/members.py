"""A member's predictions at the probe pixels: from the cache if they are there, otherwise by running the member.

Axis names: ``pixels`` the probe pixels, ``source_classes`` the member's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from jaxtyping import Float32
from torch import Tensor

from muster.errors import PoolError
from muster.pool import Member
from muster.probe.cache import ProbeCache, prediction_key
from muster.probe.read import ProbeReader
from muster.probe.reading import Reading
from muster.probe.shared_cache import SharedCache
from muster.ranks import flag_from_rank_zero, from_rank_zero, rank


def member_probabilities(
    member: Member,
    reader: ProbeReader,
    cache: ProbeCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float32[Tensor, "pixels source_classes"]:
    """The source predictions of a member at the probe pixels.

    In a distributed run rank zero alone looks into the cache and writes to it.

    Args:
        member: The member.
        reader: Knows the probe set and the images.
        cache: Where predictions are kept, if anywhere.
        progress: Called with how many batches are done and how many there are, if the member has to be run.

    Returns:
        Probabilities, on the reader's device if they fit there. Not checked: a broken member gives NaN.

    Raises:
        PoolError: If the weights are missing or damaged, even if predictions from before that are in the cache.
    """
    shape = (len(reader.probe), len(member.card.classes))
    key = member_key(member, reader)
    with _verified_beside(member):  # on every rank: all of them refuse a damaged member
        found = _look_up(key, shape, reader, cache)
        if found is not None:
            return found
        _require_here(member, cache)
        predictions = reader.read(member.load_unverified(reader.device), progress, member.name)
    _keep(key, predictions, cache)
    return predictions


def member_reading(
    member: Member,
    reader: ProbeReader,
    cache: ProbeCache | None = None,
    progress: Callable[[int, int], None] | None = None,
    stages: bool = True,
) -> Reading:
    """A member's predictions at the probe pixels, and the features behind them.

    The member is run, as its features would fill a cache, unless somebody else just did so for this purpose (see
    :class:`muster.probe.shared_cache.SharedCache`). Its probabilities are cached, for :func:`member_probabilities`.

    Args:
        member: The member.
        reader: Knows the probe set and the images.
        cache: Where probabilities are kept, if anywhere.
        progress: Called with how many batches are done and how many there are.
        stages: Whether what each stage of the network makes of an image is wanted too.

    Returns:
        The reading. Not checked: a broken member gives NaN.

    Raises:
        PoolError: If the weights are missing or damaged.
    """
    key = member_key(member, reader)
    with _verified_beside(member):
        found = cache.reading(key, stages) if isinstance(cache, SharedCache) else None
        if found is not None:
            return found.moved(reader.device)
        _require_here(member, cache)
        reading = reader.read_all(member.load_unverified(reader.device), progress, stages, member.name)
    _keep(key, reading.probabilities, cache)
    return reading


def _require_here(member: Member, cache: ProbeCache | None) -> None:
    """Refuse to run a member that others were to run: on another device its numbers would be others."""
    if isinstance(cache, SharedCache):
        raise PoolError(
            f"Member {member.name!r} was run elsewhere, but what it gave is not in {cache.folder}, where it was "
            "written. Do all machines see that folder? The same command runs the member again."
        )


@contextmanager
def _verified_beside(member: Member) -> Iterator[None]:
    """Compare the member's weights with its card while the block runs, and be done with it when the block ends.

    Raises:
        PoolError: If the weights are missing or damaged, whatever else went wrong in the block.
    """
    with ThreadPoolExecutor(1, "checksum") as thread:
        verified = thread.submit(member.verified_checksum)
        try:
            yield
        finally:
            verified.result()


def _look_up(key: str, shape: tuple[int, int], reader: ProbeReader, cache: ProbeCache | None) -> Tensor | None:
    """Look into the cache on rank zero, and tell all ranks.

    Args:
        key: What to look for.
        shape: What it must have.
        reader: Knows the device.
        cache: Where to look; ``None`` finds nothing.

    Returns:
        The same on every rank, on the reader's device.
    """
    found = cache.get(key, *shape) if cache is not None and rank() == 0 else None
    if not flag_from_rank_zero(found is not None, reader.device):
        return None
    return from_rank_zero(torch.empty(shape) if found is None else found, reader.device).to(reader.device)


def _keep(key: str, values: Tensor, cache: ProbeCache | None) -> None:
    """Put something into the cache, on rank zero, while the caller goes on."""
    if cache is not None and rank() == 0:
        cache.put_later(key, values)


def member_key(member: Member, reader: ProbeReader) -> str:
    """The cache key of a member's probabilities, by the checksum on its card.

    What is found by it or put there is the member's only if its weights have that checksum.

    Args:
        member: The member.
        reader: Knows the probe set and the images.

    Returns:
        See :func:`prediction_key`.
    """
    return prediction_key(
        member.card.checksum,
        member.card.architecture,
        reader.probe,
        reader.preprocessing.seen_by(member.card.preprocessing),
        reader.made_on,
        reader.precision,
    )
