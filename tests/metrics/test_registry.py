"""The registry of metrics tells the truth."""

from __future__ import annotations

import inspect
from functools import partial

import pytest

import muster.metrics
from muster.metrics import ENSEMBLE_METRICS, METRICS, get_metric

NAMES = {
    "ms_leep", "e_leep", "iou_eep", "soft_iou_eep", "accuracy_eep", "soft_accuracy_eep",
    "base", "leep", "nce", "n_leep", "h_score", "h_score_shrinkage",
    "logme", "gbc", "gbc_spherical", "transrate", "parc", "rsa", "dds", "knn_accuracy", "knn_shares",
    "logistic_accuracy", "otce", "osborn", "depth_and_size", "logme_regression", "ridge_probe", "ridge_mean",
}  # fmt: skip
COSTS = {"otce", "osborn"}
KNOWN_NEEDS = {
    "probs", "features", "image_features", "source_features", "source_labels", "predictions", "labels", "annotations",
    "reference", "numbers", "groups", "eeps", "source_miou", "train_images", "num_classes", "depth", "source_images",
    "target_images",
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_entry_fits_its_function(name: str) -> None:
    metric = get_metric(name)
    assert metric.name == name
    plain = metric.function.func if isinstance(metric.function, partial) else metric.function
    assert plain is getattr(muster.metrics, plain.__name__)
    assert name.startswith(plain.__name__)
    assert set(metric.needs) <= KNOWN_NEEDS
    assert metric.larger_is_better == (name not in COSTS)
    assert (metric.definition is not None) == ("eeps" in metric.needs) == (name in ENSEMBLE_METRICS)
    assert (metric.kind == "ensemble") == (name in ENSEMBLE_METRICS or name in {"osborn", "ridge_mean"})


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"osborn"}))  # its arguments are terms of candidates
def test_needs_are_the_positional_arguments(name: str) -> None:
    metric = get_metric(name)
    plain = metric.function.func if isinstance(metric.function, partial) else metric.function
    parameters = inspect.signature(plain).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    required = [p for p in positional if p.default is p.empty]
    assert len(required) <= len(metric.needs) <= len(positional)


def test_names() -> None:
    assert set(METRICS) == NAMES
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_public_names_exist() -> None:
    assert all(hasattr(muster.metrics, name) for name in muster.metrics.__all__)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown metric 'softiou_eep'. Did you mean 'soft_iou_eep'\?"):
        get_metric("softiou_eep")
