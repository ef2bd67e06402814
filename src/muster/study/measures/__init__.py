"""What a study measures: pure functions on its tidy tables, one file a question."""

from __future__ import annotations

from muster.study.measures.agreement import CORRELATIONS, agreement
from muster.study.measures.candidates import CELL, MEAN, Candidates, Scores, candidates_of, without_pool
from muster.study.measures.ceiling import Ceiling, ceiling, simulate_metric
from muster.study.measures.intervals import member_draws, tau_interval
from muster.study.measures.seed_agreement import seed_agreement
from muster.study.measures.seed_noise import SeedNoise, seed_noise
from muster.study.measures.static_orders import STATIC_ORDERS, past_results, static_orders
from muster.study.measures.strata import ALL, STRATA, strata_of

__all__ = [
    "ALL",
    "CELL",
    "CORRELATIONS",
    "MEAN",
    "STATIC_ORDERS",
    "STRATA",
    "Candidates",
    "Ceiling",
    "Scores",
    "SeedNoise",
    "agreement",
    "candidates_of",
    "ceiling",
    "member_draws",
    "past_results",
    "seed_agreement",
    "seed_noise",
    "simulate_metric",
    "static_orders",
    "strata_of",
    "tau_interval",
    "without_pool",
]
