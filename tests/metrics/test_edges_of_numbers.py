"""Every metric at the edge of numbers: scales, masks, labels that are no class numbers, features that say nothing."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from muster import metrics
from muster.metrics import METRICS

Numbers = np.ndarray[Any, Any]
Call = Callable[[Numbers], float]

SAMPLES = 60
GENERATOR = np.random.default_rng(0)
LABELS = np.arange(SAMPLES) % 3
IMAGES = np.arange(SAMPLES) // 6
FEATURES = GENERATOR.normal(size=(SAMPLES, 4)) + 1.5 * np.eye(3, 4)[LABELS]
OTHERS = GENERATOR.normal(size=(SAMPLES, 5))
PROBS = GENERATOR.dirichlet(np.ones(4), SAMPLES)

WHATEVER_SCALE: dict[str, Call] = {
    "h_score": lambda x: metrics.h_score(x, LABELS),
    "h_score_shrinkage": lambda x: metrics.h_score(x, LABELS, shrinkage=True),
    "logme": lambda x: metrics.logme(x, LABELS),
    "parc": lambda x: metrics.parc(x, np.eye(3)[LABELS]),
    "rsa": lambda x: metrics.rsa(x, OTHERS),
    "rsa, the reference": lambda x: metrics.rsa(OTHERS, x),
    "dds": lambda x: metrics.dds(x, OTHERS),
    "dds, the reference": lambda x: metrics.dds(OTHERS, x),
    "knn_accuracy": lambda x: metrics.knn_accuracy(x, LABELS),
    "logistic_accuracy": lambda x: metrics.logistic_accuracy(x, LABELS),
    "linear_probe": lambda x: float(metrics.linear_probe(x, LABELS, IMAGES)[7, 0]),
    "principal components": lambda x: float((metrics.reduce_dimensions(x, 2) / np.abs(x).max()).std()),
    "mahalanobis_hardness": lambda x: float(metrics.mahalanobis_hardness(x, LABELS)[3]),
}


@pytest.mark.parametrize("name", WHATEVER_SCALE)
@pytest.mark.parametrize("exponent", [-900, -500, -260, 260, 500, 990])
def test_a_scale_that_does_not_matter(name: str, exponent: int) -> None:
    score = WHATEVER_SCALE[name]
    plain = score(FEATURES)
    assert math.isfinite(plain)
    assert plain != 0.0
    assert score(np.ldexp(FEATURES, exponent)) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
def test_gbc_far_above_and_far_below_its_floor(covariance: Any) -> None:
    plain = metrics.gbc(FEATURES, LABELS, covariance)
    for exponent in (40, 260, 500, 990):  # the floor of variances does not act
        assert metrics.gbc(np.ldexp(FEATURES, exponent), LABELS, covariance) == pytest.approx(plain, rel=1e-12)
    for exponent in (-40, -260, -500, -1070):  # nothing but the floor: all classes coincide
        assert metrics.gbc(np.ldexp(FEATURES, exponent), LABELS, covariance) == pytest.approx(-6.0, rel=1e-12)


def test_transrate_and_otce_grow_with_the_scale() -> None:
    shifted = metrics.transrate(np.ldexp(FEATURES, 40), LABELS)
    for exponent in (260, 500, 990):  # the differences of log determinants, of full rank, cancel the scale
        assert metrics.transrate(np.ldexp(FEATURES, exponent), LABELS) == pytest.approx(shifted, rel=1e-9)
    assert metrics.transrate(np.ldexp(FEATURES, -500), LABELS) == 0.0
    domain, task = metrics.otce(FEATURES, LABELS, FEATURES[::-1] + 1.0, LABELS)
    for exponent in (-400, 400):
        scaled = (np.ldexp(side, exponent) for side in (FEATURES, FEATURES[::-1] + 1.0))
        assert metrics.otce(next(scaled), LABELS, next(scaled), LABELS) == (math.ldexp(domain, 2 * exponent), task)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (
            lambda: metrics.otce(np.ldexp(FEATURES, 600), LABELS, np.ldexp(OTHERS[:, :4], 600), LABELS),
            "more than 1e308",
        ),
        (lambda: metrics.otce(np.ldexp(FEATURES, -600), LABELS, np.ldexp(OTHERS[:, :4], -600), LABELS), "less than"),
        (lambda: metrics.n_leep(np.ldexp(FEATURES, 40), LABELS), "Divide the features"),
        (lambda: metrics.n_leep(np.ldexp(FEATURES, 900), LABELS), "Divide the features"),
        (lambda: metrics.h_score(np.full((3, 1), 1e302), LABELS[:3]), r"between -1e301 and 1e301.*Divide"),
    ],
)
def test_a_scale_that_is_too_much(score: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score()


def test_columns_of_unlike_scales() -> None:
    factors = np.array([2.0**-600, 2.0**600, 1.0, 2.0**100])
    for name in ("h_score", "parc", "rsa", "dds", "logistic_accuracy", "linear_probe"):
        score = WHATEVER_SCALE[name]
        assert score(FEATURES * factors) == pytest.approx(score(FEATURES), rel=1e-9), name
    single = FEATURES.astype(np.float32)
    tiny = single * np.float32(2.0**-110)
    plain = metrics.linear_probe(single, LABELS, IMAGES)
    assert metrics.linear_probe(tiny, LABELS, IMAGES) == pytest.approx(plain, rel=1e-3)


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "probs": (PROBS,),
    "features": (FEATURES,),
    "image_features": (FEATURES,),
    "annotations": (np.eye(3)[LABELS],),
    "reference": (OTHERS,),
    "source_features": (FEATURES + 0.5,),
    "source_labels": (LABELS,),
    "labels": (LABELS,),
    "eeps": (np.stack([PROBS[:, :3], PROBS[:, 1:]]),),
}
OF_ARRAYS = [name for name, metric in METRICS.items() if set(metric.needs) <= set(ARGUMENTS)]


def arguments_of(name: str) -> dict[str, Any]:
    return {need: ARGUMENTS[need][0] for need in METRICS[name].needs}


def call(name: str, arguments: dict[str, Any]) -> Any:
    return METRICS[name].function(*arguments.values())


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_masked_entries_are_refused(name: str) -> None:
    plain = call(name, arguments_of(name))
    for need, values in arguments_of(name).items():
        masked = np.ma.masked_array(values, np.zeros(values.shape, dtype=bool))
        assert call(name, arguments_of(name) | {need: masked}) == plain
        masked[1] = np.ma.masked
        with pytest.raises(ValueError, match=r"without masked entries.*fill them"):
            call(name, arguments_of(name) | {need: masked})


def test_masked_columns_are_refused() -> None:
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    for score in (metrics.kendall, metrics.pearson, metrics.weighted_kendall):
        with pytest.raises(ValueError, match="`scores` without masked entries"):
            score(masked, np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("name", [name for name in OF_ARRAYS if "labels" in METRICS[name].needs])
def test_labels_are_names_and_no_sizes(name: str) -> None:
    arguments = arguments_of(name)
    huge = np.array([7, 10**9, 3])[LABELS]
    if "eeps" in arguments:  # predictions have a column a class
        with pytest.raises(ValueError, match="between 0 and 2"):
            call(name, arguments | {"labels": huge})
        return
    assert call(name, arguments | {"labels": huge}) == pytest.approx(call(name, arguments), rel=1e-9)
    with pytest.raises(ValueError, match="without void") as refused:
        call(name, arguments | {"labels": np.where(LABELS == 1, 255, LABELS)})
    assert "num_classes" not in str(refused.value)  # there is no such argument


def test_predictions_of_a_billion_classes_are_refused() -> None:
    huge = np.array([7, 10**9, 3])[LABELS]
    for predictor in (
        lambda labels: inspect.unwrap(metrics.eep)(PROBS, labels),
        lambda labels: inspect.unwrap(metrics.linear_probe)(FEATURES, labels, IMAGES),
        lambda labels: inspect.unwrap(metrics.calibrated_eep)(PROBS, labels, IMAGES),
    ):
        with pytest.raises(ValueError, match=r"below 65536, but got 1000000000.*give `num_classes`"):
            predictor(huge)
        with pytest.raises(ValueError, match=r"without void.*or give `num_classes`"):
            predictor(np.where(LABELS == 1, 255, LABELS))
    predictions = np.stack([huge, np.roll(huge, 1)])
    renamed = np.stack([LABELS, np.roll(LABELS, 1)])
    assert metrics.cohesion(predictions) == pytest.approx(metrics.cohesion(renamed), rel=1e-12)
    few = metrics.otce(FEATURES, LABELS, OTHERS[:, :4], LABELS)
    assert metrics.otce(FEATURES, huge, OTHERS[:, :4], huge) == pytest.approx(few, rel=1e-12)


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_in_every_argument(name: str, wrong: float) -> None:
    for need, values in arguments_of(name).items():
        if values.dtype.kind == "f":
            spoilt = values.copy()
            spoilt.flat[5] = wrong
            with pytest.raises(ValueError, match="Expected"):
                call(name, arguments_of(name) | {need: spoilt})


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_other_precisions(name: str, dtype: Any) -> None:
    arguments = {need: v.astype(dtype) if v.dtype.kind == "f" else v for need, v in arguments_of(name).items()}
    assert call(name, arguments) == pytest.approx(call(name, arguments_of(name)), rel=0.1, abs=0.05)


def score_or_refusal(name: str, arguments: dict[str, Any]) -> str:
    """A number, ``nan`` if a part of it is none, or the message of a refusal, which is in our words."""
    try:
        return str(np.sum(call(name, arguments)))
    except ValueError as refused:
        assert str(refused).startswith("Expected"), refused  # noqa: PT017
        return str(refused)


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_samples(name: str, count: int) -> None:
    arguments = {need: v[:, :count] if need == "eeps" else v[:count] for need, v in arguments_of(name).items()}
    if name in ("e_leep", "ms_leep", "iou_eep", "soft_iou_eep") or count == 0:
        arguments["labels"] = LABELS[:count]
    score = score_or_refusal(name, {need: arguments[need] for need in METRICS[name].needs})
    assert score.startswith("Expected") if count == 0 else score != "nan"


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize("kind", ["one class", "constant", "duplicated", "wide"])
def test_features_and_labels_of_no_or_little_use(name: str, kind: str) -> None:
    changed = {
        "one class": {"labels": np.zeros(SAMPLES, dtype=int), "annotations": np.eye(3)[np.zeros(SAMPLES, dtype=int)]},
        "constant": {"features": np.full((SAMPLES, 4), 3.0), "image_features": np.full((SAMPLES, 4), 3.0)},
        "duplicated": {"features": np.tile(FEATURES, 2), "image_features": np.tile(FEATURES, 2)},
        "wide": {"features": np.tile(FEATURES, 20) + 0.1 * np.random.default_rng(1).normal(size=(SAMPLES, 80))},
    }[kind]
    if "source_features" in METRICS[name].needs:
        changed["source_features"] = changed.get("features", FEATURES) + 0.5
    arguments = arguments_of(name)
    score = score_or_refusal(name, {need: changed.get(need, value) for need, value in arguments.items()})
    assert score != "nan"
    assert kind in ("one class", "constant") or not score.startswith("Expected")
