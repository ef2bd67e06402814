"""Every metric by name: what it needs, in which direction it is better, and what to call it in a table.

A new metric is one file with its function or definition. In this package it has a line among :data:`METRICS`; a file
elsewhere ends with ``register(...)``, and its metric is known once the file was imported. A metric of single members is
a function of what it ``needs``. A metric of ensembles is a :class:`~muster.metrics.accumulators.Definition`: searches,
streaming and the bootstrap know it by that alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.errors import unknown_name
from muster.metrics.accumulators import Definition, score_of
from muster.metrics.accuracy_eep import ACCURACY_EEP, accuracy_eep
from muster.metrics.base import base
from muster.metrics.dds import dds
from muster.metrics.depth_and_size import depth_and_size
from muster.metrics.e_leep import E_LEEP, e_leep
from muster.metrics.gbc import gbc
from muster.metrics.h_score import h_score
from muster.metrics.iou_eep import IOU_EEP, iou_eep
from muster.metrics.knn_accuracy import knn_accuracy
from muster.metrics.knn_shares import knn_shares
from muster.metrics.leep import leep
from muster.metrics.logistic_accuracy import logistic_accuracy
from muster.metrics.logme import logme
from muster.metrics.ms_leep import MS_LEEP, ms_leep
from muster.metrics.n_leep import n_leep
from muster.metrics.nce import nce
from muster.metrics.osborn import osborn, osborn_of_member, osborn_of_members
from muster.metrics.otce import otce
from muster.metrics.parc import parc
from muster.metrics.ridge_probe import RIDGE_MEAN, ridge_mean, ridge_probe
from muster.metrics.rsa import rsa
from muster.metrics.soft_accuracy_eep import SOFT_ACCURACY_EEP, soft_accuracy_eep
from muster.metrics.soft_iou_eep import SOFT_IOU_EEP, soft_iou_eep
from muster.metrics.transrate import transrate

Kind: TypeAlias = Literal["member", "ensemble"]

Numbers: TypeAlias = Float[NumpyArray, "..."]
"""An array of any shape."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Combination:
    """A score that candidates have together, made of what is known of each member.

    Attributes:
        of_member: Function of what the metric ``needs``; whatever it returns is kept.
        of_candidates: Turns those results, in the order of the pool, int64 ``[candidates, size]`` and the number of
            target classes into scores ``[candidates]``.
    """

    of_member: Callable[..., Any]
    of_candidates: Callable[[Sequence[Any], NumpyArray, int], NumpyArray]


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
            ``numbers`` (what labels stand for, where they are intervals of numbers), ``groups`` (the image of each
            pixel), ``annotations`` (class shares of each image), ``reference`` (image features of a model trained on
            the target). Of an ensemble: ``eeps`` and ``labels``.
        definition: The definition of a metric of the members' predictions together.
        combination: Of a metric that compares candidates by something else that is known of their members. A metric
            that has neither is a score of single members, and an ensemble's score is the sum of its members' scores
            (Agostinelli et al., CVPR 2022).
        larger_is_better: False for a cost, which enters a ranking negated.
        most_pixels: A selection computes it on a seeded choice of so many probe pixels, because more would take minutes
            a member; ``None`` for all of them.
    """

    name: str
    title: str
    function: Callable[..., Any]
    needs: tuple[str, ...]
    definition: Definition | None = None
    combination: Combination | None = None
    larger_is_better: bool = True
    most_pixels: int | None = None

    @classmethod
    def of_ensembles(
        cls,
        name: str,
        title: str,
        definition: Definition,
        function: Callable[..., float] | None = None,
        *,
        larger_is_better: bool = True,
    ) -> Metric:
        """A metric of the members' predictions together.

        Args:
            name: Lower-case letters, digits and underscores.
            title: Name in tables and figures.
            definition: What is added up over pixels, and the score.
            function: The same as a function of ``eeps`` and ``labels``; made of the definition by default.
            larger_is_better: False for a cost.

        Returns:
            The metric.
        """
        called = partial(score_of, definition) if function is None else function
        return cls(name, title, called, ("eeps", "labels"), definition, larger_is_better=larger_is_better)

    @property
    def kind(self) -> Kind:
        """Whether single members have the score, or only ensembles."""
        return "member" if self.definition is None and self.combination is None else "ensemble"

    def ranked(self, values: Tensor) -> Tensor:
        """Scores as a ranking holds them: larger is better."""
        return values if self.larger_is_better else -values

    def final_scores(
        self, state: Numbers, label_counts: Int[NumpyArray, "... classes"] | Float[NumpyArray, "... classes"]
    ) -> Numbers:
        """Scores from what was added up, as a ranking holds them.

        Args:
            state: As the definition's ``finalise`` takes it.
            label_counts: Pixels of each class, ``[..., classes]``.

        Returns:
            float64; larger is better. Of a metric that sums its members these are the members' scores.
        """
        assert self.definition is not None  # only metrics of ensembles are asked
        counts = torch.from_numpy(np.asarray(label_counts, dtype=np.float64))
        values: NumpyArray = self.ranked(self.definition.finalise(torch.from_numpy(state), counts)).numpy()
        return values


_PROBS = ("probs", "labels")
_FEATURES = ("features", "labels")
_NUMBERS = ("features", "numbers", "groups")
_REFERENCE = ("image_features", "reference")
_SOURCE = ("source_features", "source_labels", "features")
_CARDS = ("source_miou", "train_images", "num_classes")

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric.of_ensembles("ms_leep", "MS-LEEP", MS_LEEP, ms_leep),
        Metric.of_ensembles("e_leep", "E-LEEP", E_LEEP, e_leep),
        Metric.of_ensembles("iou_eep", "IoU-EEP", IOU_EEP, iou_eep),
        Metric.of_ensembles("soft_iou_eep", "SoftIoU-EEP", SOFT_IOU_EEP, soft_iou_eep),
        Metric.of_ensembles("accuracy_eep", "Accuracy-EEP", ACCURACY_EEP, accuracy_eep),
        Metric.of_ensembles("soft_accuracy_eep", "SoftAccuracy-EEP", SOFT_ACCURACY_EEP, soft_accuracy_eep),
        Metric("base", "BASE", base, _CARDS),
        Metric("leep", "LEEP", leep, _PROBS),
        Metric("nce", "NCE", nce, _PROBS),
        Metric("n_leep", "N-LEEP", n_leep, _FEATURES, most_pixels=10_000),
        Metric("h_score", "H-score", h_score, _FEATURES),
        Metric("h_score_shrinkage", "H-score (shrinkage)", partial(h_score, shrinkage=True), _FEATURES),
        Metric("logme", "LogME", logme, _FEATURES),
        Metric("logme_regression", "LogME (numbers)", logme, ("features", "numbers")),
        Metric("ridge_probe", "Ridge probe", ridge_probe, _NUMBERS, most_pixels=50_000),
        Metric(
            "ridge_mean", "Ridge mean", ridge_mean, _NUMBERS, combination=Combination(*RIDGE_MEAN), most_pixels=50_000
        ),
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
        Metric(
            "osborn",
            "OSBORN",
            osborn,
            (*_SOURCE, "predictions"),
            combination=Combination(osborn_of_member, osborn_of_members),
            larger_is_better=False,
        ),
        Metric("depth_and_size", "Depth + log size", depth_and_size, ("depth", "source_images", "target_images")),
    )
}
"""All metrics, in the order in which tables show them."""

ENSEMBLE_METRICS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.definition is not None)
"""Names of the package's own metrics of the members' predictions together; :func:`ensemble_metrics` has all of them."""


def register(metric: Metric) -> Metric:
    """Make a metric known by its name, to searches and to ``select.py --metrics`` alike.

    Args:
        metric: The metric.

    Returns:
        The same.

    Raises:
        ValueError: If the name is taken, or has other than lower-case letters, digits and underscores.
    """
    if not _NAME.fullmatch(metric.name):
        raise ValueError(
            f"Expected a metric's name to be of lower-case letters, digits and underscores, but got {metric.name!r}."
        )
    if metric.name in METRICS:
        raise ValueError(f"Expected a new name for the metric, but {metric.name!r} is {METRICS[metric.name].title}.")
    METRICS[metric.name] = metric
    return metric


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


def ensemble_metrics() -> dict[str, Metric]:
    """All metrics of the members' predictions together, by name, registered ones included."""
    return {name: metric for name, metric in METRICS.items() if metric.definition is not None}


def get_ensemble_metric(name: str, what: str = "ensemble metric") -> Metric:
    """Facts about a metric of the members' predictions together.

    Args:
        name: Its name.
        what: What to call it in a message.

    Returns:
        The metric; it has a definition.

    Raises:
        ValueError: If there is no such metric; the message names the nearest one.
    """
    known = ensemble_metrics()
    if name not in known:
        raise ValueError(unknown_name(what, name, known))
    return known[name]
