"""What a kind of task is called, and which losses and metrics it has."""

from __future__ import annotations

from collections.abc import Sequence

from muster.errors import ConfigError


class TaskFacts:
    """What is to be known of a kind of task without any data.

    Attributes:
        name: What datasets and cards call it.
        unit: What one prediction is made for, for sentences: a pixel, an image.
        result: What the result on a test split is called, larger being better and 1 perfect.
        key: The same in names of columns and curves.
        class_result: What the part of a single class in it is called.
        is_pooled: Whether one prediction is made for a whole image: members then average their map over it.
        has_classes: Whether the truth of a unit is one of the classes of the label space, so that predictions can be
            coloured, confused with each other, and weighted by how frequent classes are.
        finds_objects: Whether a prediction is a list of objects, each with a place and a class of its own. Such lists
            of several networks have no mean: networks are used one by one, and no head is learned.
        losses: Names of the training losses that can be used, of those in :data:`muster.tasks.loss.LOSSES`.
        ensemble_metrics: Names of metrics of ensembles that are compared where nobody names any, of those in
            :mod:`muster.metrics`.
        default_metric: Name of the metric that ensembles are chosen by where nobody names one.
        selected_as: Name of the task that a selection sees, where it is another one, see
            :meth:`muster.tasks.task.Task.in_classes`.
        error: What the error that stands beside the result is called, smaller being better (RMSE of depth); empty where
            there is none. Where there is one, transfer gains are of it, as in M21.
        error_key: The same in names of columns.
        outputs_are_classes: Whether each output of a member of this task stands for a class, whose score EEP can
            translate into classes of a target.
        answer_names: What an exported file calls predictions, and what :meth:`muster.tasks.task.Task.answers` makes
            of them.
        answer_slack: By how much the latter may differ from those of the ensemble, and still count as the same.
        holds: What its datasets hold, images or texts, as :attr:`muster.data.DatasetSpec.holds` says it.
        written_as: Name of the kind of files that predictions are written as, of those in
            :mod:`muster.commands.predictions`; empty for what fits such predictions.
        built_in_recipe: What fine-tunes small networks on its built-in datasets: a file of configs/finetune, and more
            options, if any.
        hub_tags: What the Hugging Face hub calls such models, the name of its task first; none if it has no name.
        hub_metric: What it calls the result; empty if it has no name for it.
    """

    name: str
    unit: str
    result: str
    key: str
    class_result: str
    is_pooled: bool = False
    has_classes: bool = False
    finds_objects: bool = False
    losses: tuple[str, ...]
    ensemble_metrics: tuple[str, ...] = ("ms_leep", "e_leep")
    default_metric: str = "e_leep"
    selected_as: str = ""
    error: str = ""
    error_key: str = ""
    outputs_are_classes: bool = True
    answer_names: tuple[str, str] = ("probabilities", "classes")
    answer_slack: int = 0
    holds: str = "images"
    written_as: str = ""
    built_in_recipe: str = "worlds.yaml"
    hub_tags: tuple[str, ...] = ()
    hub_metric: str = ""

    @property
    def sample(self) -> str:
        """What one of a dataset's samples is called, for sentences: an image, a text."""
        return self.holds.removesuffix("s")

    @property
    def a_sample(self) -> str:
        """:attr:`sample` with its article: an image, a text."""
        return f"{'an' if self.sample[0] in 'aeiou' else 'a'} {self.sample}"

    def samples(self, count: int, before: str = "") -> str:
        """So many samples, for sentences.

        Args:
            count: How many.
            before: A word between, such as test.

        Example:
            >>> from muster.tasks.task import TASKS
            >>> TASKS["text_classification"].samples(1200, "test")
            '1,200 test texts'
        """
        return " ".join(filter(None, [f"{count:,}", before, self.sample if count == 1 else self.holds]))

    @property
    def has_class_maps(self) -> bool:
        """Whether the truth of an image is a map of classes, so that it has void and regions."""
        return self.has_classes and not self.is_pooled

    @property
    def title(self) -> str:
        """:attr:`result` where a sentence begins; an abbreviation such as mIoU stays as it is."""
        return self.result if self.result[1:2].isupper() else self.result[:1].upper() + self.result[1:]

    def object_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The classes of the objects that are found; those of the label space, where it has no others."""
        return tuple(classes)

    def require_losses(self, loss: str, added: str = "none", class_weighting: str = "none") -> None:
        """Refuse training losses that are none of this task's, and weights of classes where there are none.

        Args:
            loss: Name of the loss.
            added: Name of the loss that is added; ``none`` for none.
            class_weighting: How classes are to be weighted, if at all.

        Raises:
            ConfigError: With those that are.
        """
        if class_weighting != "none" and not self.has_classes:
            raise ConfigError(
                f"training.class_weighting: expected none, as the truth in {self.name} is no class that could have a "
                f"weight, but got {class_weighting!r}."
            )
        for option, name in (("loss", loss), ("added_loss", added)):
            if name not in self.losses and (option, name) != ("added_loss", "none"):
                raise ConfigError(
                    f"training.{option}: expected one for {self.name} ({', '.join(self.losses)}), but got {name!r}."
                )

    def in_words(self, predictions: Sequence[float], names: Sequence[str]) -> dict[str, str | float]:
        """What a table says of one image of which one prediction is made.

        Args:
            predictions: One for each output.
            names: Of the outputs.

        Returns:
            By name of the column.
        """
        return {name: round(value, 6) for name, value in zip(names, predictions, strict=True)}
