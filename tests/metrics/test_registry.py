"""The registry of metrics tells the truth."""

from __future__ import annotations

import inspect

import pytest

import muster.metrics
from muster.metrics import DEFAULT_METRIC, ENSEMBLE_METRICS, METRICS, get_metric


@pytest.mark.parametrize("name", METRICS)
def test_entry_fits_its_function(name: str) -> None:
    metric = get_metric(name)
    assert metric.name == name == metric.function.__name__
    assert metric.function is getattr(muster.metrics, name)
    assert tuple(inspect.signature(metric.function).parameters) == metric.needs
    assert metric.larger_is_better
    assert (name in ENSEMBLE_METRICS) == ("eeps" in metric.needs)


def test_names() -> None:
    assert set(METRICS) == {"leep", "ms_leep", "e_leep", "iou_eep", "soft_iou_eep", "base"}
    assert DEFAULT_METRIC == "soft_iou_eep"
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_public_names_exist() -> None:
    assert all(hasattr(muster.metrics, name) for name in muster.metrics.__all__)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown metric 'softiou_eep'. Did you mean 'soft_iou_eep'\?"):
        get_metric("softiou_eep")
