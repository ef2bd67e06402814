"""What reports are made of: plain values and a few pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """One image with what was predicted for it.

    Attributes:
        identifier: Name of the image in its split.
        image: uint8 ``[3, h, w]``, RGB.
        truth: uint8 ``[h, w]``, class indices, 255 where void.
        predictions: uint8 ``[h, w]`` by the name of who says so.
        confidence: float32 ``[h, w]``, the probability that the ensemble gives to the true class; NaN where void.
    """

    identifier: str
    image: Tensor
    truth: Tensor
    predictions: Mapping[str, Tensor]
    confidence: Tensor


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuned ensemble reached on the target test split.

    Attributes:
        target: Name of the target dataset.
        classes: Its label space.
        members: The members of the ensemble, in ascending order of names.
        single_best: Baseline B1: the best single member by LEEP, fine-tuned likewise (it may be of the ensemble).
        train_images: Number of target training images.
        test_images: Number of target test images.
        steps: Fine-tuning steps.
        seconds: Time spent fine-tuning.
        mious: mIoU of every fine-tuned member, of ``"plain mean"`` and of ``"learned head"``.
        class_ious: IoU of each class under the same keys; ``None`` where a class does not occur in the ground truth.
        class_pixels: Test pixels of each class.
        predicted: Score of the ensemble under each metric, before fine-tuning.
        predicted_class_ious: IoU of each class as predicted before fine-tuning, if known.
        losses: For every member, the course of its training loss as (step, loss); that of the learned head too, if
            it was trained step by step.
        learning_rates: For every member, the initial rate that it was fine-tuned with.
        held_out: For members whose rate was chosen, mIoU on held-out training images by rate; ``None`` where training
            diverged.
        head_weights: For every member of the ensemble, the learned weight of each class.
        head_biases: Likewise the biases.
        pool: Folder of the pool that the members came from.
        metric: What the ensemble was chosen by.
        seed: Of the fine-tuning.
    """

    target: str
    classes: tuple[str, ...]
    members: tuple[str, ...]
    single_best: str
    train_images: int
    test_images: int
    steps: int
    seconds: float
    mious: dict[str, float]
    class_ious: dict[str, tuple[float | None, ...]]
    class_pixels: tuple[int, ...]
    predicted: dict[str, float]
    predicted_class_ious: tuple[float | None, ...] | None = None
    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    learning_rates: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, dict[float, float | None]] = field(default_factory=dict)
    head_weights: dict[str, list[float]] = field(default_factory=dict)
    head_biases: dict[str, list[float]] = field(default_factory=dict)
    pool: str = ""
    metric: str = ""
    seed: int = 0


PLAIN_MEAN = "plain mean"
LEARNED_HEAD = "learned head"
