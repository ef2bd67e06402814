"""Hardness: how hard each target image or pixel is for a source model (HASTE).

Axis names: ``samples`` are target images or probe pixels, ``dimensions`` the entries of a feature vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from muster.arrays import _HALVES, _PRECISIONS, Array, NumpyArray, to_tensor
from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes

LEADING_STAGES = 1
"""Stages left out at the front; the paper keeps the last three of four."""

SAMPLES_PER_DIMENSION = 2
"""Distinct samples per dimension from which on a class's own covariance is trusted."""

_ROWS_AT_ONCE = 4096
"""Rows whose float64 copy is in memory at a time."""

_NEGLIGIBLE = 1e3 * torch.finfo(torch.float64).eps
"""Times dimensions: share of a dimension's variance that counts as round-off, i.e. as explained by the others."""

_LONGEST_MEAN = 1.01
"""A mean of unit vectors has at most length 1, up to rounding in half precision."""


def similarity_hardness(
    source_layers: Sequence[Array], target_layers: Sequence[Array], *, skip: int = LEADING_STAGES
) -> Array:
    """Class-agnostic hardness of target images: how little their embeddings resemble those of the source's images.

    1 - mean over source images of the mean over stages of the cosine similarity between the two images' embeddings.
    Cosines are products of unit vectors, so the mean over source images needs no more of them than the mean of their
    unit embeddings.

    Args:
        source_layers: For each stage of the model, first to last, either ``[d]``, the mean over source images of unit
            embeddings, or ``[m, d]``, the embeddings of m source images, of any length.
        target_layers: For each stage, embeddings of the target images, ``[samples, d]``, of any length: the spatial
            means of the stage's output.
        skip: Leading stages that are left out of both lists.

    Returns:
        float64 ``[samples]``, 0..2; larger is harder. Of the kind that ``target_layers[0]`` is (tensor on the same
        device, or NumPy array). An embedding that is 0 has no direction; its similarity to anything counts as 0.

    Raises:
        ValueError: If the lists differ in length, or no stage is left.
        ValueError: If an embedding is not a finite floating-point array, the widths of a stage differ, or the stages
            differ in the number of samples.
        ValueError: If a mean is longer than 1, and thus none of unit embeddings.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), 2022, eq. 1 and 2; the first stage is left out
        in its appendix A.2.

    Note:
        O((samples + source images) x dimensions) time.

    Example:
        >>> import numpy as np
        >>> stage = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
        >>> similarity_hardness([np.array([1.0, 0.0])], [stage], skip=0).round(4).tolist()
        [0.0, 0.2929, 1.0]
    """
    if len(source_layers) != len(target_layers):
        raise ValueError(
            "Expected `source_layers` and `target_layers` to have one entry per stage, "
            f"but got {len(source_layers)} and {len(target_layers)}."
        )
    if not 0 <= skip < len(target_layers):
        raise ValueError(
            f"Expected more than `skip` = {skip} stages, at least 0 skipped, but got {len(target_layers)}."
        )
    stages = range(skip, len(target_layers))
    targets = [_units(as_features(f"target_layers[{index}]", target_layers[index])) for index in stages]
    total = torch.zeros(len(targets[0]), dtype=torch.float64, device=targets[0].device)
    for index, target in zip(stages, targets, strict=True):
        if len(target) != len(total):
            raise ValueError(
                f"Expected every stage of `target_layers` to have {len(total)} samples, "
                f"but `target_layers[{index}]` has {len(target)}."
            )
        mean = _mean_unit(f"source_layers[{index}]", source_layers[index]).to(target.device)
        if len(mean) != target.shape[1]:
            raise ValueError(
                f"Expected `source_layers[{index}]` to have {target.shape[1]} dimensions, as the target's, "
                f"but got {len(mean)}."
            )
        total += target @ mean
    hardness = (1.0 - total / len(targets)).clamp(0.0, 2.0)
    return hardness if isinstance(target_layers[0], Tensor) else hardness.numpy()


@overload
def mahalanobis_hardness(
    features: Float[Tensor, "samples dimensions"], labels: SampleLabels
) -> Float[Tensor, " samples"]: ...
@overload
def mahalanobis_hardness(
    features: Float[NumpyArray, "samples dimensions"], labels: SampleLabels
) -> Float[NumpyArray, " samples"]: ...
def mahalanobis_hardness(features: Features, labels: SampleLabels) -> Array:
    """Class-specific hardness of target samples: Mahalanobis distance from the mean of their own class.

    sqrt((f_i - mu)' S^-1 (f_i - mu)), with mu the mean of the n samples of the class and S = their scatter / n. Two
    things are needed to make this a number, and to make it mean something:

    - Few samples: with k distinct samples among the n, and d dimensions in which they differ at all, S is replaced by
      (1 - a) S + a m I, m the mean of S's diagonal over those dimensions and a = max(0, 1 - (k - 1) / (2 d)). So from 2
      distinct samples a dimension on it is S itself, and with fewer it moves on a straight line towards Euclidean
      distance. (Unregularised, k = d + 1 samples that are all distinct are all at the same distance, sqrt(d).)
    - A singular S: where features depend on each other linearly, S^-1 is the pseudo-inverse.

    A shift or a common scale of the features changes nothing; from 2 distinct samples a dimension on, no invertible
    affine map does (of features without a constant dimension). The mean over a class of the squared hardness is the
    rank of S where a = 0, and at most d elsewhere.

    Args:
        features: One row per sample, ``[samples, dimensions]``, finite.
        labels: Classes, ``[samples]``, integers from 0, not necessarily contiguous; void must have been left out.

    Returns:
        float64 ``[samples]``, at least 0; larger is harder. Of the kind that ``features`` is (tensor on the same
        device, or NumPy array). A class of one sample, or of equal ones, has hardness 0.

    Raises:
        ValueError: If ``features`` is not a finite floating-point array with two axes, or is empty.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), 2022, eq. 3 and 4. The paper does not say what
        it does about few samples.

    Note:
        O(samples x dimensions^2 + classes x dimensions^3) time, class by class and in blocks of rows: nothing larger
        than a square matrix of the dimensions is held. A class whose S is singular needs an eigendecomposition, ten
        times the price of a factorisation.

    Example:
        >>> import numpy as np
        >>> features = np.array([[0.0], [1.0], [2.0], [7.0]])
        >>> mahalanobis_hardness(features, np.array([0, 0, 0, 4])).round(4).tolist()  # variance 2/3, and one sample
        [1.2247, 0.0, 1.2247, 0.0]
    """
    checked = as_features("features", features)
    classes, counts = as_present_classes(labels, len(checked), checked.device)
    hardness = torch.zeros(len(checked), dtype=torch.float64, device=checked.device)
    for rows in torch.split(classes.argsort(stable=True), counts.tolist()):
        if len(rows) > 1:
            hardness[rows] = _distances(checked, rows)
    return hardness if isinstance(features, Tensor) else hardness.numpy()


def _units(embeddings: Float[Tensor, "rows dimensions"]) -> Float[Tensor, "rows dimensions"]:
    """Rows of length 1 in float64; a row of zeros stays."""
    double = embeddings.double()
    double = double / double.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).smallest_normal)
    length = torch.linalg.vector_norm(double, dim=1, keepdim=True)
    units: Tensor = torch.where(length > 0, double / length, 0.0)
    return units


def _mean_unit(name: str, layer: object) -> Float[Tensor, " dimensions"]:
    tensor = to_tensor(name, layer)
    if tensor.ndim == 2:
        return _units(as_features(name, tensor)).mean(dim=0)
    if tensor.ndim != 1 or tensor.dtype not in _PRECISIONS:
        raise ValueError(
            f"Expected `{name}` to be floating point with shape [dimensions] or [images, dimensions], "
            f"but got {tensor.dtype} of shape {list(tensor.shape)}."
        )
    mean = (tensor.float() if tensor.dtype in _HALVES else tensor).double()
    length = float(torch.linalg.vector_norm(mean))
    if not length <= _LONGEST_MEAN:  # NaN and infinity too
        raise ValueError(f"Expected `{name}` to be a mean of unit embeddings, but its length is {length:g}.")
    return mean


def _distances(features: Float[Tensor, "samples dimensions"], rows: Integer[Tensor, " chosen"]) -> Tensor:
    """Mahalanobis distances within one class, in blocks."""
    blocks = torch.split(rows, _ROWS_AT_ONCE)
    low = torch.stack([features[block].amin(dim=0) for block in blocks]).amin(dim=0)
    high = torch.stack([features[block].amax(dim=0) for block in blocks]).amax(dim=0)
    varying = (low < high).nonzero()[:, 0]  # a constant dimension says nothing, and its round-off must not
    if len(varying) == 0:
        return torch.zeros(len(rows), dtype=torch.float64, device=features.device)
    origin, scale = low[varying].double(), float((high - low).double().max())

    def block_of(block: Tensor) -> Tensor:
        values = features[block]
        return ((values if len(varying) == values.shape[1] else values[:, varying]).double() - origin) / scale

    mean = torch.stack([block_of(block).sum(dim=0) for block in blocks]).sum(dim=0) / len(rows)
    covariance = torch.zeros(len(varying), len(varying), dtype=torch.float64, device=features.device)
    for block in blocks:
        centred = block_of(block) - mean
        covariance.addmm_(centred.T, centred, alpha=1.0 / len(rows))
    whitening = _whitening(covariance, _count_distinct(features, rows))
    return torch.cat([torch.linalg.vector_norm((block_of(block) - mean) @ whitening, dim=1) for block in blocks])


def _whitening(covariance: Float[Tensor, "d d"], distinct: int) -> Float[Tensor, "d rank"]:
    """A matrix whose product with its own transpose is the inverse of the regularised covariance."""
    dimensions = len(covariance)
    amount = max(0.0, 1.0 - (distinct - 1) / (SAMPLES_PER_DIMENSION * dimensions))
    mean = covariance.diagonal().mean()
    identity = torch.eye(dimensions, dtype=torch.float64, device=covariance.device)
    shrunk = (1.0 - amount) * covariance + amount * mean * identity
    deviations = shrunk.diagonal().sqrt()
    correlation = shrunk / deviations / deviations[:, None]  # so that dimensions may differ in scale
    negligible = _NEGLIGIBLE * dimensions
    factor, failed = torch.linalg.cholesky_ex(correlation)
    if not bool(failed) and float(factor.diagonal().min()) ** 2 > negligible:
        whitening: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False).T
    else:
        values, vectors = torch.linalg.eigh(correlation)
        kept = values > negligible * values[-1]
        whitening = vectors[:, kept] / values[kept].sqrt()
    return whitening / deviations[:, None]


def _count_distinct(features: Float[Tensor, "samples dimensions"], rows: Integer[Tensor, " chosen"]) -> int:
    """Number of different rows: probe pixels are drawn with replacement, and repeats say nothing new.

    Rows are told apart by a random linear combination of their bits in integer arithmetic, which rounds nothing.
    """
    words = features.shape[1] * features.element_size() // 4
    generator = torch.Generator().manual_seed(0)
    odd = 2 * torch.randint(-(2**62), 2**62, (words,), generator=generator).to(features.device) + 1
    sums = [
        ((features[block] + 0.0).contiguous().view(torch.int32).long() * odd).sum(dim=1)  # -0.0 is 0.0
        for block in torch.split(rows, _ROWS_AT_ONCE)
    ]
    return len(torch.unique(torch.cat(sums)))
