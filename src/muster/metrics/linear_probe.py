"""Linear probe: turn a source model into a classifier of the target's classes, by a linear fit to its features.

Axis names: ``pixels`` the probe pixels, ``dimensions`` of a feature vector, ``coordinates`` of a standardised one along
its principal axes, ``classes`` the target's.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.arrays import Labels, NumpyArray, as_labels
from muster.metrics._features import as_features
from muster.metrics._image_halves import Groups, as_groups, split_in_halves
from muster.metrics._inverse_temperature import Scores, best_inverse_temperature
from muster.metrics._products import product
from muster.metrics._softmax_regression import SoftmaxRegression
from muster.threads import one_thread

PixelFeatures: TypeAlias = Float[Tensor, "pixels dimensions"] | Float[NumpyArray, "pixels dimensions"]

FITTED_PIXELS = 20_000
"""Most pixels of a half that are fitted to. More pixels of the same images add hardly anything: with 48 features and 75
images, 0.001 in mean log-likelihood from 25 000 to 75 000."""

COORDINATES = 256
"""Most principal axes that are used; of 448 features, the others were worth 0.003 in mean log-likelihood."""

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Tried in this order, each from the solution of the one before, for as long as held-out images gain by it."""

USUAL_PENALTY = 1e-2
"""Taken where a half is a single image, so that none can be held out."""

_TRIAL_STEPS, _FINAL_STEPS = 8, 15
"""L-BFGS steps for one penalty on an inner half, and for the fit that is read. Twice as many, all in float64, changed
mean log-likelihoods on real features by 0.002 at most, and agreement with what ensembles reached not at all."""

_TRIAL_TOLERANCE = 1e-5
"""On the objective: trials are in float32, which cannot tell less apart."""

_SAFE_EXPONENT = 100
"""Between 2^-100 and 2^100 float32 holds weights of a column, and float64 the squares of one."""

_PIXELS_AT_ONCE = 8_192


@overload
def linear_probe(
    features: Float[Tensor, "pixels dimensions"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
) -> Float[Tensor, "pixels classes"]: ...
@overload
def linear_probe(
    features: Float[NumpyArray, "pixels dimensions"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
) -> Float[NumpyArray, "pixels classes"]: ...
def linear_probe(
    features: PixelFeatures, labels: Labels, groups: Groups, num_classes: int | None = None, seed: int = 0
) -> Float[Tensor, "pixels classes"] | Float[NumpyArray, "pixels classes"]:
    """Cross-validated linear classifier of the target's classes on one source model's features.

    The images are split in two halves, rare classes into both. A multinomial logistic regression is fitted to each half
    and read on the other: no pixel is judged by a fit that saw its image. Per half:

    1. At most 20 000 of its pixels, drawn at random, are fitted to. Their features are centred, scaled to variance 1
       and turned to their principal axes, of which the first 256 are kept.
    2. Each quarter (half of the half's images) predicts the other one with ridge penalties falling from 0.1 to 0.0001.
       The penalty and the inverse temperature t below are those with the largest log-likelihood on these held-out
       images.
    3. With them the half is fitted, by at most 15 steps of preconditioned L-BFGS, which on real features left the
       objective within 0.0005 of its minimum and probabilities within 0.002 on average. The result is
       softmax(t (x W' + b) + log share), ``share`` being the part of the fitted pixels that each class has.

    No class is weighted: the prior is that of the probe pixels, whose drawing has made rare classes frequent, as it is
    for :func:`muster.metrics.eep`. Features that say nothing give the shares.

    Args:
        features: The model's features, e.g. the map before its final classifier, ``[pixels, dimensions]``, finite; half
            precision is promoted to float32. Constant and duplicated columns do no harm, nor do more dimensions than
            pixels; shifting and scaling columns changes nothing.
        labels: Target classes, ``[pixels]``, integers in 0..num_classes-1; void must have been left out.
        groups: Which image each pixel is from, ``[pixels]``, any integers, of at least two images. With less than four
            images a half can be a single one: then the penalty is 0.01 and t is 1.
        num_classes: Number of target classes; by default one more than the largest label. A class that is absent from a
            half gets 0 from the fit to it, one absent altogether 0 everywhere.
        seed: Of the splits and the drawing of pixels.

    Returns:
        ``[pixels, classes]``, float32 or float64, of the kind that ``features`` is (tensor on the same device, or NumPy
        array). Rows sum to 1. The number of threads does not matter, since each half is fitted by one; rounding in the
        features does to about 1e-5, because trials are in float32.

    Raises:
        ValueError: If ``features`` is not a floating-point array with two non-empty axes, or holds NaN or infinity.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..num_classes-1 (void included).
        ValueError: If ``groups`` are not integers, not one per pixel, or all alike.

    Example:
        >>> import numpy as np
        >>> labels, groups = np.arange(40) % 2, np.arange(40) // 10
        >>> features = np.stack([labels + 0.1 * np.sin(np.arange(40)), np.cos(np.arange(40))], axis=1)
        >>> predictions = linear_probe(features, labels, groups)
        >>> predictions.shape, bool((predictions.argmax(axis=1) == labels).all())
        ((40, 2), True)
    """
    found = fit_linear_probe(as_features("features", features), labels, groups, num_classes, seed).predictions
    return found if isinstance(features, Tensor) else found.numpy()


@dataclass(frozen=True, eq=False)
class FittedLinearProbe:
    """What a linear probe gives at the probe pixels, and the two classifiers that gave it.

    Attributes:
        predictions: ``[pixels, classes]``, each pixel's by the classifier that did not see its image.
        classifiers: float64 ``[2, classes, dimensions + 1]``: weights and, last, the offset of each class. The scores
            of features as they came are ``features @ weights.T + offsets``, before softmax.
        reader: int64 ``[pixels]``, which of the two classifiers read each pixel; the same for all pixels of an image.
    """

    predictions: Tensor
    classifiers: Tensor
    reader: Tensor


def fit_linear_probe(
    features: Float[Tensor, "pixels dimensions"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
) -> FittedLinearProbe:
    """The same as :func:`linear_probe`, with the classifiers, so that they can be applied to whole images.

    Args:
        features: As for :func:`linear_probe`, checked.
        labels: Likewise.
        groups: Likewise.
        num_classes: Likewise.
        seed: Likewise.

    Returns:
        Predictions and classifiers, on the features' device.

    Raises:
        ValueError: As :func:`linear_probe`.
    """
    values = _even(features)
    device = values.device
    target, count = as_labels(labels, len(values), num_classes, device)
    images, classes = as_groups(groups, len(values)), target.cpu().numpy()
    generator = np.random.default_rng(seed)
    right = split_in_halves(images, classes, generator)
    result = torch.empty(len(values), count, dtype=values.dtype, device=device)
    drawn = [_draw(half, generator) for half in (right, ~right)]
    quarters = [split_in_halves(images[rows], classes[rows], generator) for rows in drawn]
    fitted: dict[int, _Classifier] = {}

    def fit_and_read(half: int) -> None:
        rows, quarter = (torch.from_numpy(array).to(device) for array in (drawn[half], quarters[half]))
        classifier = fitted[half] = _fit(values[rows], target[rows], quarter, count)
        unseen = np.flatnonzero(right if half else ~right)
        for block in torch.split(torch.from_numpy(unseen).to(device), _PIXELS_AT_ONCE):
            result[block] = classifier.predict(values[block])

    with one_thread(), ThreadPoolExecutor(len(drawn)) as pool:
        for _ in pool.map(fit_and_read, range(len(drawn))):
            pass
    scale = _even_scale(features)
    classifiers = torch.stack([fitted[half].in_one(scale) for half in range(len(drawn))])
    return FittedLinearProbe(result, classifiers, torch.from_numpy(np.where(right, 1, 0)).to(device))


@dataclass(frozen=True, eq=False)
class _Axes:
    """From features to coordinates that are centred and uncorrelated, and whose variances sum to at most one a feature.

    Attributes:
        centre: float64 ``[dimensions]``.
        matrix: float64 ``[dimensions, coordinates]``.
    """

    centre: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, features: Float[Tensor, "pixels dimensions"]) -> _Axes:
        """Standardise and find the principal axes; a constant column has no part in any."""
        centred = features.double()
        centre = centred.mean(dim=0)
        centred = centred - centre
        spread = centred.square().mean(dim=0).sqrt()
        rounding = 8 * torch.finfo(features.dtype).eps * centre.abs()
        scale = torch.where(spread > rounding, 1 / spread, 0.0)
        standard = centred.mul_(scale)
        _, vectors = torch.linalg.eigh(product(standard.T, standard))  # ascending
        return cls(centre, scale[:, None] * vectors[:, -COORDINATES:])

    def __call__(self, features: Float[Tensor, "pixels dimensions"]) -> Float[Tensor, "pixels coordinates"]:
        """Coordinates, float64."""
        return product(features.double() - self.centre, self.matrix)


@dataclass(frozen=True, eq=False)
class _Classifier:
    """A fit in terms of the features as they came, in their precision."""

    centre: Float[Tensor, " dimensions"]
    weights: Float[Tensor, "dimensions classes"]
    offsets: Float[Tensor, " classes"]

    def predict(self, features: Float[Tensor, "pixels dimensions"]) -> Float[Tensor, "pixels classes"]:
        """Probabilities."""
        # Centred first: a large mean times the weights would round away what differs between pixels.
        return product(features - self.centre, self.weights).add_(self.offsets).softmax(dim=1)

    def in_one(self, scale: Float[Tensor, " dimensions"]) -> Float[Tensor, "classes dimensions_and_one"]:
        """Weights and offset of each class for features that were not yet multiplied by ``scale``, float64."""
        weights = self.weights.double()
        offsets = self.offsets.double() - self.centre.double() @ weights
        return torch.cat([(weights * scale[:, None]).T, offsets[:, None]], dim=1)


def _even(features: Float[Tensor, "pixels dimensions"]) -> Float[Tensor, "pixels dimensions"]:
    """The features, columns of an extreme scale divided by a power of two: neither squares nor weights overflow."""
    low, high = torch.aminmax(features, dim=0)
    exponents = torch.frexp(torch.maximum(low.abs(), high.abs())).exponent
    extreme = exponents.abs() > _SAFE_EXPONENT
    if not bool(extreme.any()):
        return features
    half = torch.where(extreme, exponents, 0).double() / 2  # the whole factor need not be a number that float64 holds
    factors = torch.exp2(-half.floor()), torch.exp2(-half.ceil())
    return (features.double() * factors[0] * factors[1]).to(features.dtype)


def _even_scale(features: Float[Tensor, "pixels dimensions"]) -> Float[Tensor, " dimensions"]:
    """What :func:`_even` multiplies columns by, float64."""
    low, high = torch.aminmax(features, dim=0)
    exponents = torch.frexp(torch.maximum(low.abs(), high.abs())).exponent
    return torch.exp2(-torch.where(exponents.abs() > _SAFE_EXPONENT, exponents, 0).double())


def _draw(half: Bool[NumpyArray, " pixels"], generator: np.random.Generator) -> Int[NumpyArray, " drawn"]:
    """Indices of the half's pixels, or of a random part of them if they are many; ascending."""
    places = np.flatnonzero(half)
    if len(places) <= FITTED_PIXELS:
        return places
    return np.sort(generator.choice(places, FITTED_PIXELS, replace=False))


def _fit(
    features: Float[Tensor, "pixels dimensions"],
    labels: Int[Tensor, " pixels"],
    quarter: Bool[Tensor, " pixels"],
    num_classes: int,
) -> _Classifier:
    """Fit to one half of the images; ``quarter`` is where one half of these are."""
    axes = _Axes.of(features)
    coordinates = axes(features)
    penalty, inverse_temperature, start = _choose(coordinates, labels, quarter, num_classes)
    model = SoftmaxRegression(coordinates, labels, num_classes)
    parameters = inverse_temperature * model.minimise(penalty, start, _FINAL_STEPS)
    weights = product(axes.matrix, parameters[:, :-1].T)
    offsets = parameters[:, -1] + model.log_shares
    dtype, rounded = features.dtype, axes.centre.to(features.dtype)
    offsets = offsets + (rounded.double() - axes.centre) @ weights
    return _Classifier(rounded, weights.to(dtype), offsets.to(dtype))


def _choose(
    coordinates: Float[Tensor, "pixels coordinates"],
    labels: Int[Tensor, " pixels"],
    quarter: Bool[Tensor, " pixels"],
    num_classes: int,
) -> tuple[float, float, Float[Tensor, "classes parameters"]]:
    """Penalty and inverse temperature that do best on held-out images, and parameters to start from."""
    rough = coordinates.to(torch.float32)
    zeros = rough.new_zeros(num_classes, coordinates.shape[1] + 1)
    usual = USUAL_PENALTY, 1.0, zeros.double()
    if bool(quarter.all()) or not bool(quarter.any()):
        return usual
    trials = [_Trial.of(rough, labels, fitted, num_classes) for fitted in (quarter, ~quarter)]
    if not any(len(trial.held_out(zeros)) for trial in trials):
        return usual
    best, choice, solutions = -math.inf, usual, [zeros, zeros]
    for penalty in PENALTIES:
        solutions = [
            trial.model.minimise(penalty, start, _TRIAL_STEPS, _TRIAL_TOLERANCE)
            for trial, start in zip(trials, solutions, strict=True)
        ]
        said = [trial.held_out(solution) for trial, solution in zip(trials, solutions, strict=True)]
        inverse_temperature, score = best_inverse_temperature(said)
        if score <= best:
            break
        best, choice = score, (penalty, inverse_temperature, (solutions[0] + solutions[1]).double() / 2)
    return choice


@dataclass(frozen=True, eq=False)
class _Trial:
    """A fit to one quarter, and the other one to judge it by."""

    model: SoftmaxRegression
    coordinates: Float[Tensor, "pixels coordinates"]
    labels: Int[Tensor, " pixels"]

    @classmethod
    def of(cls, coordinates: Tensor, labels: Tensor, fitted: Tensor, num_classes: int) -> _Trial:
        """Split coordinates and labels."""
        model = SoftmaxRegression(coordinates[fitted], labels[fitted], num_classes)
        return cls(model, coordinates[~fitted], labels[~fitted])

    def held_out(self, parameters: Float[Tensor, "classes parameters"]) -> Scores:
        """What these parameters say of the other quarter."""
        values = product(self.coordinates, parameters[:, :-1].T) + parameters[:, -1]
        return Scores.of_known(values.double(), self.model.log_shares, self.labels)
