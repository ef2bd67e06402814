"""Hard subsets: any metric on the hardest part of the target alone (HASTE).

Axis names: ``samples`` are target images or probe pixels, ``chosen`` those in a hard subset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias, overload

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from muster.arrays import Array, Labels, NumpyArray, as_integers, to_tensor
from muster.metrics.leep import leep

Hardness: TypeAlias = Float[Tensor, "samples"] | Float[NumpyArray, "samples"]
Indices: TypeAlias = Integer[Tensor, "chosen"] | Integer[NumpyArray, "chosen"]

DEFAULT_FRACTION = 0.25
"""Share of the samples that counts as hard. The paper finds that 0.2 to 0.4 (section 5.6), 0.25 to 0.33 (figure 4) and
0.1 to 0.25 (appendix A.2) work best: this is what the three have in common."""


@overload
def hard_subset(hardness: Float[Tensor, " samples"], fraction: float | int = ...) -> Int[Tensor, " chosen"]: ...
@overload
def hard_subset(hardness: Float[NumpyArray, " samples"], fraction: float | int = ...) -> Int[NumpyArray, " chosen"]: ...
def hard_subset(hardness: Hardness, fraction: float | int = DEFAULT_FRACTION) -> Array:
    """Indices of the hardest samples.

    Args:
        hardness: One number per sample, ``[samples]``, finite, larger is harder.
        fraction: Share of the samples, above 0 and at most 1.

    Returns:
        int64 ``[chosen]``, ascending; fraction x samples of them, rounded up (a product that is whole up to 1e-9
        is not). Among equally hard samples those of lower index are chosen. Of the kind that ``hardness`` is.

    Raises:
        ValueError: If ``hardness`` is not a non-empty list of finite numbers, or ``fraction`` is out of range.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), 2022, section 4.1.

    Example:
        >>> import numpy as np
        >>> hard_subset(np.array([0.5, 2.0, 1.0, 2.0]), 0.5).tolist()
        [1, 3]
    """
    tensor = _as_hardness(hardness)
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"Expected `fraction` to be above 0 and at most 1, but got {fraction}.")
    count = max(1, math.ceil(round(fraction * len(tensor), 9)))
    chosen = tensor.argsort(descending=True, stable=True)[:count].sort().values
    return chosen if isinstance(hardness, Tensor) else chosen.numpy()


@overload
def hard_buckets(hardness: Float[Tensor, " samples"], buckets: int) -> list[Tensor]: ...
@overload
def hard_buckets(hardness: Float[NumpyArray, " samples"], buckets: int) -> list[NumpyArray]: ...
def hard_buckets(hardness: Hardness, buckets: int) -> list[Tensor] | list[NumpyArray]:
    """Samples dealt into buckets of equal size, from the hardest bucket to the easiest.

    Args:
        hardness: One number per sample, ``[samples]``, finite, larger is harder.
        buckets: How many buckets, from 1 to the number of samples.

    Returns:
        For each bucket, int64 indices of its samples, ascending; every sample is in one bucket, and the sizes differ by
        one at most, the harder buckets being the larger ones. Equally hard samples go by index, the lower one first. Of
        the kind that ``hardness`` is.

    Raises:
        ValueError: If ``hardness`` is not a non-empty list of finite numbers, or ``buckets`` is out of range.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), 2022, section 5.6 and figure 4, right.

    Example:
        >>> import numpy as np
        >>> [bucket.tolist() for bucket in hard_buckets(np.array([0.5, 2.0, 1.0, 2.0, 0.1]), 2)]
        [[1, 2, 3], [0, 4]]
    """
    tensor = _as_hardness(hardness)
    if not 1 <= buckets <= len(tensor):
        raise ValueError(f"Expected `buckets` between 1 and the {len(tensor)} samples there are, but got {buckets}.")
    order = tensor.argsort(descending=True, stable=True)
    chosen = [bucket.sort().values for bucket in torch.tensor_split(order, buckets)]
    return chosen if isinstance(hardness, Tensor) else [bucket.numpy() for bucket in chosen]


def with_easy_samples(subset: Array, samples: int, share: float, seed: int = 0) -> Array:
    """A hard subset with some of the other samples, drawn at random.

    Args:
        subset: Indices of the hard samples, each once.
        samples: How many samples there are.
        share: Of the others that are added, from 0 to 1; rounded to a whole number of samples, at least one unless the
            share is 0.
        seed: Which ones.

    Returns:
        int64, ascending. Of the kind that ``subset`` is.

    Raises:
        ValueError: If ``subset`` is empty or not a list of integers from 0, below ``samples``, or the share is out of
            range.

    Source:
        HASTE, 2022, appendix A.5, which adds 1 to 10 % and does not say of what; here it is of the samples that are
        not hard.

    Example:
        >>> import numpy as np
        >>> with_easy_samples(np.array([1, 4]), 6, 1.0).tolist()
        [0, 1, 2, 3, 4, 5]
    """
    hard = _as_indices("subset", subset).cpu()
    if int(hard.max()) >= samples or not 0 <= share <= 1:
        raise ValueError(
            f"Expected `subset` below `samples` = {samples} and `share` from 0 to 1, but got {int(hard.max())} and "
            f"{share}."
        )
    others = np.setdiff1d(np.arange(samples), hard.numpy())
    count = min(len(others), max(int(share > 0), round(share * len(others))))
    drawn = np.random.default_rng((seed % 2**64, 23)).permutation(others)[:count]
    union: Tensor = torch.unique(torch.cat([hard, torch.from_numpy(drawn)]))
    return union.to(subset.device) if isinstance(subset, Tensor) else union.numpy()


def hard_union(subsets: Sequence[Array]) -> Array:
    """Indices in at least one of several hard subsets: what an ensemble metric is averaged over.

    Args:
        subsets: One per member, integers from 0.

    Returns:
        int64, ascending, each once. Of the kind that the first subset is.

    Raises:
        ValueError: If there is no subset, or one is empty or not a list of integers from 0.

    Source:
        HASTE, 2022, appendix A.2.

    Example:
        >>> import numpy as np
        >>> hard_union([np.array([4, 1]), np.array([1, 2])]).tolist()
        [1, 2, 4]
    """
    if len(subsets) == 0:
        raise ValueError("Expected `subsets` to hold at least one subset, but got none.")
    tensors = [_as_indices(f"subsets[{index}]", subset) for index, subset in enumerate(subsets)]
    union: Tensor = torch.unique(torch.cat([tensor.to(tensors[0].device) for tensor in tensors]))
    return union if isinstance(subsets[0], Tensor) else union.numpy()


@overload
def hard_images_to_pixels(images: Indices, groups: Tensor) -> Tensor: ...
@overload
def hard_images_to_pixels(images: Indices, groups: NumpyArray) -> NumpyArray: ...
def hard_images_to_pixels(images: Indices, groups: Array) -> Array:
    """Probe pixels of hard images: where hardness is per image and a metric per pixel.

    Args:
        images: The hard images, numbered as in ``groups``.
        groups: Which image each probe pixel is of, ``[pixels]``, integers from 0, in any order.

    Returns:
        int64, indices of pixels, ascending. Of the kind that ``groups`` is.

    Raises:
        ValueError: If one of the two is empty or not a list of integers from 0.
        ValueError: If no pixel is of any of these images.

    Example:
        >>> import numpy as np
        >>> hard_images_to_pixels(np.array([2, 0]), np.array([0, 0, 1, 1, 2, 0])).tolist()
        [0, 1, 4, 5]
    """
    image_of = _as_indices("groups", groups)
    pixels = torch.isin(image_of, _as_indices("images", images).to(image_of.device)).nonzero()[:, 0]
    if len(pixels) == 0:
        raise ValueError("Expected a probe pixel of at least one of `images`, but `groups` names none of them.")
    return pixels if isinstance(groups, Tensor) else pixels.numpy()


def haste(metric: Callable[..., float], subset: Indices, *arrays: Array) -> float:
    """A single-model metric worked out afresh on a hard subset, as if there were no other samples.

    Args:
        metric: Any metric of arrays with one row per target sample.
        subset: Indices of the hard samples.
        arrays: What the metric is a function of.

    Returns:
        What the metric returns, in its range and direction.

    Raises:
        ValueError: If ``subset`` is empty, not a list of integers from 0, or beyond the end of an array; and whatever
            the metric raises on so few samples.

    Source:
        HASTE, 2022, eq. 5.

    Example:
        >>> import numpy as np
        >>> probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
        >>> round(haste(leep, np.array([1, 2]), probs, np.array([0, 0, 1])), 4)  # log 2/3 for both
        -0.4055
    """
    indices = _as_indices("subset", subset)
    return metric(*(_rows(f"arrays[{index}]", array, indices) for index, array in enumerate(arrays)))


def haste_ensemble(
    metric: Callable[..., float], subsets: Sequence[Array], eeps: Sequence[Array] | Array, labels: Labels
) -> float:
    """An ensemble metric averaged over the union of the members' hard subsets.

    Predictions are taken as they come and only read on the union. To work the metric out afresh there, as HASTE eq. 5
    has it, give EEPs that were counted on the union alone: ``eep(probs[union], labels[union])``, with
    :func:`hard_union`. Predictions of images that a predictor was not fitted on are read as they are.

    Args:
        metric: :func:`muster.metrics.e_leep`, :func:`muster.metrics.iou_eep` or :func:`muster.metrics.soft_iou_eep`.
            For MS-LEEP see :func:`haste_ms_leep`.
        subsets: One hard subset per member.
        eeps: The members' target predictions on the whole probe set, ``[members, pixels, classes]`` or a sequence of
            ``[pixels, classes]``.
        labels: Target classes, ``[pixels]``.

    Returns:
        What the metric returns.

    Raises:
        ValueError: If there is not one subset per member; see also :func:`hard_union` and :func:`haste`.

    Source:
        HASTE, 2022, appendix A.2.

    Example:
        >>> import numpy as np
        >>> from muster.metrics import e_leep
        >>> eeps = np.array([[[0.5, 0.5], [0.25, 0.75]], [[1.0, 0.0], [0.75, 0.25]]])
        >>> haste_ensemble(e_leep, [np.array([1]), np.array([1])], eeps, np.array([0, 1])) == math.log(0.5)
        True
    """
    if len(subsets) != len(eeps):
        raise ValueError(f"Expected one of `subsets` per member, but got {len(subsets)} for {len(eeps)} members.")
    union = _as_indices("subsets", hard_union(subsets))
    members = [_rows(f"eeps[{index}]", eeps[index], union) for index in range(len(eeps))]
    return metric(members, _rows("labels", labels, union))


def haste_ms_leep(subsets: Sequence[Array], probs: Sequence[Array], labels: Labels) -> float:
    """Sum over members of LEEP on each one's own hard subset.

    Args:
        subsets: One hard subset per member.
        probs: Source probabilities of each member, ``[pixels, source_classes]``.
        labels: Target classes, ``[pixels]``.

    Returns:
        At most 0; larger is better. Natural log.

    Raises:
        ValueError: If there is not one subset per member, or none; see also :func:`haste`.

    Source:
        HASTE, 2022, appendix A.2.

    Example:
        >>> import numpy as np
        >>> probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
        >>> subset = np.array([1, 2])
        >>> round(haste_ms_leep([subset, subset], [probs, probs], np.array([0, 0, 1])), 4)
        -0.8109
    """
    if len(subsets) != len(probs) or len(probs) == 0:
        raise ValueError(
            f"Expected one of `subsets` per member, at least one, but got {len(subsets)} for {len(probs)} members."
        )
    return sum(haste(leep, subset, member, labels) for subset, member in zip(subsets, probs, strict=True))


def _as_hardness(hardness: object) -> Float[Tensor, " samples"]:
    tensor = to_tensor("hardness", hardness)
    if tensor.ndim != 1 or len(tensor) == 0:
        raise ValueError(f"Expected `hardness` to be a non-empty list of numbers, but got shape {list(tensor.shape)}.")
    if not bool(torch.isfinite(tensor).all()):
        index = int((~torch.isfinite(tensor)).nonzero()[0, 0])
        raise ValueError(f"Expected `hardness` to be finite, but `hardness[{index}]` is {float(tensor[index])}.")
    return tensor


def _as_indices(name: str, values: object) -> Int[Tensor, " entries"]:
    tensor = as_integers(name, values)
    if tensor.ndim != 1 or len(tensor) == 0:
        raise ValueError(f"Expected `{name}` to be a non-empty list of integers, but got shape {list(tensor.shape)}.")
    if int(tensor.min()) < 0:
        raise ValueError(f"Expected `{name}` to be at least 0, but got {int(tensor.min())}.")
    return tensor.long()


def _rows(name: str, array: Array, indices: Int[Tensor, " chosen"]) -> Array:
    if int(indices.max()) >= len(array):
        raise ValueError(f"Expected indices below the {len(array)} rows of `{name}`, but got {int(indices.max())}.")
    if isinstance(array, Tensor):
        return array[indices.to(array.device)]
    rows: NumpyArray = np.asarray(array)[indices.cpu().numpy()]
    return rows
