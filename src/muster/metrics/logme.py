"""LogME: the evidence of a linear model on the features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import expit
from torch import Tensor

from muster.arrays import NumpyArray, to_tensor
from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._linear_algebra import (
    EPSILON,
    ROWS_AT_ONCE,
    ROWS_TO_FACTOR,
    divided,
    gram,
    row_blocks,
    scale_exponent,
    scaled_svd,
    triangular_factor,
)

Targets: TypeAlias = (
    SampleLabels
    | Float[Tensor, "samples"]
    | Float[NumpyArray, "samples"]
    | Float[Tensor, "samples targets"]
    | Float[NumpyArray, "samples targets"]
)
_Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


def logme(features: Features, labels: Targets) -> float:
    """Log of the maximum evidence, per sample: how well a Bayesian linear model on the features explains the labels.

    For each class the target y is 1 for its samples and 0 for others; for regression it is a column of ``labels``. With
    weights of precision alpha and noise of precision beta, the log evidence log p(y | features, alpha, beta) is
    brought to a maximum by MacKay's fixed-point iteration from alpha = beta = 1, run to convergence, and divided by the
    number of samples; the result is the mean over classes (columns). Features are neither centred nor scaled, and there
    is no intercept.

    Args:
        features: ``[samples, dimensions]``, floating point.
        labels: Target classes, ``[samples]``, integers from 0, need not be contiguous; or for regression floating point
            ``[samples]`` or ``[samples, targets]``.

    Returns:
        Larger is better; no bounds. Only classes that occur are averaged. Unchanged by rotations of the features, by
        one common scale wherever the iteration finds the same maximum, and by columns of zeros. Where features say
        nothing (constant zero, or orthogonal to a target) the evidence is that of pure noise around 0. Infinity if more
        samples than the rank of the features fit a target exactly (to 2^-52 max(n, d) of its norm), since the evidence
        then has no bound: a perfect source. With fewer samples than dimensions an exact fit is usual and the value
        finite.

    Raises:
        ValueError: If ``features`` is not a floating-point array with two axes, is empty, or holds a number that is not
            finite.
        ValueError: If integer ``labels`` are not one per sample, negative, or void (255) is among them.
        ValueError: If floating ``labels`` have not one or two axes, not one row per sample, no column, a number that is
            not finite, or a column of zeros (whose evidence has no bound for any features).

    Source:
        You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021, eq. 2 and
        algorithm 1; You et al., "Ranking and Tuning Pre-trained Models", JMLR 2022, algorithm 3 (one decomposition).
        Published code stops after 11 steps, adds 1e-5 to two denominators, and for n < d leaves log alpha of the
        dimensions beyond n in the sum.

    Note:
        O(samples x dimensions x (dimensions + classes) + dimensions^3).

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0], [2.0], [1.0], [2.0]])
        >>> round(logme(features, np.array([1.0, 2.0, 1.5, 1.5])), 4)
        -1.0028
    """
    values = as_features("features", features)
    targets = _as_targets(labels, values)
    exponent, exponents = scale_exponent(values), _target_exponents(targets)
    values, targets = divided(values, exponent), targets * torch.exp2(-exponents)
    log_start = -2.0 * exponent * _LOG_2  # of alpha / beta = 1, in units of the features at hand
    found = _by_gram(values, targets, log_start) if len(values) > values.shape[1] else None
    if found is None:
        spectrum = _spectrum_of_factor(values, targets)
        found = _evidence(spectrum, _balance(spectrum, log_start).log_t)
    return float((found - _LOG_2 * _numbers(exponents)).mean())


_LOG_2 = math.log(2.0)


def _by_gram(features: Tensor, targets: Tensor, log_start: float) -> _Numbers | None:
    """The evidence of each target on the quick path; ``None`` where its rounding could matter."""
    spectrum = _spectrum_of_gram(features, targets)
    balance = _balance(spectrum, log_start)
    return _evidence(spectrum, balance.log_t) if _is_exact_enough(spectrum, balance) else None


def _target_exponents(targets: Float[Tensor, "samples targets"]) -> Float[Tensor, " targets"]:
    """Powers of two that bring targets whose squares could leave float64 to about 1; 0 for ordinary ones."""
    exponents = torch.frexp(targets.abs().amax(dim=0)).exponent.double()
    return torch.where(exponents.abs() > 150, exponents, 0.0)


def _as_targets(labels: object, features: Float[Tensor, "samples dimensions"]) -> Float[Tensor, "samples targets"]:
    """What a linear model is to explain, one column per class or regression target, float64."""
    tensor = to_tensor("labels", labels)
    if not tensor.is_floating_point():
        classes, counts = as_present_classes(labels, len(features), features.device)
        return torch.nn.functional.one_hot(classes, len(counts)).double()
    targets = tensor.to(device=features.device, dtype=torch.float64)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != len(features) or targets.shape[1] == 0:
        shape = f"[{len(features)}] or [{len(features)}, targets]"
        raise ValueError(f"Expected floating-point `labels` to have shape {shape}, but got {list(tensor.shape)}.")
    if not bool(torch.isfinite(targets).all()):
        row = int((~torch.isfinite(targets)).any(dim=1).nonzero()[0, 0])
        raise ValueError(f"Expected `labels` to be finite, but row {row} holds NaN or infinity.")
    zero = ~targets.any(dim=0)
    if bool(zero.any()):
        column = int(zero.int().argmax())
        raise ValueError(f"Expected no target in `labels` to be zero throughout, but column {column} is.")
    return targets


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Features and targets in the basis in which the features' samples-by-samples Gram matrix is diagonal.

    Attributes:
        log_eigenvalues: ``[m]``, m the smaller of samples and dimensions, in any order; -inf for an eigenvalue of 0.
        energies: ``[m, targets]``, squared coordinates of the targets along these directions.
        outside: ``[targets]``, what the targets have in no direction that the features reach.
        totals: ``[targets]``, squared norms of the targets.
        samples: Number of samples.
    """

    log_eigenvalues: _Numbers
    energies: _Numbers
    outside: _Numbers
    totals: _Numbers
    samples: int

    @property
    def log_positive(self) -> _Numbers:
        """Logs of the eigenvalues above 0."""
        return self.log_eigenvalues[np.isfinite(self.log_eigenvalues)]


def _spectrum_of_gram(features: Tensor, targets: Tensor) -> _Spectrum:
    """Quick: by the Gram matrix of the columns. For more samples than dimensions."""
    dimensions = features.shape[1]
    product = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=features.device)
    with_targets = torch.zeros(dimensions, targets.shape[1], dtype=torch.float64, device=features.device)
    for rows, goals in zip(row_blocks(features), torch.split(targets, ROWS_AT_ONCE), strict=True):
        product += gram(rows)
        with_targets += rows.T @ goals
    eigenvalues, vectors = torch.linalg.eigh(product)
    floor = EPSILON * eigenvalues[-1].clamp(min=torch.finfo(torch.float64).tiny)
    energies = (vectors.T @ with_targets).square() / eigenvalues.clamp(min=floor)[:, None]
    totals = targets.square().sum(dim=0)
    outside = (totals - energies.sum(dim=0)).clamp(min=0.0)
    logs = eigenvalues.clamp(min=0.0).log()
    return _Spectrum(_numbers(logs), _numbers(energies), _numbers(outside), _numbers(totals), len(features))


def _spectrum_of_factor(features: Tensor, targets: Tensor) -> _Spectrum:
    """Slower, and right to the last digits: by Householder reflections and singular values."""
    samples, dimensions = features.shape
    pairs = zip(row_blocks(features, rows=ROWS_TO_FACTOR), torch.split(targets, ROWS_TO_FACTOR), strict=True)
    factor = triangular_factor(torch.cat(pair, dim=1) for pair in pairs)
    size = min(samples, dimensions)
    rounding = max(samples, dimensions) * EPSILON
    left, singular = scaled_svd(factor[:size, :dimensions], rounding)
    energies = (left.T @ factor[:size, dimensions:]).square()
    outside = factor[size:, dimensions:].square().sum(dim=0)
    totals = targets.square().sum(dim=0)
    empty = singular == 0.0
    outside = outside + energies[empty].sum(dim=0)
    energies, logs = energies.masked_fill(empty[:, None], 0.0), 2.0 * singular.log()
    outside = outside.masked_fill(outside <= rounding**2 * totals, 0.0)
    return _Spectrum(_numbers(logs), _numbers(energies), _numbers(outside), _numbers(totals), samples)


def _numbers(tensor: Tensor) -> _Numbers:
    numbers: _Numbers = tensor.cpu().numpy()
    return numbers


@dataclass(frozen=True, eq=False)
class _Step:
    """One step of the fixed-point iteration, for several targets at once; t stands for alpha / beta.

    Attributes:
        weights: t times the squared norm of the mean weights, ``[targets]``.
        residuals: Squared norm of what they leave of the targets, ``[targets]``.
        change: Log of the next t minus log of this one, ``[targets]``.
    """

    weights: _Numbers
    residuals: _Numbers
    change: _Numbers


def _step(spectrum: _Spectrum, log_t: _Numbers, chosen: Any = slice(None)) -> _Step:
    # By logs alone, so that no scale of the features leaves the range of float64.
    ratios, energies = spectrum.log_eigenvalues[:, None] - log_t, spectrum.energies[:, chosen]
    learned, left = expit(ratios), expit(-ratios)  # eigenvalue / (eigenvalue + t), and t / (eigenvalue + t)
    effective = learned.sum(axis=0)  # gamma, the number of weights that the data determine
    free = spectrum.samples - len(ratios) + left.sum(axis=0)  # n - gamma, without cancellation
    weights = (energies * learned * left).sum(axis=0)
    residuals = spectrum.outside[chosen] + (energies * left * left).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log(effective / free) + np.log(residuals / weights)
    return _Step(weights, residuals, change)


_STEPS = 100
"""Plain steps before the search for the nearest fixed point."""

_SETTLED = 1e-10
"""Change of log(alpha / beta) below which it has settled; the evidence is flat there, so its error is the square."""

_FAR = math.log(1e14)
"""How far log t may lie outside the logs of the eigenvalues; beyond, the evidence no longer changes."""


@dataclass(frozen=True, eq=False)
class _Balance:
    """Where the iteration has led.

    Attributes:
        log_t: Log of alpha / beta for each target; -inf and inf where it runs away.
        lowest: The smallest value that any of them had on the way.
    """

    log_t: _Numbers
    lowest: float


def _balance(spectrum: _Spectrum, log_start: float) -> _Balance:
    """Where the iteration converges.

    alpha and beta follow from their ratio t, so the iteration is one in t alone. It converges linearly, now and then
    very slowly; after enough steps to have settled near one fixed point, that one is found by bisection.
    """
    logs = spectrum.log_positive
    explained = (spectrum.energies[np.isfinite(spectrum.log_eigenvalues)] > 0.0).any(axis=0)
    log_t = np.where(explained, log_start, np.inf)
    if not len(logs):
        return _Balance(np.full_like(log_t, np.inf), math.inf)
    least, most = float(logs.min()) - _FAR, float(logs.max()) + _FAR
    active = np.flatnonzero(explained)
    log_t[active] = min(max(log_start, least), most)  # farther out, a step in either direction is the same
    lowest = math.inf
    for _ in range(_STEPS):
        if not len(active):
            return _Balance(log_t, lowest)
        lowest = min(lowest, float(log_t[active].min()))
        change = _step(spectrum, log_t[active], active).change
        log_t[active] += change
        log_t[log_t > most] = np.inf
        log_t[(log_t < least) & (spectrum.outside == 0.0)] = -np.inf
        active = active[(np.abs(change) > _SETTLED) & np.isfinite(log_t[active])]
    for target in active:
        log_t[target] = _nearest_fixed_point(spectrum, int(target), float(log_t[target]), least, most)
    return _Balance(log_t, min(lowest, float(log_t.min())))


def _nearest_fixed_point(spectrum: _Spectrum, target: int, start: float, least: float, most: float) -> float:
    """The fixed point towards which the iteration moves, by doubling steps until it is passed and then bisection."""

    def change(log_t: float) -> float:
        return float(_step(spectrum, np.array([log_t]), np.array([target])).change[0])

    stride = change(start)
    direction = math.copysign(1.0, stride)
    near, far = start, start + stride
    while change(far) * direction > 0.0:
        if far > most:
            return math.inf
        if far < least and spectrum.outside[target] == 0.0:
            return -math.inf
        stride *= 2.0
        near, far = far, far + stride
    while abs(far - near) > _SETTLED * max(1.0, abs(near)):
        middle = (near + far) / 2.0
        near, far = (middle, far) if change(middle) * direction > 0.0 else (near, middle)
    return (near + far) / 2.0


def _is_exact_enough(spectrum: _Spectrum, balance: _Balance) -> bool:
    """Whether the rounding of a Gram matrix, about 2^-52 of its largest eigenvalue, is far below what matters here."""
    log_t, logs = balance.log_t, spectrum.log_positive
    if not len(logs) or bool((log_t == -np.inf).any()):
        return False
    rounding = float(logs.max()) + math.log(EPSILON)
    # Where t once was below what rounding blurs, the iteration may have gone astray, to infinity above all.
    blurred = bool((spectrum.log_eigenvalues < rounding + _LEEWAY).any())
    if blurred and balance.lowest < rounding + _LEEWAY:
        return False
    finite = np.where(np.isfinite(log_t), log_t, float(logs.max()))
    small = finite < rounding + 2.0 * _LEEWAY
    cancelled = _step(spectrum, finite).residuals < 1e-7 * spectrum.totals
    return not bool((small | cancelled).any())


_LEEWAY = math.log(1e4)
"""Log of how far above rounding a number has to be to be good to some digits; twice that, to eight of them."""


def _evidence(spectrum: _Spectrum, log_t: _Numbers) -> _Numbers:
    """Log evidence per sample at a ratio of alpha and beta, with the best beta for it; the power of alpha cancels."""
    result = np.empty(len(log_t))
    for target, ratio in enumerate(log_t):
        result[target] = _evidence_of(spectrum, target, float(ratio))
    return result


def _evidence_of(spectrum: _Spectrum, target: int, log_t: float) -> float:
    logs, samples = spectrum.log_positive, spectrum.samples
    if log_t == math.inf:
        misfit, volume = float(spectrum.totals[target]), 0.0
    else:
        if log_t == -math.inf:
            if len(logs) < samples:
                return math.inf
            log_t = float(logs.min()) - _FAR
        step = _step(spectrum, np.array([log_t]), np.array([target]))
        misfit = float(step.residuals[0] + step.weights[0])
        volume = float(np.logaddexp(0.0, logs - log_t).sum()) / samples
    return (math.log(samples / misfit) - math.log(2.0 * math.pi) - 1.0 - volume) / 2.0
