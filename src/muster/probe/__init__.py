"""The probe set: the pixels on which transferability is measured, and each member's predictions there."""

from __future__ import annotations

from muster.probe.cache import ProbeCache, default_cache_folder, prediction_key
from muster.probe.interpolation import read_batch, read_corners, read_pixels
from muster.probe.members import keep, look_up, member_key, member_probabilities, member_reading
from muster.probe.pixels import ProbeSet, draw_probe_set
from muster.probe.read import ProbeReader
from muster.probe.reading import Reading

__all__ = [
    "ProbeCache",
    "ProbeReader",
    "ProbeSet",
    "Reading",
    "default_cache_folder",
    "draw_probe_set",
    "keep",
    "look_up",
    "member_key",
    "member_probabilities",
    "member_reading",
    "prediction_key",
    "read_batch",
    "read_corners",
    "read_pixels",
]
