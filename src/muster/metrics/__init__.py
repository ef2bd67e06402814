"""Metrics: pure functions on arrays that say how well source models, or ensembles of them, should transfer.

Tensors on any device or NumPy arrays in, floats out; :data:`METRICS` says what each needs and whether larger is better.
Nothing in this package knows of files, models or training.
"""

from __future__ import annotations

from muster.metrics.accumulators import Accumulator, Definition, HitsAndMisses, LogLikelihood
from muster.metrics.accuracy_eep import accuracy_eep
from muster.metrics.base import base
from muster.metrics.calibrated_eep import calibrated_eep, cross_validated_eep
from muster.metrics.corrections import depth_correction, reduce_dimensions, standardised_sum
from muster.metrics.correlation import kendall, pearson, weighted_kendall
from muster.metrics.dds import dds
from muster.metrics.depth_and_size import depth_and_size
from muster.metrics.e_leep import e_leep
from muster.metrics.eep import eep
from muster.metrics.ensemble_block import EnsembleBlock
from muster.metrics.gbc import gbc
from muster.metrics.h_score import h_score
from muster.metrics.hard_subsets import (
    hard_buckets,
    hard_images_to_pixels,
    hard_subset,
    hard_union,
    haste,
    haste_ensemble,
    haste_ms_leep,
    with_easy_samples,
)
from muster.metrics.hardness import mahalanobis_hardness, similarity_hardness
from muster.metrics.iou_eep import class_ious, iou_eep
from muster.metrics.knn_accuracy import knn_accuracy
from muster.metrics.knn_shares import knn_shares
from muster.metrics.leep import leep
from muster.metrics.linear_probe import fit_linear_probe, linear_probe
from muster.metrics.logistic_accuracy import logistic_accuracy
from muster.metrics.logme import logme
from muster.metrics.metric_spec import MetricSpec, parse_metric
from muster.metrics.ms_leep import ms_leep
from muster.metrics.n_leep import n_leep
from muster.metrics.nce import nce
from muster.metrics.osborn import (
    OsbornMember,
    OsbornTerms,
    cohesion,
    osborn,
    osborn_domain,
    osborn_of_candidates,
    osborn_of_member,
    osborn_of_members,
    osborn_task,
    pairwise_conditional_entropy,
)
from muster.metrics.otce import otce
from muster.metrics.parc import parc
from muster.metrics.registry import (
    ENSEMBLE_METRICS,
    METRICS,
    Combination,
    Metric,
    ensemble_metrics,
    get_metric,
    register,
)
from muster.metrics.ridge_probe import ridge_mean, ridge_predictions, ridge_probe
from muster.metrics.rsa import rsa
from muster.metrics.soft_accuracy_eep import soft_accuracy_eep
from muster.metrics.soft_iou_eep import soft_class_ious, soft_iou_eep
from muster.metrics.transrate import transrate

__all__ = [
    "ENSEMBLE_METRICS",
    "METRICS",
    "Accumulator",
    "Combination",
    "Definition",
    "EnsembleBlock",
    "HitsAndMisses",
    "LogLikelihood",
    "Metric",
    "MetricSpec",
    "OsbornMember",
    "OsbornTerms",
    "accuracy_eep",
    "base",
    "calibrated_eep",
    "class_ious",
    "cohesion",
    "cross_validated_eep",
    "dds",
    "depth_and_size",
    "depth_correction",
    "e_leep",
    "eep",
    "ensemble_metrics",
    "fit_linear_probe",
    "gbc",
    "get_metric",
    "h_score",
    "hard_buckets",
    "hard_images_to_pixels",
    "hard_subset",
    "hard_union",
    "haste",
    "haste_ensemble",
    "haste_ms_leep",
    "iou_eep",
    "kendall",
    "knn_accuracy",
    "knn_shares",
    "leep",
    "linear_probe",
    "logistic_accuracy",
    "logme",
    "mahalanobis_hardness",
    "ms_leep",
    "n_leep",
    "nce",
    "osborn",
    "osborn_domain",
    "osborn_of_candidates",
    "osborn_of_member",
    "osborn_of_members",
    "osborn_task",
    "otce",
    "pairwise_conditional_entropy",
    "parc",
    "parse_metric",
    "pearson",
    "reduce_dimensions",
    "register",
    "ridge_mean",
    "ridge_predictions",
    "ridge_probe",
    "rsa",
    "similarity_hardness",
    "soft_accuracy_eep",
    "soft_class_ious",
    "soft_iou_eep",
    "standardised_sum",
    "transrate",
    "weighted_kendall",
    "with_easy_samples",
]
