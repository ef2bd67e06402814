"""The probe set: which pixels of the target transferability is measured on, and what each member says there."""

from __future__ import annotations

from muster.probe.cache import ProbeCache, default_cache_folder, prediction_key
from muster.probe.members import member_probabilities
from muster.probe.pixels import ProbeSet, draw_probe_set
from muster.probe.read import ProbeReader, read_corners, read_pixels

__all__ = [
    "ProbeCache",
    "ProbeReader",
    "ProbeSet",
    "default_cache_folder",
    "draw_probe_set",
    "member_probabilities",
    "prediction_key",
    "read_corners",
    "read_pixels",
]
