"""Reading members on more and more of the probe images, without running a member twice on any.

Images are named by their places in the split that the probe set was drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float32
from torch import Tensor

from muster.models import SourceModel
from muster.probe.pixels import ProbeSet
from muster.probe.read import ProbeReader
from muster.probe.reading import Reading


@dataclass
class KnownReadings:
    """What members made of some images, in the memory of the host.

    Attributes:
        most_bytes: Most that is kept; what has no room is read again.
    """

    most_bytes: float
    _kept: dict[str, tuple[tuple[int, ...], Reading]] = field(default_factory=dict)

    def of(self, member: str, features: bool, stages: bool) -> tuple[tuple[int, ...], Reading] | None:
        """The images that a member was read on, and the reading, if it holds what is wanted now."""
        found = self._kept.get(member)
        if found is None or (features and not found[1].features.numel()) or (stages and not found[1].stages):
            return None
        return found

    def keep(self, member: str, images: tuple[int, ...], reading: Reading) -> None:
        """Keep a reading in place of the member's earlier one."""
        self._kept.pop(member, None)
        if _bytes(reading) + sum(_bytes(each) for _, each in self._kept.values()) <= self.most_bytes:
            self._kept[member] = images, reading.moved(torch.device("cpu"))

    def forget_all_but(self, members: Collection[str]) -> None:
        """Make room: others will not be read any more."""
        self._kept = {name: kept for name, kept in self._kept.items() if name in members}


class GrowingReader(ProbeReader):
    """Reads some of the probe images, and of each member only those that were not read before.

    The numbers are those of a plain reader up to the rounding of other batches.
    """

    def __init__(self, whole: ProbeReader, known: KnownReadings, images: Sequence[int] | None = None) -> None:
        """Say which images.

        Args:
            whole: Reads all of them.
            known: What was read so far; readers of other images of the same probe set share it.
            images: Ascending places of images that have probe pixels; ``None`` for all images.
        """
        self._whole, self._known = whole, known
        self._images = whole.probe.images if images is None else tuple(images)
        part = whole if images is None else whole.of_images(self._images)
        super().__init__(
            part._split, part.probe, whole.preprocessing, whole.device, whole._batch_size, whole._num_workers,
            whole.precision, whole.elsewhere,
        )  # fmt: skip
        self._parts: dict[tuple[int, ...], ProbeReader] = {}

    def read(
        self, model: SourceModel, progress: Callable[[int, int], None] | None = None, of: str = ""
    ) -> Float32[Tensor, "pixels source_classes"]:
        """See :meth:`ProbeReader.read`."""
        return self._grown(of, model, progress, features=False, stages=False).probabilities

    def read_all(
        self,
        model: SourceModel,
        progress: Callable[[int, int], None] | None = None,
        stages: bool = True,
        of: str = "",
    ) -> Reading:
        """See :meth:`ProbeReader.read_all`."""
        return self._grown(of, model, progress, features=True, stages=stages)

    def _grown(
        self, of: str, model: SourceModel, progress: Callable[[int, int], None] | None, features: bool, stages: bool
    ) -> Reading:
        known = self._known.of(of, features, stages) if of else None
        if known is None or not set(known[0]) <= set(self._images):
            reading = self._read(model, progress, features, stages)
        else:
            reading = self._with_the_rest(*known, model, progress, features, stages)
        if of and len(self._images) < len(self._whole.probe.images):
            self._known.keep(of, self._images, reading)
        return reading

    def _with_the_rest(
        self,
        images: tuple[int, ...],
        before: Reading,
        model: SourceModel,
        progress: Callable[[int, int], None] | None,
        features: bool,
        stages: bool,
    ) -> Reading:
        rest = tuple(sorted(set(self._images) - set(images)))
        if not rest:
            return before.moved(self.device)
        if rest not in self._parts:  # all members that have seen the same images share it
            self._parts[rest] = self._whole.of_images(rest)
        added = self._parts[rest]._read(model, progress, features, stages)
        return joined(self._whole.probe, [(images, before.moved(added.probabilities.device)), (rest, added)])


def joined(probe: ProbeSet, parts: Sequence[tuple[tuple[int, ...], Reading]]) -> Reading:
    """One reading of readings on different images.

    Args:
        probe: The whole set.
        parts: Ascending places of images, and what was read of them; what one lacks, the whole lacks.

    Returns:
        Pixels and images in the order of the set.
    """
    images = torch.tensor([image for some, _ in parts for image in some])
    counts = torch.tensor(probe.starts).diff()[images]
    order, starts = images.argsort(), counts.cumsum(0) - counts
    pixels = torch.cat([torch.arange(int(starts[place]), int(starts[place] + counts[place])) for place in order])
    readings = [reading for _, reading in parts]
    return Reading(
        _in_order([reading.probabilities for reading in readings], pixels),
        _in_order([reading.features for reading in readings], pixels),
        _in_order([reading.image_features for reading in readings], order),
        tuple(_in_order(list(stage), order) for stage in zip(*(reading.stages for reading in readings), strict=False)),
    )


def _in_order(parts: Sequence[Tensor], order: Tensor) -> Tensor:
    if any(len(part) == 0 for part in parts):
        return parts[0][:0]
    whole = torch.cat(list(parts))
    return whole[order.to(whole.device)]


def _tensors(reading: Reading) -> tuple[Tensor, ...]:
    return reading.probabilities, reading.features, reading.image_features, *reading.stages


def _bytes(reading: Reading) -> int:
    return sum(values.nbytes for values in _tensors(reading))
