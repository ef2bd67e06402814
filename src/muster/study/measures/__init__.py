"""What a study measures: pure functions on its tidy tables, one file a question."""

from __future__ import annotations

from muster.study.measures.agreement import CORRELATIONS, agreement
from muster.study.measures.baselines import BASELINES, DEFAULT_PREDICTOR
from muster.study.measures.candidates import MEAN, Candidates, Scores, candidates_of, without_pool
from muster.study.measures.ceiling import Ceiling, Simulated, ceiling, simulate_metric
from muster.study.measures.choice_tables import ChoiceTables
from muster.study.measures.choices import CHOOSER, StudiedChoice, choices
from muster.study.measures.combination import COMBINATION, learned_combination
from muster.study.measures.counted_tau import CountedTau
from muster.study.measures.gains import gains
from muster.study.measures.greedy import greedy_ensemble
from muster.study.measures.headline import CONTENDERS, Headline, headline, standings
from muster.study.measures.intervals import member_draws, tau_interval
from muster.study.measures.metric_times import metric_seconds, tau_and_time
from muster.study.measures.over_targets import (
    PairedTest,
    differences_over_targets,
    over_seeds,
    over_targets,
    paired_test,
)
from muster.study.measures.seed_agreement import seed_agreement
from muster.study.measures.seed_noise import SeedNoise, seed_noise
from muster.study.measures.static_orders import STATIC_ORDERS, past_results, static_orders
from muster.study.measures.strata import ALL, STRATA, strata_of
from muster.study.measures.sweeps import over_cells, sweep_agreement, sweep_scores

__all__ = [
    "ALL",
    "BASELINES",
    "CHOOSER",
    "COMBINATION",
    "CONTENDERS",
    "CORRELATIONS",
    "DEFAULT_PREDICTOR",
    "MEAN",
    "STATIC_ORDERS",
    "STRATA",
    "Candidates",
    "Ceiling",
    "ChoiceTables",
    "CountedTau",
    "Headline",
    "PairedTest",
    "Scores",
    "SeedNoise",
    "Simulated",
    "StudiedChoice",
    "agreement",
    "candidates_of",
    "ceiling",
    "choices",
    "differences_over_targets",
    "gains",
    "greedy_ensemble",
    "headline",
    "learned_combination",
    "member_draws",
    "metric_seconds",
    "over_cells",
    "over_seeds",
    "over_targets",
    "paired_test",
    "past_results",
    "seed_agreement",
    "seed_noise",
    "simulate_metric",
    "standings",
    "static_orders",
    "strata_of",
    "sweep_agreement",
    "sweep_scores",
    "tau_and_time",
    "tau_interval",
    "without_pool",
]
