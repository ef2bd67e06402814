"""The probe set: the pixels on which transferability is measured, and each member's predictions there."""

from __future__ import annotations

from muster.probe.cache import ProbeCache, default_cache_folder, prediction_key
from muster.probe.interpolation import read_batch, read_corners, read_pixels
from muster.probe.members import member_key, member_probabilities, member_reading
from muster.probe.pixels import ProbeSet, draw_probe_set
from muster.probe.read import Elsewhere, ProbeReader
from muster.probe.reading import Reading
from muster.probe.shared_cache import SharedCache

__all__ = [
    "Elsewhere",
    "ProbeCache",
    "ProbeReader",
    "ProbeSet",
    "Reading",
    "SharedCache",
    "default_cache_folder",
    "draw_probe_set",
    "member_key",
    "member_probabilities",
    "member_reading",
    "prediction_key",
    "read_batch",
    "read_corners",
    "read_pixels",
]
