"""Scoring: many candidate ensembles at once, from a store of the members' predictions."""

from __future__ import annotations

from muster.scoring.bootstrap import bootstrap_top_k
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.ranking import Ranking
from muster.scoring.score import list_candidates, score_ensembles
from muster.scoring.store_writer import StoreWriter

__all__ = [
    "PredictionStore",
    "Ranking",
    "StoreWriter",
    "bootstrap_top_k",
    "list_candidates",
    "score_ensembles",
]
