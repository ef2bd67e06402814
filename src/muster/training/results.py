"""The results of a fine-tuning, in plain values: the record that is written, shown and read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

from muster.data.spec import FIRST_TASK
from muster.tasks.task import TASKS, Task

PLAIN_MEAN = "plain mean"
"""What results call the ensemble whose head is the mean of its members' probabilities."""

LEARNED_HEAD = "learned head"
"""What results call the ensemble with the head that was learned."""


EQUAL_COST = "equal cost"
"""What results call the single model on which as much time was spent as on the ensemble."""


@dataclass(frozen=True)
class Cost:
    """What a model costs whoever uses it.

    Attributes:
        models: How many networks look at an image.
        parameters: How many they have together.
        seconds_per_image: Time of their forward passes; how it was measured, the result says.
    """

    models: int
    parameters: int
    seconds_per_image: float


@dataclass(frozen=True)
class Difference:
    """A result minus that of the single best member (B1), on the same images.

    Attributes:
        result: On the whole test split.
        low: Lower end of its interval over bootstrap samples of the test images; ``None`` where there is none.
        high: Upper end.
    """

    result: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SpentOn:
    """What a single model could spend the time of an ensemble on, see :mod:`muster.training.equal_cost`.

    Attributes:
        image_size: Size to which images are brought, as :meth:`muster.data.ImageSize.of` reads it.
        scales: It sees each image at these sizes, relative to ``image_size``; probabilities are averaged.
        flip: Whether it sees each of them mirrored as well.
        seconds_per_image: Time of all these forward passes.
        result: On the images held out, after a trial on the others; ``None`` where the training diverged.
    """

    image_size: int | str
    scales: tuple[float, ...]
    flip: bool
    seconds_per_image: float
    result: float | None = None


@dataclass(frozen=True)
class EqualCost:
    """A single model that was given as much as the ensemble: steps of training, and time for an image.

    Attributes:
        member: The source model.
        chosen_by: The metric by which it is the best as an ensemble of one.
        steps: Its steps of fine-tuning: those of all members of the ensemble together.
        options: What the time for an image could be spent on.
        chosen: The place of what it was spent on: the best on the images held out.
        budget: Time of the ensemble for an image, in seconds, as measured for this choice.
        trial_steps: Steps of each trial.
        train_images: Training images of a trial.
        held_out_images: The other training images.
        seconds: What all of it took: trials, fine-tuning and evaluation.
        ensemble_beyond: Result of the ensemble with the learned head beyond that of this model.
    """

    member: str
    chosen_by: str
    steps: int
    options: tuple[SpentOn, ...]
    chosen: int
    budget: float
    trial_steps: int
    train_images: int
    held_out_images: int
    seconds: float
    ensemble_beyond: Difference

    @property
    def spent_on(self) -> SpentOn:
        """What the time for an image was spent on."""
        return self.options[self.chosen]


@dataclass(frozen=True)
class ConfirmationRound:
    """What candidates reached after so many steps of fine-tuning, see :mod:`muster.training.confirmation`.

    Attributes:
        steps: Steps of every member by then, those of earlier rounds included.
        candidates: The members of each, in the order in which the metric ranks them.
        results: For each of them, the result of the plain mean of its members on the images held out; ``None`` where
            the training of a member diverged.
    """

    steps: int
    candidates: tuple[tuple[str, ...], ...]
    results: tuple[float | None, ...]


@dataclass(frozen=True)
class Confirmation:
    """What brief fine-tuning made of the metric's choice.

    Attributes:
        by_metric: The candidate that the metric ranked first.
        chosen: The candidate that the rounds left.
        rounds: All rounds, in order.
        train_images: Target training images that members were fine-tuned on.
        held_out_images: Target training images that candidates were compared on.
        seconds: What it took, the evaluation on the held-out images included.
    """

    by_metric: tuple[str, ...]
    chosen: tuple[str, ...]
    rounds: tuple[ConfirmationRound, ...]
    train_images: int
    held_out_images: int
    seconds: float

    @property
    def members(self) -> tuple[str, ...]:
        """All members that were fine-tuned for it."""
        return tuple(sorted({name for candidate in self.rounds[0].candidates for name in candidate}))


@dataclass(frozen=True)
class HeadChoice:
    """Whether a learned head was kept, by what it did on training images that it had not learned from.

    The members had learned from them, as from all training images.

    Attributes:
        penalty: Of the head that was kept; ``None`` where the plain mean stayed.
        plain_mean: Result of the plain mean on these images; ``None`` if there were none to compare on.
        held_out: Result of the head by its penalty.
        images: How many images there were.
        folds: In how many parts they were left out, one after the other; 1 if a single part was left out.
    """

    penalty: float | None
    plain_mean: float | None = None
    held_out: dict[float, float] = field(default_factory=dict)
    images: int = 0
    folds: int = 0

    @property
    def kept(self) -> bool:
        """Whether there is a learned head."""
        return self.penalty is not None

    @staticmethod
    def by(plain_mean: float, held_out: dict[float, float], images: int, folds: int) -> HeadChoice:
        """The penalty that did best; of equal ones the largest, and the plain mean before all of them.

        Args:
            plain_mean: See the class; so are the others.
            held_out: See the class.
            images: See the class.
            folds: See the class.
        """
        best = max(held_out, key=lambda penalty: (held_out[penalty], penalty))
        return HeadChoice(best if held_out[best] > plain_mean else None, plain_mean, held_out, images, folds)


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
        results: What every fine-tuned member, ``"plain mean"`` and ``"learned head"`` reach: mIoU, top-1 accuracy.
        class_ious: IoU of each class under the same keys; ``None`` where a class does not occur in the ground truth.
        class_pixels: Test pixels of each class.
        predicted: Score of the ensemble under each metric, before fine-tuning.
        predicted_class_ious: IoU of each class as predicted before fine-tuning, if known.
        losses: For every member, the course of its training loss as (step, loss); that of the learned head too, if
            it was trained step by step.
        learning_rates: For every member, the initial rate that it was fine-tuned with.
        held_out: For members whose rate or number of steps was chosen, the largest result on held-out training images
            by rate; ``None`` where training diverged.
        stops: For members whose number of steps was chosen, after how many their training ended.
        held_out_curves: For these, the result on held-out training images by rate and number of steps.
        tta: In which ways each image was predicted, in words; empty if just as it is.
        head_weights: For every member of the ensemble, the learned weight of each class.
        head_biases: Likewise the biases.
        pool: Folder of the pool that the members came from.
        metric: What the ensemble was chosen by.
        predictor: What LEEP, and so the choice of B1, and the ensemble metrics rested on; empty in an older record.
        seed: The seed of the fine-tuning and of the bootstrap samples.
        batch_size: Images per step, over all devices.
        schedule: How the rate falls.
        image_size: Size at which members see the images, as :meth:`muster.data.ImageSize.of` reads it.
        precision: Numerical precision of the fine-tuning.
        device: What it was computed on.
        date: When it was done, ISO 8601.
        versions: Software it was made with.
        resumed_at_steps: The steps at which the fit went on from a checkpoint; empty if it was never interrupted.
        costs: Under the keys of ``results``, what each costs.
        cost_measured: How the seconds per image were measured.
        result_intervals: Under the keys of ``results``, the interval of each over bootstrap samples of the test images;
            empty where the split has too few of them.
        differences_to_single_best: For everything but B1 itself, the result beyond B1's.
        interval_level: Share of the bootstrap samples that an interval spans.
        resamples: Number of bootstrap samples; 0 if there are no intervals.
        confusion: Test pixels, truth by what the learned head predicts.
        confirmation: How the leading candidates of the metric were compared by brief fine-tuning, if they were.
        task: What was predicted, see :mod:`muster.tasks.task`. Fields that name pixels hold its units.
        equal_cost: The single model that costs as much as the ensemble, if it was made; under :data:`EQUAL_COST` its
            results stand beside the others.
        head_choice: How it was decided whether the learned head is kept; ``None`` where it was kept in any case. Where
            it was not kept, what stands under ``"learned head"`` is the plain mean.
        errors: Under the keys of ``results``, the error that stands beside each, such as RMSE; empty if the task has
            none.
    """

    EARLIER_NAMES: ClassVar = {"mious": "results", "miou_intervals": "result_intervals", "miou": "result"}
    """What keys were called when all ensembles segmented, and are called now."""

    target: str
    classes: tuple[str, ...]
    members: tuple[str, ...]
    single_best: str
    train_images: int
    test_images: int
    steps: int
    seconds: float
    results: dict[str, float]
    class_ious: dict[str, tuple[float | None, ...]]
    class_pixels: tuple[int, ...]
    predicted: dict[str, float]
    predicted_class_ious: tuple[float | None, ...] | None = None
    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    learning_rates: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, dict[float, float | None]] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    held_out_curves: dict[str, dict[float, dict[int, float | None]]] = field(default_factory=dict)
    tta: str = ""
    head_weights: dict[str, list[float]] = field(default_factory=dict)
    head_biases: dict[str, list[float]] = field(default_factory=dict)
    pool: str = ""
    metric: str = ""
    predictor: str = ""
    seed: int = 0
    batch_size: int | None = None
    schedule: str = ""
    image_size: int | str | None = None
    precision: str = ""
    device: str = ""
    date: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    resumed_at_steps: tuple[int, ...] = ()
    costs: dict[str, Cost] = field(default_factory=dict)
    cost_measured: str = ""
    result_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    differences_to_single_best: dict[str, Difference] = field(default_factory=dict)
    interval_level: float = 0.95
    resamples: int = 0
    confusion: tuple[tuple[int, ...], ...] = ()
    confirmation: Confirmation | None = None
    equal_cost: EqualCost | None = None
    task: str = FIRST_TASK
    head_choice: HeadChoice | None = None
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def head_kept(self) -> bool:
        """Whether the ensemble has a learned head."""
        return not self.words.finds_objects and (self.head_choice is None or self.head_choice.kept)

    @property
    def scored_classes(self) -> tuple[str, ...]:
        """What :attr:`class_ious` and :attr:`class_pixels` are of: the classes, or those of objects with points."""
        return self.words.object_classes(self.classes)

    @property
    def words(self) -> Task:
        """What results and units are called."""
        return TASKS[self.task]


def confusion_table(result: FinetuneResult) -> pd.DataFrame:
    """The confusion matrix of the learned head, one row a true class, one column a predicted one, in pixels."""
    table = pd.DataFrame(result.confusion, columns=list(result.classes))
    table.insert(0, "truth", result.classes, allow_duplicates=True)  # a class may be called so
    return table
