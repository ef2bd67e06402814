"""LightningModules, pool training, fine-tuning."""

from __future__ import annotations

from muster.tasks.ensemble import Ensemble, EnsembleError, load_ensemble

__all__ = ["Ensemble", "EnsembleError", "load_ensemble"]
