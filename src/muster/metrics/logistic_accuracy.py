"""Logistic: how well a linear classifier, fitted on half of the samples, classifies the other half."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import optimize, special

from muster.arrays import NumpyArray
from muster.metrics._credit import accuracy_with_ties
from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._standardise import standardisation_of

MAX_SAMPLES = 20_000
"""Samples used at most, half of them to fit."""

_GRADIENT = 1e-7
"""Largest entry of the gradient of the mean loss at which the fit has converged."""

_ITERATIONS = 10_000

_TIE = 1e-5
"""Difference of two classes' scores up to which they are equally likely: what the fit may still lack."""


def logistic_accuracy(
    features: Features, labels: SampleLabels, seed: int = 0, *, max_samples: int = MAX_SAMPLES
) -> float:
    """Accuracy of multinomial logistic regression, fitted on one half of the samples and read on the other.

    The halves are drawn so that each class is halved, up to one sample, and so are all. The features are standardised
    with mean and variance of the fitting half. The fit minimises the sum of the cross-entropies plus half of the sum of
    squared weights; intercepts are free. Two classes are treated like more: each has its weights.

    Args:
        features: The member's features of each sample, ``[samples, dimensions]``, at least 2 samples. A column that is
            constant in the fitting half is left out. If all are, the fit predicts its most frequent class.
        labels: Classes, ``[samples]``, integers from 0, not necessarily contiguous; void must have been left out. A
            class with one sample is either missed for certain or not read at all.
        seed: The seed of the halves, and of the subsample.
        max_samples: Samples used at most, at least 2; of more, so many are drawn without replacement.

    Returns:
        0..1; larger is better. Where t classes are equally likely for a sample, up to 1e-5 in log-probability, and its
        own is one of them, it counts 1 / t. The numbering of classes does not matter, nor do scale, sign and origin of
        a column; the order of samples does, since the halves are drawn by position.

    Raises:
        ValueError: If ``features`` are not a finite floating-point array of at least 2 rows and 1 column.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.
        ValueError: If ``max_samples`` is below 2, or the fit does not converge.

    Note:
        O(n d C) for each of some hundred iterations (L-BFGS, float64), n half of the samples used. Runs on the CPU.

    Source:
        Baseline of Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021,
        section 3.2, after Yan et al., "Neural Data Server", CVPR 2020. Neither says how it is regularised; the weight
        of the penalty is the usual default (C = 1).

    Example:
        >>> import numpy as np
        >>> features = np.array([[0.0], [0.1], [0.2], [0.3], [1.0], [1.1], [1.2], [1.3]])
        >>> logistic_accuracy(features, np.array([3, 3, 3, 3, 5, 5, 5, 5]))
        1.0
    """
    rows = as_features("features", features, least_samples=2)
    classes = as_present_classes(labels, len(rows), rows.device)[0].cpu().numpy()
    if max_samples < 2:
        raise ValueError(f"Expected `max_samples` to be at least 2, but got {max_samples}.")
    drawn = np.random.default_rng(seed).permutation(len(rows))[:max_samples]
    fitting, reading = _halves(drawn, classes[drawn])
    learning = rows[torch.from_numpy(fitting).to(rows.device)]
    standardise = standardisation_of("features", learning)
    present, own = np.unique(classes[fitting], return_inverse=True)
    weights = _fit(standardise(learning).cpu().numpy(), own)
    scores = _with_one(standardise(rows[torch.from_numpy(reading).to(rows.device)]).cpu().numpy()) @ weights
    column = np.full(classes.max() + 1, -1)
    column[present] = np.arange(len(present))
    return accuracy_with_ties(torch.from_numpy(scores), torch.from_numpy(column[classes[reading]]), _TIE)


def _halves(
    drawn: Int[NumpyArray, " drawn"], classes: Int[NumpyArray, " drawn"]
) -> tuple[Int[NumpyArray, " fitting"], Int[NumpyArray, " reading"]]:
    """Deal samples, in the order drawn, to both halves in turn, one class after the other."""
    _, first, place = np.unique(classes, return_index=True, return_inverse=True)
    dealt = drawn[
        np.argsort(first[place], kind="stable")
    ]  # classes as they come up, so that their numbers do not matter
    return dealt[::2], dealt[1::2]


def _with_one(rows: Float[NumpyArray, "samples dimensions"]) -> Float[NumpyArray, "samples columns"]:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _fit(rows: Float[NumpyArray, "samples dimensions"], classes: Int[NumpyArray, " samples"]) -> NumpyArray:
    """Weights ``[dimensions + 1, classes]``, the last row being intercepts."""
    inputs = _with_one(rows)
    count, columns = inputs.shape
    shape = columns, int(classes.max()) + 1
    targets = np.zeros((count, shape[1]))
    targets[np.arange(count), classes] = 1.0
    penalised = np.ones((columns, 1)) / count
    penalised[-1] = 0.0

    def loss(flat: NumpyArray) -> tuple[float, NumpyArray]:
        weights = flat.reshape(shape)
        logs = special.log_softmax(inputs @ weights, axis=1)
        pull = penalised * weights
        gradient = inputs.T @ (np.exp(logs) - targets) / count + pull
        return float(0.5 * (pull * weights).sum() - (logs * targets).sum() / count), gradient.ravel()

    start = np.zeros(shape)
    start[-1] = np.log(targets.mean(axis=0))  # already the optimum for features that say nothing
    result = optimize.minimize(
        loss,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS, "gtol": _GRADIENT, "ftol": 0.0},
    )
    steepest = float(np.abs(result.jac).max())
    if not steepest <= 10.0 * _GRADIENT:
        raise ValueError(
            f"Expected the fit on `features` to converge, but after {result.nit} iterations its gradient is "
            f"{steepest:.1e}."
        )
    return np.asarray(result.x.reshape(shape))
