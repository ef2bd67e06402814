"""What hooks into a Trainer: one callback a file."""

from __future__ import annotations

from muster.callbacks.ensemble_selection import EnsembleSelection

__all__ = ["EnsembleSelection"]
