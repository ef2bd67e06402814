"""What hooks into a Trainer: :mod:`muster.callbacks`, under a short name for work in this repository."""

from __future__ import annotations

from muster.callbacks import EnsembleSelection

__all__ = ["EnsembleSelection"]
