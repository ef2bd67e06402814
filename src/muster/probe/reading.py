"""What one member makes of the probe images, and the arrays that it is gathered in.

Axis names: ``pixels`` the probe pixels, ``images`` those of them that have any, ``source_classes`` the member's,
``dimensions`` of its features.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from muster.ranks import sum_over_ranks

_IN_FLIGHT = 2
"""Pinned chunks on their way to the host: one is copied by the device while the other is put in its place."""


@dataclass(frozen=True, eq=False)
class Reading:
    """All that metrics ask of one member, from one pass; float32, on the device that made it if it fits there.

    Attributes:
        probabilities: Source probabilities at the probe pixels.
        features: The map before the final classifier, interpolated at the probe pixels.
        image_features: Its spatial mean, one row an image of :attr:`ProbeSet.images`.
        stages: Per stage of the network, first to last, the spatial mean of its output for these images.
    """

    probabilities: Float32[Tensor, "pixels source_classes"]
    features: Float32[Tensor, "_ dimensions"]
    image_features: Float32[Tensor, "images dimensions"]
    stages: tuple[Float32[Tensor, "images _"], ...]

    @classmethod
    def of_probabilities(cls, probabilities: Float32[Tensor, "pixels source_classes"]) -> Reading:
        """A reading of which nothing else is wanted."""
        nothing = torch.zeros(0, 0, device=probabilities.device)
        return cls(probabilities, nothing, nothing, ())

    def moved(self, device: torch.device) -> Reading:
        """The same on a device."""
        return Reading(
            self.probabilities.to(device),
            self.features.to(device),
            self.image_features.to(device),
            tuple(stage.to(device) for stage in self.stages),
        )

    def summed_over_ranks(self, device: torch.device) -> Reading:
        """Put the shares of all processes together."""
        return Reading(
            sum_over_ranks(self.probabilities, device),
            sum_over_ranks(self.features, device),
            sum_over_ranks(self.image_features, device),
            tuple(sum_over_ranks(stage, device) for stage in self.stages),
        )


class RowBuffer:
    """An array whose rows come in any order: zeros until then.

    Rows made on a GPU for an array on the host travel in pinned memory while the GPU goes on.
    """

    def __init__(self, rows: int, columns: int, device: torch.device) -> None:
        """Make room for float32 rows on a device."""
        self._values = torch.zeros(rows, columns, device=device)
        self._on_the_way: deque[tuple[Tensor, Tensor, torch.cuda.Event]] = deque()

    def put(self, into: Int64[Tensor, " some"], rows: Float[Tensor, "some columns"]) -> None:
        """Put some rows in their places.

        Args:
            into: Their places, on the device of ``rows``.
            rows: Turned into float32.
        """
        rows = rows.float()
        if rows.device.type == "cuda" and self._values.device.type == "cpu":
            self._send(into, rows)
        else:
            self._values.index_copy_(0, into.to(self._values.device), rows.to(self._values.device))

    def whole(self) -> Float32[Tensor, "rows columns"]:
        """The array, after all that is on its way came in."""
        self._receive(0)
        return self._values

    def _send(self, into: Tensor, rows: Tensor) -> None:
        pinned = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in (into, rows)]
        for host, sent in zip(pinned, (into, rows), strict=True):
            host.copy_(sent, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(rows.device))
        self._on_the_way.append((pinned[0], pinned[1], arrived))
        self._receive(_IN_FLIGHT)

    def _receive(self, left: int) -> None:
        while len(self._on_the_way) > left:
            into, rows, arrived = self._on_the_way.popleft()
            arrived.synchronize()
            self._values.index_copy_(0, into, rows)
