"""What may be handed to a metric, and the checks at its door.

Axis names: ``members`` are pool models, ``pixels`` the probe pixels, ``source_classes`` the classes of one source
model, ``classes`` the target's classes.

The functions here take whatever came: a wrong argument must reach their messages, also in a test run that checks
annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

if TYPE_CHECKING:
    NumpyArray: TypeAlias = np.ndarray[Any, Any]
else:
    NumpyArray = np.ndarray  # jaxtyping wants the bare class, mypy wants its parameters

Array: TypeAlias = Tensor | NumpyArray
"""A tensor on any device, or a NumPy array."""

Column: TypeAlias = Array | Sequence[SupportsFloat]
"""One number per member or candidate."""

SourceProbabilities: TypeAlias = Float[Tensor, "pixels source_classes"] | Float[NumpyArray, "pixels source_classes"]
Predictions: TypeAlias = Float[Tensor, "pixels classes"] | Float[NumpyArray, "pixels classes"]
EnsemblePredictions: TypeAlias = (
    Float[Tensor, "members pixels classes"] | Float[NumpyArray, "members pixels classes"] | Sequence[Predictions]
)
Labels: TypeAlias = Integer[Tensor, "pixels"] | Integer[NumpyArray, "pixels"]

_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_HALVES = (torch.float16, torch.bfloat16)

_VOID = 255
"""Void of every mask. Metrics know only arrays, so this is a guard against forgetting to drop it, not a label."""

_MOST_CLASSES = 2**16
"""What a 16-bit mask can hold. A larger label is a mistake (an identity, a colour), and asks for as many columns."""

_ROUNDING = 1e-2
"""How far above 1 a probability may lie: half precision after interpolation does."""


def to_tensor(name: str, values: object) -> Tensor:
    """Turn an array into a tensor without its gradient, sharing memory where that is safe.

    Args:
        name: The argument's name, for messages.
        values: A tensor or a NumPy array.

    Returns:
        The tensor, on the device of ``values``.

    Raises:
        ValueError: If ``values`` is neither a tensor nor a NumPy array of numbers, or entries of it are masked.
    """
    if isinstance(values, Tensor):
        return values.detach()
    values = without_mask(name, values)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        came = f"a NumPy array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"Expected `{name}` to be a tensor or a NumPy array of numbers, but got {came}.")
    if values.dtype.kind in "iu":
        return torch.from_numpy(values.astype(np.int64))  # torch knows only some of the unsigned types
    native = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if native.dtype.itemsize > np.dtype(np.float64).itemsize:
        raise ValueError(f"Expected `{name}` in half, single or double precision, but got {values.dtype}.")
    return torch.from_numpy(native if native.flags.writeable else native.copy())  # torch warns of read-only memory


def without_mask(name: str, values: object) -> object:
    """Refuse masked entries: what lies below a mask is no number to compute with.

    Args:
        name: The argument's name, for messages.
        values: Anything.

    Returns:
        ``values``; the plain array of a masked one of which nothing is masked.

    Raises:
        ValueError: If entries are masked.
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    masked = int(np.ma.getmaskarray(values).sum())
    if masked:
        raise ValueError(
            f"Expected `{name}` without masked entries, but got {masked} of {values.size} masked. Leave their pixels "
            "or samples out of all arguments, or fill them (`numpy.ma.filled`)."
        )
    return values.data


def to_floating(name: str, values: object) -> Tensor:
    """Take numbers of any shape, of any floating-point type that torch computes in or stores.

    Args:
        name: The argument's name, for messages.
        values: Floating point.

    Returns:
        A tensor of the same type.

    Raises:
        ValueError: If ``values`` is not a floating-point array.
    """
    tensor = to_tensor(name, values)
    if tensor.dtype not in _PRECISIONS:
        raise ValueError(f"Expected `{name}` to be floating point, but got {tensor.dtype}.")
    return tensor


def as_probabilities(name: str, values: object) -> Tensor:
    """Check an array of probabilities; half precision is promoted to float32.

    Args:
        name: The argument's name, for messages.
        values: Floating point, two axes, neither empty; between 0 and 1 up to rounding. Rows need not sum to 1.

    Returns:
        float32 or float64 tensor of the same shape.

    Raises:
        ValueError: If ``values`` is not a floating-point array, has not two axes, is empty, or holds NaN or anything
            that is no probability.
    """
    tensor = to_floating(name, values)
    if tensor.ndim != 2:
        raise ValueError(f"Expected `{name}` to have 2 axes (pixels, classes), but got shape {list(tensor.shape)}.")
    if tensor.numel() == 0:
        raise ValueError(f"Expected `{name}` to hold at least one pixel and class, but got shape {list(tensor.shape)}.")
    if tensor.dtype in _HALVES:
        tensor = tensor.float()
    low, high = (float(bound) for bound in tensor.aminmax())  # NaN anywhere makes both NaN
    if not (low >= 0.0 and high <= 1.0 + _ROUNDING):
        came = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g} (scores before softmax?)"
        raise ValueError(f"Expected `{name}` to hold probabilities between 0 and 1, but got {came}.")
    return tensor


def number_within_groups(groups: Integer[NumpyArray, " entries"]) -> Integer[NumpyArray, " entries"]:
    """How many entries of the same group come before each entry.

    Args:
        groups: The group of each.

    Example:
        >>> number_within_groups(np.array([7, 3, 7, 7, 3])).tolist()
        [0, 0, 1, 2, 1]
    """
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    numbers = np.empty(len(groups), dtype=np.int64)
    numbers[order] = np.arange(len(groups)) - np.repeat(starts, counts)
    return numbers


def as_integers(name: str, values: object) -> Integer[Tensor, "..."]:  # noqa: UP037 (older jaxtyping wants text)
    """Take integers of any shape.

    Args:
        name: For messages.
        values: A tensor or an array.

    Returns:
        A tensor of the type that they came in.

    Raises:
        ValueError: If they are no integers.
    """
    tensor = to_tensor(name, values)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"Expected `{name}` to be integers, but got {tensor.dtype}.")
    return tensor


def as_class_numbers(labels: object, num_pixels: int, device: torch.device) -> Tensor:
    """Check labels of any numbering.

    Args:
        labels: Integer, one per pixel.
        num_pixels: How many there must be.
        device: Where to have them.

    Returns:
        int64, at least 0.

    Raises:
        ValueError: If ``labels`` is not an integer array of length ``num_pixels``, or one is negative or void (255).
    """
    tensor, low, high = _label_range(labels, num_pixels, device)
    if bool((tensor == _VOID).any()):
        raise ValueError(f"Expected `labels` without void, but got {_VOID}. Drop void pixels.")
    if low < 0:
        raise ValueError(f"Expected `labels` between 0 and {max(high, 0)}, but got {low} to {high}.")
    return tensor


def as_labels(labels: object, num_pixels: int, num_classes: int | None, device: torch.device) -> tuple[Tensor, int]:
    """Check labels against the probabilities that they go with.

    Args:
        labels: Integer, one per pixel.
        num_pixels: How many there must be.
        num_classes: Number of target classes; ``None`` means one more than the largest label, and that the function at
            hand has an argument of this name which was not given.
        device: Where the probabilities are.

    Returns:
        int64 labels on ``device``, and the number of classes.

    Raises:
        ValueError: If ``labels`` is not an integer array of length ``num_pixels``, or a label is outside
            0..num_classes-1. If ``num_classes`` is not given: if void (255) is among them, or a label is so large that
            it is hardly a class.
    """
    tensor, low, high = _label_range(labels, num_pixels, device)
    if num_classes is None and bool((tensor == _VOID).any()):
        raise ValueError(f"Expected `labels` without void, but got {_VOID}. Drop void pixels, or give `num_classes`.")
    if num_classes is None and high >= _MOST_CLASSES:
        raise ValueError(
            f"Expected `labels` below {_MOST_CLASSES}, but got {high}: predictions have a column for each class up to "
            "it. Number the classes from 0 on, or give `num_classes` if there are so many."
        )
    count = high + 1 if num_classes is None else int(num_classes)
    if low < 0 or high >= count:
        hint = f" Drop void pixels ({_VOID}) first." if high == _VOID else ""
        raise ValueError(f"Expected `labels` between 0 and {count - 1}, but got {low} to {high}.{hint}")
    return tensor, count


def _label_range(labels: object, num_pixels: int, device: torch.device) -> tuple[Tensor, int, int]:
    """Labels as int64, and the smallest and the largest."""
    tensor = as_integers("labels", labels)
    if tensor.shape != (num_pixels,):
        raise ValueError(f"Expected `labels` to have shape [{num_pixels}], but got {list(tensor.shape)}.")
    tensor = tensor.to(device=device, dtype=torch.int64)
    low, high = (int(bound) for bound in tensor.aminmax())
    return tensor, low, high


def as_members(eeps: Array | Sequence[Array]) -> list[Tensor]:
    """Check the target predictions of several members.

    Args:
        eeps: ``[members, pixels, classes]``, or a sequence of ``[pixels, classes]``.

    Returns:
        One tensor per member, all of one type (the most precise that came) and on the first one's device.

    Raises:
        ValueError: If there is no member, or one is not an array of probabilities, or their shapes differ.
    """
    if isinstance(eeps, Tensor | np.ndarray) and eeps.ndim != 3:
        shape = list(eeps.shape)
        raise ValueError(f"Expected `eeps` to have 3 axes (members, pixels, classes), but got shape {shape}.")
    if len(eeps) == 0:
        raise ValueError("Expected `eeps` to hold at least one member, but got none.")
    members = [as_probabilities(f"eeps[{index}]", eeps[index]) for index in range(len(eeps))]
    first = members[0]
    for index, member in enumerate(members):
        if member.shape != first.shape:
            raise ValueError(
                f"Expected every member of `eeps` to have the shape {list(first.shape)} of the first, "
                f"but `eeps[{index}]` has {list(member.shape)}."
            )
    single = all(member.dtype == torch.float32 for member in members)
    return [member.to(device=first.device, dtype=torch.float32 if single else torch.float64) for member in members]


def to_column(name: str, values: object) -> Float[NumpyArray, " entries"]:
    """Check that an argument is a list of finite numbers.

    Args:
        name: The argument's name, for messages.
        values: A tensor, a NumPy array or a sequence, with one axis.

    Returns:
        float64 ``[entries]``.

    Raises:
        ValueError: If ``values`` has not one axis, is empty, or holds a number that is not finite.
    """
    plain = values.detach().cpu() if isinstance(values, Tensor) else without_mask(name, values)
    column = np.asarray(plain, dtype=np.float64)
    if column.ndim != 1 or column.size == 0:
        raise ValueError(f"Expected `{name}` to be a non-empty list of numbers, but got shape {list(column.shape)}.")
    wrong = ~np.isfinite(column)
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(f"Expected `{name}` to be finite, but `{name}[{index}]` is {column[index]}.")
    return column
