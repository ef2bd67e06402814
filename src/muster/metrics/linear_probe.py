"""Linear probe: turn a source model into a classifier of the target's classes, by a linear fit to its features.

Axis names: ``pixels`` the probe pixels, ``dimensions`` of a feature vector, ``coordinates`` of a standardised one along
its principal axes, ``classes`` the target's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from muster.metrics._linear_algebra import gram
from muster.metrics._products import product
from muster.metrics._softmax_regression import SoftmaxRegressions
from muster.precision import full_products
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
mean log-likelihoods on real features by 0.002 at most, and agreement with fine-tuned mIoU not at all."""

_TRIAL_TOLERANCE = 1e-5
"""On the objective: trials are in float32, which cannot tell less apart."""

_SAFE_EXPONENT = 50
"""Between 2^-50 and 2^50 float32 holds weights of a column, and the sum of its squares."""

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
        seed: The seed of the splits and the drawing of pixels.

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
    labels: object,
    groups: object,
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
    exponents = _extreme_exponents(features)
    values = _even(features, exponents)
    device = values.device
    target, count = as_labels(labels, len(values), num_classes, device)
    images, classes = as_groups(groups, len(values)), target.cpu().numpy()
    generator = np.random.default_rng(seed)
    right = split_in_halves(images, classes, generator)
    result = torch.empty(len(values), count, dtype=values.dtype, device=device)
    drawn = [_draw(half, generator) for half in (right, ~right)]
    quarters = [split_in_halves(images[rows], classes[rows], generator) for rows in drawn]
    fitted: dict[int, _Classifier] = {}

    def fit_and_read(halves: Sequence[int]) -> None:
        own = [torch.from_numpy(drawn[half]).to(device) for half in halves]
        split = [torch.from_numpy(quarters[half]) for half in halves]
        fits = _fit([values[rows] for rows in own], [target[rows] for rows in own], split, count)
        for half, classifier in zip(halves, fits, strict=True):
            fitted[half] = classifier
            unseen = torch.from_numpy(np.flatnonzero(right if half else ~right)).to(device)
            for block in torch.split(unseen, _PIXELS_AT_ONCE):
                result[block] = classifier.predict(values[block])

    with full_products():
        if device.type == "cpu":
            with one_thread(), ThreadPoolExecutor(len(drawn)) as pool:
                for _ in pool.map(fit_and_read, ([0], [1])):
                    pass
        else:
            fit_and_read([0, 1])  # side by side, since a GPU takes as long for one
    scale = torch.exp2(-exponents.double())
    classifiers = torch.stack([fitted[half].in_one(scale) for half in range(len(drawn))])
    return FittedLinearProbe(result, classifiers, torch.from_numpy(np.where(right, 1, 0)).to(device))


@dataclass(frozen=True, eq=False)
class _Axes:
    """From features to coordinates that are centred and uncorrelated, and whose variances sum to at most one a feature.

    Attributes:
        centre: ``[dimensions]``, of the features' type. The mean, rounded: differences to it are hardly rounded.
        scale: Likewise, what they are multiplied by; 0 for a constant column.
        vectors: float64 ``[dimensions, coordinates]``: the principal axes.
    """

    centre: Tensor
    scale: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, features: Float[Tensor, "pixels dimensions"]) -> tuple[_Axes, Float[Tensor, "pixels coordinates"]]:
        """Standardise and find the principal axes; a constant column has no part in any.

        Returns:
            The axes, and the coordinates of the features that they were found for, float64.
        """
        mean = features.mean(dim=0, dtype=torch.float64)
        centre = mean.to(features.dtype)
        centred = features - centre
        deviation = centred.square().mean(dim=0).double().sqrt()
        rounding = 8 * torch.finfo(features.dtype).eps * mean.abs()
        scale = torch.where(deviation > rounding, 1 / deviation, 0.0).to(features.dtype)
        standard = centred.mul_(scale)
        exact = standard.double()
        _, vectors = torch.linalg.eigh(gram(exact))  # ascending
        vectors = vectors[:, -COORDINATES:].contiguous()
        return cls(centre, scale, vectors), product(exact, vectors)

    def classifier(
        self, parameters: Float[Tensor, "classes parameters"], log_shares: Float[Tensor, " classes"]
    ) -> _Classifier:
        """A fit to coordinates, in terms of the features."""
        weights = self.scale.double()[:, None] * product(self.vectors, parameters[:, :-1].T.double())
        offsets = parameters[:, -1].double() + log_shares
        return _Classifier(self.centre, weights.to(self.centre.dtype), offsets.to(self.centre.dtype))


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


def _extreme_exponents(features: Float[Tensor, "pixels dimensions"]) -> Int[Tensor, " dimensions"]:
    """Of columns of an extreme scale the power of two that they come near to; 0 for all others."""
    low, high = features.amin(dim=0), features.amax(dim=0)  # half of the time of `aminmax` along columns
    exponents = torch.frexp(torch.maximum(low.abs(), high.abs())).exponent
    return torch.where(exponents.abs() > _SAFE_EXPONENT, exponents, 0)


def _even(
    features: Float[Tensor, "pixels dimensions"], exponents: Int[Tensor, " dimensions"]
) -> Float[Tensor, "pixels dimensions"]:
    """The features, columns divided by powers of two: then neither squares nor weights overflow."""
    if not bool(exponents.any()):
        return features
    half = exponents.double() / 2  # the whole factor need not be a number that float64 holds
    factors = torch.exp2(-half.floor()), torch.exp2(-half.ceil())
    return (features.double() * factors[0] * factors[1]).to(features.dtype)


def _draw(half: Bool[NumpyArray, " pixels"], generator: np.random.Generator) -> Int[NumpyArray, " drawn"]:
    """Indices of the half's pixels, or of a random part of them if they are many; ascending."""
    places = np.flatnonzero(half)
    if len(places) <= FITTED_PIXELS:
        return places
    return np.sort(generator.choice(places, FITTED_PIXELS, replace=False))


def _fit(
    features: Sequence[Float[Tensor, "_ dimensions"]],
    labels: Sequence[Int[Tensor, " _"]],
    quarters: Sequence[Bool[Tensor, " _"]],
    num_classes: int,
) -> list[_Classifier]:
    """Fit to halves of the images, each for itself; ``quarters`` say where one half of these is."""
    axes, coordinates = zip(*(_Axes.of(rows) for rows in features), strict=True)
    choices = _choose(coordinates, labels, quarters, num_classes)
    # In double precision: where classes are far apart the objective is so flat that single precision would end the fit
    # at another place for features that differ by rounding (other batches or processes moved scores by 0.003).
    model = SoftmaxRegressions(coordinates, labels, num_classes)
    start = torch.stack([choice.start for choice in choices]).double()
    found = model.minimise([choice.penalty for choice in choices], start, _FINAL_STEPS)
    return [
        own.classifier(choice.inverse_temperature * parameters, log_shares)
        for own, choice, parameters, log_shares in zip(axes, choices, found, model.log_shares, strict=True)
    ]


@dataclass(eq=False)
class _Choice:
    """What does best on held-out images of one half, so far.

    Attributes:
        start: float32 ``[classes, parameters]``, to start the fit to the whole half from.
        penalty: The penalty of the ridge.
        inverse_temperature: Factor on the classifier's scores beyond the log class priors.
        score: Mean log-likelihood of the held-out images.
    """

    start: Tensor
    penalty: float = USUAL_PENALTY
    inverse_temperature: float = 1.0
    score: float = -math.inf


def _choose(
    coordinates: Sequence[Float[Tensor, "_ coordinates"]],
    labels: Sequence[Int[Tensor, " _"]],
    quarters: Sequence[Bool[Tensor, " _"]],
    num_classes: int,
) -> list[_Choice]:
    """For each half the penalty and inverse temperature that do best on held-out images."""
    zeros = coordinates[0].new_zeros(num_classes, coordinates[0].shape[1] + 1, dtype=torch.float32)
    choices = [_Choice(zeros) for _ in coordinates]
    trials: list[_Trials] = []
    for choice, values, own, quarter in zip(choices, coordinates, labels, quarters, strict=True):
        if bool(quarter.all()) or not bool(quarter.any()):
            continue  # one image cannot be held out from itself
        trial = _Trials.of(choice, values, own, quarter.to(values.device), num_classes)
        if any(len(scores) for scores in trial.held_out(torch.stack([zeros, zeros]))):
            trials.append(trial)
    if trials:
        _try_penalties(trials, zeros, num_classes)
    return choices


def _try_penalties(trials: Sequence[_Trials], zeros: Tensor, num_classes: int) -> None:
    """Note in the choice of each half the penalty after which the next one gains nothing."""
    model = SoftmaxRegressions(
        [part for trial in trials for part in trial.rough],
        [part for trial in trials for part in trial.labels],
        num_classes,
    )
    solutions = zeros.expand(2 * len(trials), *zeros.shape)
    going = list(range(len(trials)))
    for penalty in PENALTIES:
        solutions = model.minimise([penalty] * len(solutions), solutions, _TRIAL_STEPS, _TRIAL_TOLERANCE)
        going = [place for place in going if trials[place].improve(penalty, solutions[2 * place : 2 * place + 2])]
        if not going:
            break


@dataclass(frozen=True, eq=False)
class _Trials:
    """One half in two quarters: what is fitted to one is judged by the other.

    Attributes:
        choice: The best for this half, so far.
        rough: float32 ``[pixels, coordinates]`` of each quarter.
        labels: The labels of each quarter.
        log_shares: float64 ``[classes]``, of the classes of each quarter.
        dtype: The type of the features: what is judged is compared in it.
    """

    choice: _Choice
    rough: tuple[Tensor, Tensor]
    labels: tuple[Tensor, Tensor]
    log_shares: tuple[Tensor, Tensor]
    dtype: torch.dtype

    @classmethod
    def of(cls, choice: _Choice, coordinates: Tensor, labels: Tensor, quarter: Tensor, num_classes: int) -> _Trials:
        """Split coordinates and labels."""
        rough = coordinates.to(torch.float32)
        own = labels[quarter], labels[~quarter]
        shares = [torch.bincount(part, minlength=num_classes).double() / len(part) for part in own]
        return cls(
            choice, (rough[quarter], rough[~quarter]), own, (shares[0].log(), shares[1].log()), coordinates.dtype
        )

    def improve(self, penalty: float, solutions: Float[Tensor, "2 classes parameters"]) -> bool:
        """Take what was fitted with a penalty if held-out images gain by it."""
        inverse_temperature, score = best_inverse_temperature(self.held_out(solutions))
        if score <= self.choice.score:
            return False
        self.choice.penalty, self.choice.inverse_temperature, self.choice.score = penalty, inverse_temperature, score
        self.choice.start = (solutions[0] + solutions[1]) / 2
        return True

    def held_out(self, solutions: Float[Tensor, "2 classes parameters"]) -> list[Scores]:
        """What the parameters fitted to each quarter say of the other one."""
        scores = []
        for place, parameters in enumerate(solutions):
            values = product(self.rough[1 - place], parameters[:, :-1].T) + parameters[:, -1]
            scores.append(Scores.of_known(values.to(self.dtype), self.log_shares[place], self.labels[1 - place]))
        return scores
