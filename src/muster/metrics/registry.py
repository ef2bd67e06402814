"""Every metric by name: what it needs, in which direction it is better, and what to call it in a table.

Adding a metric: write it in a file of its own, then add a line here; ``select.py --metrics`` knows it from then on. An
ensemble metric that is a function of one :class:`~muster.metrics.ensemble.Candidate` is also known to
:func:`muster.search.score_ensembles`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from muster.errors import unknown_name
from muster.metrics.base import base
from muster.metrics.dds import dds
from muster.metrics.depth_and_size import depth_and_size
from muster.metrics.e_leep import e_leep, e_leep_of
from muster.metrics.ensemble import Candidate
from muster.metrics.gbc import gbc
from muster.metrics.h_score import h_score
from muster.metrics.iou_eep import iou_eep, iou_eep_of
from muster.metrics.knn_accuracy import knn_accuracy
from muster.metrics.knn_shares import knn_shares
from muster.metrics.leep import leep
from muster.metrics.logistic_accuracy import logistic_accuracy
from muster.metrics.logme import logme
from muster.metrics.ms_leep import ms_leep, ms_leep_of
from muster.metrics.n_leep import n_leep
from muster.metrics.nce import nce
from muster.metrics.osborn import osborn
from muster.metrics.otce import otce
from muster.metrics.parc import parc
from muster.metrics.rsa import rsa
from muster.metrics.soft_iou_eep import soft_iou_eep, soft_iou_eep_of
from muster.metrics.transrate import transrate

Kind: TypeAlias = Literal["member", "ensemble", "candidate"]


@dataclass(frozen=True)
class Metric:
    """Facts about one metric.

    Attributes:
        name: Name in configurations, rankings and files.
        title: Name in tables and figures.
        function: The public function; its positional arguments are ``needs``.
        needs: What it is computed from. Of a member: ``probs`` (source probabilities) and ``features`` at the probe
            pixels, ``image_features`` (their spatial mean), ``source_features`` and ``source_labels`` (of its own
            source), ``predictions`` (arg max of its predictor) and columns of its card. Of the target: ``labels``,
            ``annotations`` (class shares of each image), ``reference`` (image features of a model trained on the
            target). Of an ensemble: ``eeps`` and ``labels``.
        kind: ``"member"``: a score of single members, which an ensemble has the sum of (Agostinelli et al., CVPR 2022);
            ``"ensemble"``: a score of the members' predictions together; ``"candidate"``: terms of members and of
            pairs of them, standardised over all candidates.
        larger_is_better: False for a cost, which enters a ranking negated.
        most_pixels: A selection computes it on a seeded choice of so many probe pixels, because more would take minutes
            a member; ``None`` for all of them.
        of_candidate: For ensemble metrics: the same on checked arguments.
    """

    name: str
    title: str
    function: Callable[..., Any]
    needs: tuple[str, ...]
    kind: Kind = "member"
    larger_is_better: bool = True
    most_pixels: int | None = None
    of_candidate: Callable[[Candidate], float] | None = None


_PROBS = ("probs", "labels")
_FEATURES = ("features", "labels")
_ENSEMBLE = ("eeps", "labels")
_REFERENCE = ("image_features", "reference")
_SOURCE = ("source_features", "source_labels", "features")
_CARDS = ("source_miou", "train_images", "num_classes")


def _ensemble(
    name: str,
    title: str,
    function: Callable[..., float],
    of_candidate: Callable[[Candidate], float],
) -> Metric:
    return Metric(name, title, function, _ENSEMBLE, "ensemble", of_candidate=of_candidate)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _ensemble("ms_leep", "MS-LEEP", ms_leep, ms_leep_of),
        _ensemble("e_leep", "E-LEEP", e_leep, e_leep_of),
        _ensemble("iou_eep", "IoU-EEP", iou_eep, iou_eep_of),
        _ensemble("soft_iou_eep", "SoftIoU-EEP", soft_iou_eep, soft_iou_eep_of),
        Metric("base", "BASE", base, _CARDS),
        Metric("leep", "LEEP", leep, _PROBS),
        Metric("nce", "NCE", nce, _PROBS),
        Metric("n_leep", "N-LEEP", n_leep, _FEATURES, most_pixels=10_000),
        Metric("h_score", "H-score", h_score, _FEATURES),
        Metric("h_score_shrinkage", "H-score (shrinkage)", partial(h_score, shrinkage=True), _FEATURES),
        Metric("logme", "LogME", logme, _FEATURES),
        Metric("gbc", "GBC", gbc, _FEATURES),
        Metric("gbc_spherical", "GBC (spherical)", partial(gbc, covariance="spherical"), _FEATURES),
        Metric("transrate", "TransRate", transrate, _FEATURES),
        Metric("parc", "PARC", parc, ("image_features", "annotations")),
        Metric("rsa", "RSA", rsa, _REFERENCE),
        Metric("dds", "DDS", dds, _REFERENCE),
        Metric("knn_accuracy", "1-NN", knn_accuracy, _FEATURES),
        Metric("knn_shares", "1-NN (images)", knn_shares, ("image_features", "annotations")),
        Metric("logistic_accuracy", "Logistic", logistic_accuracy, _FEATURES),
        Metric("otce", "OTCE", otce, (*_SOURCE, "labels"), larger_is_better=False),
        Metric("osborn", "OSBORN", osborn, (*_SOURCE, "predictions"), "candidate", larger_is_better=False),
        Metric("depth_and_size", "Depth + log size", depth_and_size, ("depth", "source_images", "target_images")),
    )
}
"""All metrics, in the order in which tables show them."""

ENSEMBLE_METRICS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.of_candidate is not None)
"""Names of the metrics that :func:`muster.search.score_ensembles` computes."""

DEFAULT_METRIC = "soft_iou_eep"
"""The metric by which an ensemble is chosen unless another is named."""


def get_metric(name: str) -> Metric:
    """Facts about a metric.

    Args:
        name: Its name.

    Returns:
        The entry of :data:`METRICS`.

    Raises:
        ValueError: If there is no such metric; the message names the nearest one.

    Example:
        >>> get_metric("iou_eep").title
        'IoU-EEP'
    """
    if name not in METRICS:
        raise ValueError(unknown_name("metric", name, METRICS))
    return METRICS[name]
