"""Options that only some selections look at: which have no effect, and that such are refused.

The command line, a Python call and the callback all ask here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from muster.data.opening import WORLD_PREFIX
from muster.errors import ConfigError
from muster.metrics import MetricSpec, parse_metric
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.selection.hard_subsets import HardEep, HardnessModel, hardness_names
from muster.selection.predictors import PredictorName

PLACES = frozenset({"data_root", "cache_dir"})
"""Options that say where things lie on a machine: they may be given in any case, but for those that are typed."""

_NO_HARD = "without +haste_ca or +haste_cs around any metric"


@dataclass(frozen=True)
class MetricOptions:
    """Options of :func:`muster.select` that only some metrics look at; their meaning is described there."""

    reference: Path | None = None
    hard_fraction: float = DEFAULT_FRACTION
    l_max: float = DEFAULT_L_MAX
    hardness_model: HardnessModel = ()
    hard_eep: HardEep = "recount"

    def require_valid(self) -> None:
        """Refuse what is out of range.

        Raises:
            ConfigError: If a number is.
        """
        if not 0 < self.hard_fraction <= 1:
            raise ConfigError(f"hard_fraction: expected more than 0 and at most 1, but got {self.hard_fraction}.")
        if not 0 < self.l_max < math.inf:
            raise ConfigError(f"l_max: expected a positive number of layers, but got {self.l_max}.")

    def require_effect(self, idle: Mapping[str, str]) -> None:
        """Refuse options without effect that are not as they are by default.

        Args:
            idle: See :func:`idle_options`; :data:`PLACES` are passed over.

        Raises:
            ConfigError: If there is one.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            is_default = not hardness_names(value) if field.name == "hardness_model" else value == field.default
            if field.name in idle and not is_default:
                raise ConfigError(f"{field.name} has no effect {idle[field.name]}. Leave it out.")


def parse_measures(metric: str, metrics: Sequence[str]) -> tuple[MetricSpec, ...]:
    """Read the metrics to rank by, the one to choose by among them.

    Args:
        metric: The one to choose by.
        metrics: Others.

    Returns:
        Each once.

    Raises:
        ConfigError: If one is none.
    """
    try:
        return tuple(parse_metric(name) for name in dict.fromkeys((*metrics, metric)))
    except ValueError as error:
        raise ConfigError(f"metric: {error}") from error


def idle_options(specs: Sequence[MetricSpec], predictor: PredictorName, cache_gb: float, target: str) -> dict[str, str]:
    """Options of a selection that change nothing beside the others, and why.

    Args:
        specs: All metrics.
        predictor: The one that was asked for.
        cache_gb: Most that the cache may hold.
        target: How the dataset is opened.

    Returns:
        By name of the option, the end of the sentence "it has no effect ...".
    """
    idle = _idle_on_hard_subsets([spec for spec in specs if spec.hard is not None], predictor)
    if not any("reference" in spec.needs for spec in specs):
        idle["reference"] = "without rsa or dds among the metrics"
    if not any(spec.with_depth for spec in specs):
        idle["l_max"] = "without +l around any metric"
    if cache_gb == 0:
        idle["cache_dir"] = "with cache_gb 0, which switches the cache off"
    if target.startswith(WORLD_PREFIX):
        idle["data_root"] = f"for {target}, which is built in"
    return idle


def _idle_on_hard_subsets(hard: Sequence[MetricSpec], predictor: PredictorName) -> dict[str, str]:
    if not hard:
        return dict.fromkeys(("hard_fraction", "hardness_model", "hard_eep"), _NO_HARD)
    idle = {}
    if all(spec.bucket is not None for spec in hard):
        idle["hard_fraction"] = "on buckets alone: the name of each says how many equal parts there are"
    # MS-LEEP on hard subsets is a sum over members, each on its own: no spec of kind "ensemble".
    if not any(spec.is_of_predictions for spec in hard):
        idle["hard_eep"] = "without an ensemble metric on hard subsets, such as e_leep+haste_cs"
    elif predictor == "linear_probe":
        idle["hard_eep"] = "with the linear probe, which makes no EEPs: its predictions are read as they are"
    return idle
