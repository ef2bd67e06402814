"""The card of a pool member: everything one should know before trusting a score."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import ClassVar

from muster.data import ContentSketch, Preprocessing
from muster.data.spec import FIRST_TASK, all_held
from muster.models import Blueprint
from muster.tasks.task import TASKS

FORMAT_VERSION = 1
"""Version of the layout of a member folder."""


@dataclass(frozen=True)
class SourceRecord:
    """What is known of one of several datasets that a model has a head for.

    Attributes:
        dataset: Its name.
        domain: Its visual domain.
        classes: How many classes its head tells apart.
        train_images: Number of its training images.
        test_images: Number of its test images behind ``test_result``.
        test_result: What its own head reaches on its test split: mIoU, or what else the task's result is.
        majority_result: What always answering the most frequent class reaches, for comparison.
        mean: Channel means that its images were normalised with.
        std: Channel standard deviations, likewise.
        licence: Terms of its data.
        citation: What to cite for them.
    """

    dataset: str
    domain: str
    classes: int
    train_images: int
    test_images: int
    test_result: float
    majority_result: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Card:
    """What is known of one trained source model.

    The record of its training is not known of a model that others trained: those values are ``None`` or empty, and so
    is whatever its owner did not say.

    Attributes:
        name: Name in the pool; the member's folder carries it too.
        dataset: Name of the source dataset; of a multi-source model the names of all, with " + " between them.
        domain: Its visual domain.
        classes: Its label space, in the order of the model's outputs; of a multi-source model ``DATASET/CLASS``, the
            label spaces of its sources one after the other.
        task: What it was trained for, see :mod:`muster.tasks.task`.
        seen_datasets: Every dataset whose labels the model was trained on, by itself or in the member that it started
            from: it is no candidate for those.
        architecture: What a reader calls the network; :func:`muster.models.build_model` builds those of muster's own.
        pretraining: What training started from.
        mean: Channel means of the source images, of pixels scaled to 0..1.
        std: Channel standard deviations, likewise.
        image_size: Size of its input images in training, as :meth:`muster.data.ImageSize.of` reads it.
        crop_size: Side of its training crops, or rows x columns, in pixels.
        parameters: Number of parameters.
        depth: Number of convolutions and linear layers.
        train_images: Number of source training images.
        test_images: Number of source test images behind ``test_result``.
        test_result: What it reaches on the source test split (mIoU, top-1 accuracy); of a multi-source model the mean
            over its sources.
        test_error: The error beside it, such as the RMSE of depths; ``None`` if the task has none.
        test_ious: IoU of each class on the source test split; ``None`` for a class that does not occur there.
        majority_result: What always answering the most frequent class reaches, for comparison.
        steps: Training steps.
        batch_size: Images per step, over all devices.
        learning_rate: Initial rate.
        schedule: How the rate falls.
        seed: The seed of the initial weights, the order of images and the augmentation.
        training_seconds: Time spent training.
        precision: Numerical precision of training.
        licence: Terms of the source data.
        citation: What to cite for the source data.
        versions: Software it was made with.
        checksum: SHA-256 of ``model.safetensors``.
        recipe: SHA-256 of everything that was asked for when it was trained, to notice that something else is asked
            for now; for an adopted model, of everything that it was made of.
        contents: What is remembered of the training images of every seen dataset, its own first. Cards from before have
            none; what they saw is told by the names in ``seen_datasets``.
        preprocessing: How the model wants its images, wherever they come from; ``None`` for one that takes them as the
            target's are shown.
        blueprint: How the network is built; ``None`` for muster's own, which ``architecture`` says all about.
        weights_licence: Terms of the weights, where others trained them.
        started_from: Where the weights that training started from come from: ``source``, and where it is known
            ``licence``, ``sha256`` of the file, and ``tensors``, how many were loaded; empty for random weights.
        sources: The sources of a multi-source model, in the order of its heads; empty for a model of one source. Where
            there are any, ``licence`` and ``citation`` are theirs, numbers of images are sums, and ``mean`` and ``std``
            those of all sources together, each counting alike.
    """

    EARLIER_NAMES: ClassVar = {"test_miou": "test_result", "majority_miou": "majority_result"}
    """What keys of cards were called when all members segmented, and are called now."""

    name: str
    dataset: str
    domain: str
    classes: tuple[str, ...]
    seen_datasets: tuple[str, ...]
    architecture: str
    pretraining: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int
    depth: int
    versions: dict[str, str]
    checksum: str
    task: str = FIRST_TASK
    image_size: int | str | None = None
    crop_size: int | str | None = None
    train_images: int | None = None
    test_images: int | None = None
    test_result: float | None = None
    test_error: float | None = None
    test_ious: tuple[float | None, ...] = ()
    majority_result: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    schedule: str = ""
    seed: int | None = None
    training_seconds: float | None = None
    precision: str = ""
    licence: str = ""
    citation: str = ""
    recipe: str = ""
    contents: tuple[ContentSketch, ...] = ()
    preprocessing: Preprocessing | None = None
    blueprint: Blueprint | None = None
    weights_licence: str = ""
    started_from: dict[str, str] = field(default_factory=dict)
    sources: tuple[SourceRecord, ...] = ()

    @property
    def built_by(self) -> Blueprint:
        """How the network is built."""
        return self.blueprint or Blueprint("native", self.architecture)

    @property
    def is_adopted(self) -> bool:
        """Whether others trained it."""
        return self.built_by.library != "native"

    @property
    def seen(self) -> tuple[ContentSketch, ...]:
        """What is known of every dataset that the model was trained on; of some there may be nothing but the name."""
        known = {sketch.dataset.casefold() for sketch in self.contents}
        return *self.contents, *(ContentSketch(name, 0, "") for name in self.trained_on if name.casefold() not in known)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of all datasets whose labels the model was trained on, its own first."""
        own = [source.dataset for source in self.sources] or [self.dataset]
        return tuple(dict.fromkeys(name for name in (*own, *self.seen_datasets) if name))

    def classes_of(self, dataset: str) -> tuple[str, ...]:
        """The label space that the model has for one dataset.

        Args:
            dataset: Its name.

        Returns:
            The classes by the names that the dataset gives them; none if it is not a source of the model.
        """
        if not self.sources:
            return self.classes if dataset == self.dataset else ()
        start = 0
        for source in self.sources:
            if source.dataset == dataset:
                named = self.classes[start : start + source.classes]
                return tuple(name.removeprefix(f"{dataset}/") for name in named)
            start += source.classes
        return ()


def result_of(cards: Iterable[Card]) -> str:
    """What the results of members on their sources are called: by their task, if they have the same one."""
    names = {TASKS[card.task].result for card in cards}
    return names.pop() if len(names) == 1 else "result"


def holds_of(cards: Iterable[Card]) -> str:
    """What members were trained on: images, texts, or images and texts."""
    return all_held(TASKS[card.task].holds for card in cards)


def software_versions() -> dict[str, str]:
    """Versions of what a result depends on most."""
    packages = ("muster", "torch", "torchvision", "pytorch-lightning", "timm", "segmentation-models-pytorch")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
