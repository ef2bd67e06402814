"""What hooks into a Trainer."""

from __future__ import annotations

from callbacks.selection import EnsembleSelection

__all__ = ["EnsembleSelection"]
