"""Every metric by name: what it needs, in which direction it is better, and what to call it in a table.

Adding a metric: write it in a file of its own, then add a line here. An ensemble metric that is a function of one
:class:`~muster.metrics._ensemble.Candidate` is from then on known to :func:`muster.search.score_ensembles`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from muster.errors import unknown_name
from muster.metrics._ensemble import Candidate
from muster.metrics.base import base
from muster.metrics.e_leep import e_leep, e_leep_of
from muster.metrics.iou_eep import iou_eep, iou_eep_of
from muster.metrics.leep import leep
from muster.metrics.ms_leep import ms_leep, ms_leep_of
from muster.metrics.soft_iou_eep import soft_iou_eep, soft_iou_eep_of


@dataclass(frozen=True)
class Metric:
    """Facts about one metric.

    Attributes:
        name: Name in configurations, rankings and files.
        title: Name in tables and figures.
        function: The public function; its positional arguments are ``needs``.
        needs: What it is computed from: ``probs`` and ``labels`` of one member, ``eeps`` and ``labels`` of an ensemble,
            or columns of the members' cards.
        larger_is_better: False for a cost, which enters a ranking negated.
        of_candidate: For metrics of ``eeps`` and ``labels``: the same on checked arguments.
    """

    name: str
    title: str
    function: Callable[..., float]
    needs: tuple[str, ...]
    larger_is_better: bool = True
    of_candidate: Callable[[Candidate], float] | None = None


_MEMBER = ("probs", "labels")
_ENSEMBLE = ("eeps", "labels")
_CARDS = ("source_miou", "train_images", "num_classes")

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("leep", "LEEP", leep, _MEMBER),
        Metric("ms_leep", "MS-LEEP", ms_leep, _ENSEMBLE, of_candidate=ms_leep_of),
        Metric("e_leep", "E-LEEP", e_leep, _ENSEMBLE, of_candidate=e_leep_of),
        Metric("iou_eep", "IoU-EEP", iou_eep, _ENSEMBLE, of_candidate=iou_eep_of),
        Metric("soft_iou_eep", "SoftIoU-EEP", soft_iou_eep, _ENSEMBLE, of_candidate=soft_iou_eep_of),
        Metric("base", "BASE", base, _CARDS),
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
