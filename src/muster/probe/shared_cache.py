"""What other processes read of members for one run, in a folder that they and this one see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from muster.probe.cache import ProbeCache
from muster.probe.reading import Reading

_STAGE = "stage_"


@dataclass(frozen=True)
class SharedCache(ProbeCache):
    """A folder that others write to while a run lasts, with the lasting cache behind it.

    Nothing is lost from the folder until it is deleted as a whole. What is in it goes into the lasting cache in the
    end, whose limit it may exceed before.

    Attributes:
        kept: The lasting cache, if there is one.
    """

    kept: ProbeCache | None = None

    def get_tensors(self, key: str) -> dict[str, Tensor] | None:
        """See :meth:`ProbeCache.get_tensors`."""
        found = super().get_tensors(key)
        return found if found is not None or self.kept is None else self.kept.get_tensors(key)

    def holds(self, key: str) -> bool:
        """See :meth:`ProbeCache.holds`."""
        return super().holds(key) or (self.kept is not None and self.kept.holds(key))

    def keep_reading(self, key: str, reading: Reading) -> None:
        """Keep all that was read of a member; it does not go into the lasting cache, which it would fill.

        Args:
            key: Of the member's probabilities.
            reading: What was read.
        """
        stages = {f"{_STAGE}{place}": stage for place, stage in enumerate(reading.stages)}
        parts = {"probabilities": reading.probabilities, "features": reading.features}
        self.put_tensors(reading_key(key), {**parts, "image_features": reading.image_features, **stages})

    def reading(self, key: str, stages: bool) -> Reading | None:
        """Look up what :meth:`keep_reading` kept.

        Args:
            key: As there.
            stages: Whether what each stage makes of an image is wanted, too.

        Returns:
            The reading, on the CPU; ``None`` if it is not there, or has no stages although they are wanted.
        """
        found = ProbeCache.get_tensors(self, reading_key(key))
        if found is None or (stages and f"{_STAGE}0" not in found):
            return None
        count = sum(name.startswith(_STAGE) for name in found)
        parts = tuple(found[f"{_STAGE}{place}"] for place in range(count))
        return Reading(found["probabilities"], found["features"], found["image_features"], parts)

    def hand_over(self) -> None:
        """Put all but whole readings into the lasting cache.

        Warns:
            UserWarning: If something cannot be written there.
        """
        self.finish()
        if self.kept is not None:
            for path in self._to_hand_over():
                self.kept.take_over(path)
            self.kept.finish()

    def _to_hand_over(self) -> Iterator[Path]:
        keys = {path.stem: path for path, _, _ in self._entries()}
        readings = {reading_key(key) for key in keys}
        return (path for key, path in keys.items() if key not in readings)


def reading_key(key: str) -> str:
    """The key of a whole reading, by that of the probabilities in it."""
    return hashlib.sha256(f"{key} reading".encode()).hexdigest()
