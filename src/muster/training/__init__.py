"""Training: LightningModules and fits of source models, of fine-tuned members and of ensemble heads."""

from __future__ import annotations

from muster.training.ensemble_card import EnsembleError
from muster.training.finetuned_ensemble import Ensemble, load_ensemble

__all__ = ["Ensemble", "EnsembleError", "load_ensemble"]
