"""Ridge probe: predict numbers, such as depths, from a source model's features, by a linear fit with a penalty.

Axis names: ``pixels`` the probe pixels, ``dimensions`` of a feature vector, ``columns`` the dimensions, a one and the
number, ``members`` source models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from muster.arrays import NumpyArray, to_floating
from muster.metrics._features import Features, as_features
from muster.metrics._image_halves import Groups, as_groups
from muster.metrics._linear_algebra import gram, row_blocks
from muster.metrics._standardise import Standardisation, standardisation_of

Numbers: TypeAlias = Float[Tensor, "pixels"] | Float[NumpyArray, "pixels"]

PENALTIES = tuple(10.0**power for power in range(-6, 3))
"""Tried for features of variance 1, relative to the number of pixels."""

USUAL_PENALTY = 1e-2
"""Taken where a half is a single image, so that none can be held out."""


def ridge_probe(features: Features, numbers: Numbers, groups: Groups, seed: int = 0) -> float:
    """Share of the variance of numbers that a linear fit explains on images that it was not fitted on (R2).

    See :func:`ridge_predictions`.

    Args:
        features: ``[pixels, dimensions]``, floating point.
        numbers: ``[pixels]``, floating point: what is to be predicted.
        groups: ``[pixels]``, integers: the image of each pixel.
        seed: Which images are in which half.

    Returns:
        At most 1; larger is better; below 0 if the mean of all numbers is a better guess.

    Raises:
        ValueError: As :func:`ridge_predictions`; or if all numbers are equal, so that there is nothing to explain.

    Source:
        Ours, as the linear probe for classes. Ridge regression is Hoerl and Kennard, Technometrics 1970.

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0]])
        >>> round(ridge_probe(features, 3 * features[:, 0] + 1, np.arange(8)), 6)
        1.0
    """
    values = _as_numbers(numbers, len(features))
    found = ridge_predictions(features, values, groups, seed)
    return _r2((found - values).square().sum(), values)


def ridge_mean(features: Sequence[Features], numbers: Numbers, groups: Groups, seed: int = 0) -> float:
    """The same for an ensemble: R2 of the mean of its members' predictions.

    Args:
        features: Of each member, ``[pixels, dimensions]``.
        numbers: See :func:`ridge_probe`.
        groups: Likewise.
        seed: Likewise.

    Returns:
        As :func:`ridge_probe`; it means the same for every size of an ensemble.

    Raises:
        ValueError: As there, or if there is no member.
    """
    if not len(features):
        raise ValueError("Expected `features` of at least one member, but got none.")
    values = _as_numbers(numbers, len(features[0]))
    mean = torch.stack([ridge_predictions(each, values, groups, seed) for each in features]).mean(dim=0)
    return _r2((mean - values).square().sum(), values)


def ridge_predictions(
    features: Features, numbers: Numbers, groups: Groups, seed: int = 0
) -> Float64[Tensor, " pixels"]:
    """Cross-fitted linear predictions of numbers.

    The images are split in two halves at random. Ridge regression with an intercept, on features of variance 1, is
    fitted to each half and read on the other. Its penalty is the one of :data:`PENALTIES` with which a fit to one half
    of the half's images does best on the other half of them.

    Args:
        features: See :func:`ridge_probe`.
        numbers: Likewise.
        groups: Likewise.
        seed: Likewise.

    Returns:
        A prediction for each pixel, by the fit that did not see its image. On the device of the features.

    Raises:
        ValueError: If ``features`` is no array of finite floating-point numbers, ``numbers`` are not one finite number
            a pixel, or ``groups`` not one integer a pixel, of at least two images.
    """
    rows = as_features("features", features)
    values = _as_numbers(numbers, len(rows)).to(rows.device)
    quarters = _quarters(as_groups(groups, len(rows)), seed)
    standardise, shift = standardisation_of("features", rows), values.mean()
    centred = values - shift
    products = {
        (half, inner): _products(rows, centred, standardise, torch.from_numpy(quarters == 2 * half + inner))
        for half in range(2)
        for inner in range(2)
    }
    found = torch.empty_like(values)
    for half in range(2):
        fit = _fitted([products[half, 0], products[half, 1]])
        read = torch.from_numpy(quarters // 2 == 1 - half).to(rows.device)
        found[read] = _predicted(rows, standardise, read, fit) + shift
    return found


def _as_numbers(numbers: object, count: int) -> Float64[Tensor, " pixels"]:
    values = to_floating("numbers", numbers).double()
    if values.shape != (count,):
        raise ValueError(f"Expected `numbers` to have shape [{count}], but got {list(values.shape)}.")
    if not bool(values.isfinite().all()):
        row = int((~values.isfinite()).nonzero()[0, 0])
        raise ValueError(f"Expected `numbers` to be finite, but row {row} holds NaN or infinity.")
    return values


def _r2(squares: Tensor, numbers: Tensor) -> float:
    spread = _spread(numbers)
    return 1.0 - float(squares) / spread


def _spread(numbers: Tensor) -> float:
    spread = float((numbers - numbers.mean()).square().sum())
    if spread == 0.0 or float(numbers.max()) == float(numbers.min()):
        raise ValueError("Expected `numbers` that differ, but all are equal, so there is nothing to explain.")
    return spread


def _quarters(groups: Int[NumpyArray, " pixels"], seed: int) -> Int[NumpyArray, " pixels"]:
    """For each pixel the half of its image, twice, plus which half of that half."""
    images = int(groups.max()) + 1
    place = np.empty(images, dtype=np.int64)
    place[np.random.default_rng(seed).permutation(images)] = np.arange(images)
    of_image: NumpyArray = 2 * (place % 2) + place // 2 % 2
    return of_image[groups]


@dataclass(frozen=True, eq=False)
class _Products:
    """Inner products of the columns of some pixels: of standardised features, a one, and the centred number."""

    values: Float64[Tensor, "columns columns"]

    @property
    def pixels(self) -> float:
        return float(self.values[-2, -2])


def _products(
    features: Tensor, numbers: Tensor, standardise: Standardisation, chosen: Bool[Tensor, " pixels"]
) -> _Products:
    columns = features.shape[1] + 2
    total = torch.zeros(columns, columns, dtype=torch.float64, device=features.device)
    chosen = chosen.to(features.device)
    blocks = zip(row_blocks(features[chosen]), row_blocks(numbers[chosen][:, None]), strict=True)
    for rows, goals in blocks:
        total += gram(torch.cat([standardise(rows), torch.ones_like(goals), goals], dim=1))
    return _Products(total)


def _fitted(parts: Sequence[_Products]) -> Float64[Tensor, " columns"]:
    """Weights and intercept of a half, and a minus one, with the penalty that does best within it."""
    both = _Products(parts[0].values + parts[1].values)
    if min(part.pixels for part in parts) == 0.0:
        return _solutions(both, [USUAL_PENALTY])[0]
    errors = [
        torch.stack([fit @ read.values @ fit for fit in _solutions(fitted, PENALTIES)])
        for fitted, read in (parts, parts[::-1])
    ]
    best = int(torch.stack(errors).sum(dim=0).argmin())
    return _solutions(both, [PENALTIES[best]])[0]


def _solutions(of: _Products, penalties: Sequence[float]) -> Float64[Tensor, "penalties columns"]:
    """Ridge regression with each penalty: weights, intercept, minus one."""
    means = of.values[-2] / of.pixels
    covariance = of.values / of.pixels - torch.outer(means, means)
    eigenvalues, vectors = torch.linalg.eigh(covariance[:-2, :-2])
    along = vectors.T @ covariance[:-2, -1]
    found = []
    for penalty in penalties:
        weights = vectors @ (along / (eigenvalues.clamp(min=0.0) + penalty))
        intercept = means[-1] - weights @ means[:-2]
        found.append(torch.cat([weights, intercept[None], -torch.ones_like(intercept)[None]]))
    return torch.stack(found)


def _predicted(
    features: Tensor, standardise: Standardisation, chosen: Bool[Tensor, " pixels"], fit: Float64[Tensor, " columns"]
) -> Float64[Tensor, " chosen"]:
    return torch.cat([standardise(rows) @ fit[:-2] + fit[-2] for rows in row_blocks(features[chosen])])


@dataclass(frozen=True, eq=False)
class RidgeReading:
    """What candidates are compared by, of one member.

    Attributes:
        errors: Prediction minus number, float64 ``[pixels]``.
        spread: Squared distance of the numbers from their mean.
    """

    errors: Float[NumpyArray, " pixels"]
    spread: float


def ridge_of_member(features: Features, numbers: Numbers, groups: Groups) -> RidgeReading:
    """See :class:`RidgeReading`.

    Args:
        features: See :func:`ridge_probe`.
        numbers: Likewise.
        groups: Likewise.
    """
    values = _as_numbers(numbers, len(features))
    found = ridge_predictions(features, values, groups)
    return RidgeReading((found.cpu() - values.cpu()).numpy(), _spread(values))


def ridge_of_candidates(
    members: Sequence[RidgeReading],
    candidates: Int[NumpyArray, "candidates size"],
    num_classes: int,  # noqa: ARG001 (numbers have none)
) -> Float[NumpyArray, " candidates"]:
    """:func:`ridge_mean` of candidates, from the inner products of their members' errors.

    Args:
        members: Of the pool, all read at the same pixels.
        candidates: Places of the members of each.
        num_classes: Of the target.

    Returns:
        R2; larger is better.
    """
    errors = np.stack([member.errors for member in members])
    products = errors @ errors.T
    squares: NumpyArray = products[candidates[:, :, None], candidates[:, None, :]].mean(axis=(1, 2))
    return 1.0 - squares / members[0].spread


RIDGE_MEAN = (ridge_of_member, ridge_of_candidates)
"""How candidates are compared by :func:`ridge_mean`."""
