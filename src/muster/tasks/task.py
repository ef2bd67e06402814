"""What differs between kinds of tasks, such as segmentation and classification. All else knows no task by name.

A dataset says which task it is for (:attr:`muster.data.DatasetSpec.task`), and :func:`task_of` finds it here.

Whatever the task, a member makes a map of scores ``[b, outputs, h0, w0]``, and the truth of an image is a tensor of its
own. Where one prediction is made for a whole image (:attr:`Task.is_pooled`), map and truth have one place.

Axis names: ``b`` images, ``outputs`` numbers of a head (classes, as a rule), ``h0`` and ``w0`` a member's own
resolution, ``h`` and ``w`` that of the truth; ``...`` any others, such as draws of a bootstrap.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from muster.data.spec import DatasetSpec, Split
from muster.data.truth_cuts import OF_PIXELS, OF_THE_IMAGE, TruthCut
from muster.errors import ConfigError, DatasetError, UnfitMemberError
from muster.models.centre_net import without_heads
from muster.models.padding import Part
from muster.models.pooled import Pooled, pooled
from muster.models.prediction import probabilities_of, upsample_probabilities
from muster.models.source_model import SourceModel
from muster.registry import Registry
from muster.tasks.loss import LOSSES, LossOptions
from muster.tasks.scoring import TaskScoring


class Task(TaskScoring):
    """A kind of task.

    What it is called, and which losses and metrics it has, is said by the attributes of
    :class:`muster.tasks.facts.TaskFacts`; how it scores predictions is in :class:`muster.tasks.scoring.TaskScoring`.
    """

    def subset(self, split: Split, count: int | None, seed: int) -> Split:
        """A seeded choice of images.

        Args:
            split: The images.
            count: How many; ``None``, or more than there are, means all.
            seed: Which ones.

        Returns:
            In the order of the split.

        Raises:
            DatasetError: If ``count`` is not positive.
        """
        return split.subset(count, seed)

    def in_classes(self, split: Split) -> Split:
        """Images as a selection sees them: with a class, or several, as the truth of each image or pixel.

        Metrics of transferability compare predictions with classes. A task whose truth is another one says here how
        truths become classes, such as intervals of a number.

        Args:
            split: Images of this task.

        Returns:
            Of the task :attr:`selected_as`; the same images where the truth is a class already.
        """
        return split

    def some_classes(self, spec: DatasetSpec, places: Sequence[int | None]) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """How the truth of an image is cut down to some of the classes of its dataset.

        Args:
            spec: Of the whole dataset.
            places: Of each of its classes, the index that it has then; ``None`` for those that are left out.

        Returns:
            Makes one truth of the other, and survives pickling (data loader workers).

        Raises:
            DatasetError: If that cannot be done, as here.
        """
        raise DatasetError(
            f"Some classes of {spec.name!r} cannot be taken: it is for {self.name}, whose truths cannot be cut down to "
            "some classes."
        )

    def shows_a_class(self, truth: Tensor) -> bool:
        """Whether the truth of an image, cut by :meth:`some_classes`, is of one of the classes that are left."""
        return bool(self.is_known(truth).any())

    def notes_on(self, split: Split) -> tuple[str, ...]:  # noqa: ARG002 (for those who have any)
        """What a check of a dataset says of truths that :meth:`in_classes` does not show, in whole sentences.

        Args:
            split: Images of this task; their truths are read.

        Raises:
            DatasetError: If one cannot be.
        """
        return ()

    def fitted(self, model: SourceModel, seed: int = 0) -> SourceModel:  # noqa: ARG002 (for those who add weights)
        """A network as this task needs it: one whose map is averaged, where a prediction is made for a whole image.

        Where one is made for every place, a network of muster's own that was trained on whole images gives the map that
        it took the mean of. Heads for objects are left behind where none are looked for: of such a network the rest is
        used, as of a backbone.

        Args:
            model: The network.
            seed: The seed of weights that the task adds, if it adds any.

        Raises:
            UnfitMemberError: If it has one prediction for a whole image and no such map, and the task needs one for
                every place; or if one of the two is about texts, and the other about images.
        """
        if model.holds != self.holds:
            raise UnfitMemberError(f"{model.architecture} takes {model.holds}, and {self.name} is about {self.holds}.")
        model = without_heads(model)
        if not self.is_pooled and isinstance(model, Pooled):
            if model.inner.blueprint.library == "native":  # it has a map, of which the mean was taken
                return model.inner
            raise UnfitMemberError(
                f"{model.architecture} has one prediction for a whole image, and {self.name} needs one for every place."
            )
        return pooled(model) if self.is_pooled else model

    def truth_cut(self, spec: DatasetSpec) -> TruthCut:  # noqa: ARG002 (for those whose truths are of its classes)
        """How the truth of a training crop of a dataset is made of that of its image."""
        return OF_THE_IMAGE if self.is_pooled else OF_PIXELS

    def loss(
        self,
        scores: Float[Tensor, "b outputs h0 w0"],
        truth: Tensor,
        loss: str = "scores",
        options: LossOptions = LossOptions(),  # noqa: B008 (frozen)
        added: str = "none",
        added_weight: float = 1.0,
    ) -> Float[Tensor, ""]:
        """The training loss of a batch: one of :attr:`losses`, and another added to it on request.

        Args:
            scores: At the member's own resolution, before softmax.
            truth: Of the images, as whole numbers where it is classes.
            loss: Name of the loss.
            options: Class weights and label smoothing, for a cross-entropy.
            added: Name of the loss that is added; ``none`` for none.
            added_weight: What that is multiplied by.

        Returns:
            The mean over the units that have a truth; 0 if none has, where the plain mean would be NaN. In a
            distributed fit the mean of it over the processes is the loss of all of them together.
        """
        total = LOSSES[loss](scores, truth, options)
        return total if added == "none" else total + added_weight * LOSSES[added](scores, truth, options)

    def soft_loss(
        self, scores: Float[Tensor, "b outputs h w"], wanted: Float[Tensor, "b outputs h w"]
    ) -> Float[Tensor, ""]:
        """How far a network is from the predictions of a teacher: here the mean squared difference.

        It is not asked for where :attr:`finds_objects`, as such predictions are lists.

        Args:
            scores: Of the network, before :meth:`activate`, at the places of the teacher's predictions.
            wanted: What the teacher predicts there; no gradient goes through it.

        Returns:
            Mean over all places; smallest where both agree.
        """
        return functional.mse_loss(self.activate(scores), wanted.detach())

    def activate(self, scores: Float[Tensor, "*any outputs h w"]) -> Float[Tensor, "*any outputs h w"]:
        """Predictions from what a head gives: the probabilities of classes, by softmax.

        Predictions are interpolated, and averaged over the members of an ensemble.

        Args:
            scores: At any resolution.

        Returns:
            float32.
        """
        return probabilities_of(scores)

    def predictions(
        self, scores: Float[Tensor, "b outputs h0 w0"], size: tuple[int, int], part: Part | None = None
    ) -> Float[Tensor, "b outputs _ _"]:
        """What a network says at the places of a truth: :meth:`activate`, brought to their number.

        Args:
            scores: What its head gives, at its own resolution.
            size: Of :meth:`places_of`.
            part: Which part of the scores shows the images, if they were padded.
        """
        return upsample_probabilities(self.activate(scores), size, part)

    def places_of(self, truth: Tensor) -> tuple[int, int]:
        """Rows and columns at which predictions are wanted for a truth: one place, if it is of a whole image.

        Args:
            truth: Of one image, or of several that have the same shape.
        """
        return (1, 1) if self.is_pooled else (truth.shape[-2], truth.shape[-1])

    def decide(self, predictions: Float[Tensor, "b outputs h w"]) -> Tensor:
        """What is predicted, of the predictions at the places of the truth: the most probable class."""
        return predictions.argmax(dim=1)

    def answers(self, predictions: Float[Tensor, "b outputs ..."]) -> Tensor | None:  # noqa: ARG002 (for some)
        """What a program that uses an exported ensemble takes for its answer, beside the predictions themselves.

        Args:
            predictions: At places, or of whole images without any.

        Returns:
            Whole numbers, such as the most probable class; ``None`` where there is nothing of the kind, so that nothing
            can be exported.
        """
        return None

    def pictures(
        self,
        image: UInt8[Tensor, "3 h w"],  # noqa: ARG002 (for those who draw)
        truth: Tensor | None,  # noqa: ARG002
        predictions: Mapping[str, Tensor],  # noqa: ARG002
    ) -> dict[str, UInt8[Tensor, "3 h w"]]:
        """What a report shows of one image, where predictions are no classes that could be coloured.

        Args:
            image: RGB.
            truth: Of the image; ``None`` if it is not known.
            predictions: As :meth:`predictions` gives them for the places of the truth, without the axis of images, by
                the name of who predicts; what counts most is last.

        Returns:
            Pictures, all of one size, by what to call them; none where there is nothing to show.
        """
        return {}

    def drawn_colours(self, classes: Sequence[str]) -> dict[str, tuple[int, int, int]]:  # noqa: ARG002
        """What colours in :meth:`pictures` stand for, as red, green and blue in 0..255; none where they need no key.

        Args:
            classes: Of the dataset.
        """
        return {}

    @abstractmethod
    def about_truth(
        self, predictions: Float[Tensor, "*any outputs units"], truth: Tensor
    ) -> Float[Tensor, "*any _ units"]:
        """The part of predictions that :meth:`unit_losses` looks at, which may be smaller: the true class's alone.

        It is linear in the predictions, so that it can be taken before they are interpolated and averaged.

        Args:
            predictions: Of some units.
            truth: Of these units, ``[units, ...]``.
        """

    @abstractmethod
    def unit_losses(self, about_truth: Float[Tensor, "_ units"], truth: Tensor) -> Float[Tensor, " units"]:
        """What the head of an ensemble is to make small, for each of some units.

        Args:
            about_truth: Of the ensemble's predictions.
            truth: Of these units.
        """

    @abstractmethod
    def known_units(self, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The units of an image that have a truth.

        Args:
            truth: Of one image.

        Returns:
            Their places among all of the image, row after row, int64 ``[units]``; and their truths ``[units, ...]``.
        """

    @abstractmethod
    def without_truth(self, truth: Tensor) -> Tensor:
        """The truth of an image of which nothing is to be scored, of the same shape."""

    @abstractmethod
    def is_known(self, truth: Tensor) -> Tensor:
        """Where something can be scored: bool, of the shape of the truth."""


TASKS: Registry[Task] = Registry("task", "muster.tasks", ConfigError)


def task_of(spec: DatasetSpec) -> Task:
    """The task that a dataset is for.

    Raises:
        ConfigError: If there is none of that name.
    """
    return TASKS[spec.task]


def in_classes(split: Split) -> Split:
    """Images as a selection sees them, see :meth:`Task.in_classes`."""
    return task_of(split.spec).in_classes(split)


def seen_spec(spec: DatasetSpec) -> DatasetSpec:
    """A dataset as a selection sees it, see :attr:`Task.selected_as`: what members are fitted to that look at it."""
    return replace(spec, task=TASKS[spec.task].selected_as or spec.task)


def choose_images(split: Split, count: int | None, seed: int) -> Split:
    """A seeded choice of images as their task makes it, see :meth:`Task.subset`."""
    return task_of(split.spec).subset(split, count, seed)


def tally_is_empty(tally: Tensor) -> bool:
    """Whether nothing was scored."""
    return not bool(torch.any(tally != 0))
