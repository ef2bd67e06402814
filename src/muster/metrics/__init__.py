"""Metrics: pure functions on arrays that say how well source models, or ensembles of them, should transfer.

Tensors on any device or NumPy arrays in, floats out. Larger is better for every one here. Nothing in this package knows
of files, models or training.
"""

from __future__ import annotations

from muster.metrics.base import base
from muster.metrics.correlation import kendall, pearson, weighted_kendall
from muster.metrics.e_leep import e_leep
from muster.metrics.eep import eep
from muster.metrics.iou_eep import class_ious, iou_eep
from muster.metrics.leep import leep
from muster.metrics.ms_leep import ms_leep
from muster.metrics.registry import DEFAULT_METRIC, ENSEMBLE_METRICS, METRICS, Metric, get_metric
from muster.metrics.soft_iou_eep import soft_class_ious, soft_iou_eep

__all__ = [
    "DEFAULT_METRIC",
    "ENSEMBLE_METRICS",
    "METRICS",
    "Metric",
    "base",
    "class_ious",
    "e_leep",
    "eep",
    "get_metric",
    "iou_eep",
    "kendall",
    "leep",
    "ms_leep",
    "pearson",
    "soft_class_ious",
    "soft_iou_eep",
    "weighted_kendall",
]
