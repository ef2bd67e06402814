"""Which of the package's own metrics the compiled loops and the kernels of devices score."""

from __future__ import annotations

from muster.metrics.registry import ENSEMBLE_METRICS, METRICS
from muster.scoring.metric_kinds import has_exhaustive_kernels

COMPILED = tuple(name for name in ENSEMBLE_METRICS if has_exhaustive_kernels(METRICS[name]))
