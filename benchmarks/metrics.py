"""Metrics of single models, beside plain versions of those that are costly when written plainly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.apart import apart
from benchmarks.plain_metrics import (
    plain_dds,
    plain_gbc,
    plain_logme,
    plain_nearest_neighbour,
    plain_parc,
    plain_rsa,
)
from benchmarks.plain_n_leep import plain_n_leep
from benchmarks.timing import Cost, cost, megabytes_on_top, peak_megabytes, usual_cost
from muster import metrics as ours

Numbers = np.ndarray[Any, Any]

_DECAY = 0.5
"""Deviations of the principal axes fall with this power of their number, so that some 100 of 512 hold 80 % of the
variance; of isotropic features nearly all would."""

_APART, _APART_PIXELS = 0.5, 0.15
"""Deviation of the class means over that within classes, along each axis: of images, and of pixels, of which there are
more, of more dimensions. Each gives an accuracy between a half and one."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Made-up features of one source model on a target, and what else metrics need.

    Attributes:
        features: float32 ``[samples, dimensions]``; the nearest other sample has the same class nine times out of ten.
        labels: ``[samples]``.
        reference: Features of another model, with the same class structure, as large.
        probs: float32 ``[samples, source classes]``.
        shares: Of classes in each image, float64 ``[samples, classes]``, half of them the label's.
        source_features: float32 ``[source samples, dimensions]``.
        source_labels: ``[source samples]``.
        predictions: Classes that each member of an ensemble predicts, ``[members, samples]``; right half of the time.
    """

    features: Numbers
    labels: Numbers
    reference: Numbers
    probs: Numbers
    shares: Numbers
    source_features: Numbers
    source_labels: Numbers
    predictions: Numbers

    @classmethod
    def made_up(cls, samples: int, dimensions: int, classes: int, transported: int, seed: int = 0) -> Problem:
        """Draw one."""
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, classes, samples)
        means = generator.standard_normal((classes, dimensions))
        source_labels = generator.integers(0, classes, transported)
        predictions = generator.integers(0, classes, (64, samples))
        predictions = np.where(generator.random(predictions.shape) < 0.5, labels, predictions)
        scores = generator.standard_normal((samples, classes + 1)).astype(np.float32)
        scores[np.arange(samples), labels] += 2.0
        return cls(
            made_up_features(labels, means, generator),
            labels,
            made_up_features(labels, generator.standard_normal(means.shape), generator),
            torch.from_numpy(scores).softmax(dim=1).numpy(),
            (np.eye(classes)[labels] + generator.dirichlet(np.full(classes, 0.3), samples)) / 2,
            made_up_features(source_labels, means, generator),
            source_labels,
            predictions,
        )


def made_up_features(labels: Numbers, means: Numbers, generator: np.random.Generator, apart: float = _APART) -> Numbers:
    """Features around class means, with a spectrum that falls like that of networks' features.

    Args:
        labels: ``[samples]``.
        means: Of each class, ``[classes, dimensions]``, of deviation 1.
        generator: Source of randomness.
        apart: Deviation that the class means are given.

    Returns:
        float32 ``[samples, dimensions]``.
    """
    dimensions = means.shape[1]
    turn = np.linalg.qr(generator.standard_normal((dimensions, dimensions)))[0]
    axes = (np.arange(1, dimensions + 1)[:, None] ** -_DECAY * turn).astype(np.float32)
    centers = (apart * means).astype(np.float32)
    result = np.empty((len(labels), dimensions), dtype=np.float32)
    for start in range(0, len(labels), 8192):
        some = labels[start : start + 8192]
        noise = generator.standard_normal((len(some), dimensions), dtype=np.float32)
        result[start : start + len(some)] = (noise + centers[some]) @ axes
    return result


@dataclass(frozen=True, eq=False)
class Case:
    """A metric on a problem.

    Attributes:
        name: In the results.
        ours: Computes it.
        plain: Computes it plainly, if that is worth a comparison.
        most_seconds: The target on two cores, if there is one.
    """

    name: str
    ours: Callable[[], Any]
    plain: Callable[[], float] | None = None
    most_seconds: float | None = None


def cases(problem: Problem, transported: int) -> Iterator[Case]:
    """All metrics of single models, and the terms of OSBORN.

    Args:
        problem: What they are computed on.
        transported: Samples a side for those that transport features.

    Yields:
        One after the other.
    """
    pair = problem.features, problem.labels
    one_hot = np.eye(int(problem.labels.max()) + 1)[problem.labels]
    both = problem.features, problem.reference
    yield Case("nce", partial(ours.nce, problem.probs, problem.labels))
    yield Case("leep", partial(ours.leep, problem.probs, problem.labels))
    yield Case("n_leep", partial(ours.n_leep, *pair), partial(plain_n_leep, *pair), 5.0)
    yield Case("h_score", partial(ours.h_score, *pair))
    yield Case("h_score_shrinkage", partial(ours.h_score, *pair, shrinkage=True))
    yield Case("logme", partial(ours.logme, *pair), partial(plain_logme, *pair), 0.25)
    yield Case("gbc", partial(ours.gbc, *pair), partial(plain_gbc, *pair), 0.3)
    spherical = partial(plain_gbc, *pair, covariance="spherical")
    yield Case("gbc_spherical", partial(ours.gbc, *pair, covariance="spherical"), spherical, 0.3)
    yield Case("transrate", partial(ours.transrate, *pair))
    # One-hot annotations tie by the million; the plain version's ties are broken by rounding, so its value is off.
    for name, shares in (("parc", problem.shares), ("parc_one_hot", one_hot)):
        yield Case(
            name,
            partial(ours.parc, problem.features, shares),
            partial(plain_parc, problem.features, shares),
            2.0,
        )
    yield Case("rsa", partial(ours.rsa, *both), partial(plain_rsa, *both), 2.0)
    yield Case("dds", partial(ours.dds, *both), partial(plain_dds, *both), 2.0)
    yield Case("knn_accuracy", partial(ours.knn_accuracy, *pair), partial(plain_nearest_neighbour, *pair), 2.0)
    yield Case("logistic_accuracy", partial(ours.logistic_accuracy, *pair))
    yield Case("mahalanobis_hardness", partial(ours.mahalanobis_hardness, *pair))
    source, target = (problem.source_features, problem.source_labels), problem.features[:transported]
    yield Case("otce", partial(ours.otce, *source, target, problem.labels[:transported]))
    predicted = problem.predictions[0, :transported]
    yield Case("osborn_of_member", partial(ours.osborn_of_member, *source, target, predicted))
    yield Case("osborn_pairs_of_64_members", partial(ours.pairwise_conditional_entropy, problem.predictions))


def metrics(
    samples: int = 5000, dimensions: int = 512, classes: int = 20, transported: int = 2000, repetitions: int = 3
) -> dict[str, Any]:
    """Each metric of single models on 5000 samples, 512 float32 features and 20 classes.

    Args:
        samples: Rows.
        dimensions: Columns.
        classes: Of the target.
        transported: Samples a side for OTCE and OSBORN.
        repetitions: Of ours, after one to warm up. Plain versions run once; N-LEEP, PARC and RSA take a while.

    Returns:
        For each its seconds and memory on top of the features, those of the plain version, and how many times faster.
    """
    problem = Problem.made_up(samples, dimensions, classes, transported)
    return {case.name: _measure(case, repetitions) for case in cases(problem, transported)}


def _measure(case: Case, repetitions: int) -> dict[str, Any]:
    spent = usual_cost(case.ours, repetitions)
    result = _times(spent)
    if case.most_seconds is not None:
        result["most_seconds"] = case.most_seconds
    memory = megabytes_on_top(case.ours)
    result |= {} if memory is None else {"megabytes_on_top": round(memory)}
    if case.plain is None:
        return result
    found: list[float] = []
    plain: list[Cost] = []

    def run_plainly(work: Callable[[], float] = case.plain) -> None:
        one, value = cost(work)
        plain.append(one)
        found.append(value)

    memory = megabytes_on_top(run_plainly)
    result |= {f"plain_{key}": value for key, value in _times(plain[0]).items()}
    result |= {} if memory is None else {"plain_megabytes_on_top": round(memory)}
    return result | {
        "times_faster": _ratio(plain[0].seconds, spent.seconds),
        "times_faster_in_processor_time": _ratio(plain[0].processor_seconds, spent.processor_seconds),
        "relative_difference": abs(case.ours() / found[0] - 1.0),
    }


def _times(spent: Cost) -> dict[str, float]:
    return {"seconds": round(spent.seconds, 4), "processor_seconds": round(spent.processor_seconds, 4)}


def _ratio(plain: float, spent: float) -> float:
    return round(plain / spent, 1)


def linear_probe(
    pixels: int = 150_000, dimensions: int = 720, classes: int = 23, images: int = 150, repetitions: int = 3
) -> dict[str, Any]:
    """The linear probe of one member: 150 000 pixels of 720 float32 features, 23 classes.

    Args:
        pixels: Probe pixels.
        dimensions: Features of a pixel.
        classes: Of the target.
        images: That the pixels are spread over evenly.
        repetitions: How often it runs.

    Returns:
        Seconds, and the memory on top of the features.
    """
    return apart(
        measure_linear_probe,
        pixels=pixels,
        dimensions=dimensions,
        classes=classes,
        images=images,
        repetitions=repetitions,
    )


def measure_linear_probe(pixels: int, dimensions: int, classes: int, images: int, repetitions: int) -> dict[str, Any]:
    """:func:`linear_probe` in this process."""
    generator = np.random.default_rng(0)
    labels, groups = generator.integers(0, classes, pixels), np.arange(pixels) * images // pixels
    features = made_up_features(labels, generator.standard_normal((classes, dimensions)), generator, _APART_PIXELS)
    before = peak_megabytes()
    spent = usual_cost(lambda: ours.linear_probe(features, labels, groups, classes), repetitions)
    return _times(spent) | {
        "most_seconds": 5.0,
        "megabytes_of_features": round(features.nbytes / 1e6),
        "megabytes_on_top": round(peak_megabytes() - before),
        "most_megabytes_on_top": 2000,
        "peak_megabytes": round(peak_megabytes()),
    }
