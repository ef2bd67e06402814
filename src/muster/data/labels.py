"""Whether the masks of a split say enough: which classes have labelled pixels, and what to write if one has none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from muster.data.mask_values import VOID_WORD, written
from muster.data.spec import DatasetSpec, Split
from muster.errors import DatasetError, some_names

_SHOWN = 20


def judge_labels(split: Split, class_pixels: Sequence[int], has_masks: bool = True) -> None:
    """Refuse a split with labelled pixels of fewer than two classes, and name the classes that have none.

    Without two classes nothing can be learned, and every score is perfect: a model that knows one answer gives it.

    Args:
        split: Whose masks were counted.
        class_pixels: Pixels (or images) that each class has in all of them, void not counted.
        has_masks: Whether the truth is of pixels, and not of whole images.

    Raises:
        DatasetError: If fewer than two classes have a pixel, with what may have gone wrong.

    Warns:
        UserWarning: If a class has none.
    """
    spec = split.spec
    absent = [index for index, pixels in enumerate(class_pixels) if pixels == 0]
    unit = "pixel" if has_masks else "image"
    present = [name for name, pixels in zip(spec.classes, class_pixels, strict=True) if pixels > 0]
    if not present and not has_masks:
        raise DatasetError(
            f"No image of split {split.name!r} of dataset {spec.name!r} ({len(split)} images) has a class: nothing can "
            "be learned from it or measured on it. Check its labels."
        )
    if not present:
        raise DatasetError(
            f"Every {unit} of split {split.name!r} of dataset {spec.name!r} ({len(split)} images) is void: nothing can "
            f"be learned from it or measured on it.{_what_is_void(spec, [])} Check its masks."
        )
    if len(present) < 2:
        raise DatasetError(
            f"Split {split.name!r} of dataset {spec.name!r} ({len(split)} images) has labelled {unit}s of one class "
            f"only, {present[0]}, but at least two are needed: nothing can be told apart, and every score would be "
            f"perfect. Without a labelled {unit}: {some_names([spec.classes[index] for index in absent], _SHOWN)}."
            f"{_what_is_void(spec, present) if has_masks else ''}"
        )
    if absent:
        warnings.warn(
            _absent_classes(split, absent, has_masks), stacklevel=1
        )  # one place, so that the same is told once


def _absent_classes(split: Split, absent: Sequence[int], has_masks: bool) -> str:
    names = some_names([split.spec.classes[index] for index in absent], _SHOWN)
    void, unit = (split.spec.ignore_index, "pixel") if has_masks else (None, "image")
    named = void is not None and void in absent
    from_one = " If classes begin at 1, write reduce_zero_label: true." if void == 0 else ""
    why = f" (ignore_index: {void} makes class {split.spec.classes[void or 0]} void.{from_one})" if named else ""
    return (
        f"No labelled {unit} of {len(absent)} class(es) in the {len(split)} images read of split {split.name!r} of "
        f"dataset {split.spec.name!r}: {names}. No result says anything about them.{why}"
    )


def _what_is_void(spec: DatasetSpec, present: Sequence[str]) -> str:
    """What the masks hold besides, and how dataset.yaml would say that it is a class."""
    void = spec.ignore_index
    if void is None:
        return f" mask_values in dataset.yaml say what each stored value means; is too much of it {VOID_WORD}?"
    if void < spec.num_classes:
        return (
            f" ignore_index: {void} in dataset.yaml makes class {spec.classes[void]} void: leave it out if {void} is "
            "that class."
        )
    if spec.num_classes == 2 and list(present) == [spec.classes[0]]:
        meant = written({0: spec.classes[0], void: spec.classes[1]})
        return (
            f" The masks hold no other values than 0 and {void}, and {void} means void. If it is {spec.classes[1]}, "
            f"write in dataset.yaml: {meant}"
        )
    example = written({0: spec.classes[0], void: spec.classes[-1]})
    return f" ({void} means void; if it is a class, say so in dataset.yaml, for example: {example})"
