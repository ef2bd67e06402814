"""Options that only some selections look at: which have no effect, and that such are refused.

The command line, a Python call and the callback all ask here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.data.opening import is_built_in
from muster.errors import ConfigError
from muster.metrics import MetricSpec, parse_metric
from muster.selection.foreseen_heads import can_foresee
from muster.selection.hard_subsets import hardness_names
from muster.selection.predictors import PredictorName
from muster.selection.search_runner import AUTO
from muster.selection.settings import SelectionSettings

PLACES = frozenset({"data_root", "cache_dir"})
"""Options that say where things lie on a machine: they may be given in any case, but for those that are typed."""

_NO_HARD = "without +haste_ca or +haste_cs around any metric"


def idle_options(settings: SelectionSettings, target: str) -> dict[str, str]:
    """Options of a selection that change nothing beside the others, and why.

    Args:
        settings: All options.
        target: How the dataset is opened.

    Returns:
        By name of the option, the end of the sentence "it has no effect ...".
    """
    specs = settings.specs()
    idle = _idle_on_hard_subsets([spec for spec in specs if spec.hard is not None], settings.predictor)
    if not any("reference" in spec.needs for spec in specs):
        idle["reference"] = "without rsa or dds among the metrics"
    if not any(spec.with_depth for spec in specs):
        idle["l_max"] = "without +l around any metric"
    if settings.metric != AUTO and not can_foresee(parse_metric(settings.metric)):
        idle["foresee_heads"] = f"with --metric {settings.metric}, which is none of an ensemble's mean prediction"
    if settings.cache_gb == 0:
        idle["cache_dir"] = "with cache_gb 0, which switches the cache off"
    if is_built_in(target):
        idle["data_root"] = f"for {target}, which is built in"
    return idle


def require_effect(settings: SelectionSettings, idle: Mapping[str, str]) -> None:
    """Refuse options without effect that are not as they are by default.

    Args:
        settings: All options.
        idle: See :func:`idle_options`; :data:`PLACES` are passed over.

    Raises:
        ConfigError: If there is one.
    """
    default = SelectionSettings()
    for name in sorted(set(idle) - PLACES):
        value = getattr(settings, name)
        is_default = not hardness_names(value) if name == "hardness_model" else value == getattr(default, name)
        if not is_default:
            raise ConfigError(f"{name} has no effect {idle[name]}. Leave it out.")


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
