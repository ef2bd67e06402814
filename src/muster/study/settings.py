"""What a study asks: pools, targets, how many labels, seeds, which ensembles, which metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from muster.data import ImageSize, SizeSetting
from muster.errors import ConfigError, unknown_name
from muster.limits import MOST_IMAGES, MOST_STEPS, require_seed, require_whole
from muster.metrics import parse_metric
from muster.selection.predictors import PredictorName
from muster.selection.settings import TrainImages
from muster.study.sweep_settings import SweepSettings
from muster.study.target_override import TargetOverride
from muster.tasks.task import Task
from muster.training.settings import TrainingSettings

Candidates: TypeAlias = Literal["all", "a22", "chosen"]

METRICS_OF_MEMBERS: tuple[str, ...] = (
    *("base", "leep", "logme", "h_score", "knn_accuracy", "logistic_accuracy", "gbc", "n_leep", "depth_and_size"),
)
"""Metrics that a study compares beside those of the task's ensembles unless others are named."""

MOST_MEMBERS_OF_ONE = 5
"""Largest ensembles that a study evaluates (A22 appendix C)."""


_NAME = re.compile(r"[a-z0-9_-]{1,40}")


def _require_metric(name: str) -> None:
    try:
        parse_metric(name)
    except ValueError as error:
        raise ConfigError(f"metrics: {error}") from error


def _require_distinct(name: str, values: Sequence[object]) -> None:
    if not values or len(set(values)) < len(values):
        came = ", ".join(map(str, values)) or "none"
        raise ConfigError(f"{name}: expected at least one, each once, but got {came}.")


@dataclass(frozen=True)
class Regime:
    """How many labels a target has.

    Attributes:
        name: What tables call it.
        train_images: A seeded choice of that many target training images; auto means what the target's dataset.yaml
            says (probe_images), or 150; null means all.
    """

    name: str
    train_images: TrainImages = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If the name is no word for folders, or the number is out of its range.
        """
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"regimes.name: expected lower-case letters, digits, '_' and '-', as folders are named by it, but got "
                f"{self.name!r}."
            )
        if isinstance(self.train_images, int):
            require_whole("regimes.train_images", self.train_images, 2, MOST_IMAGES)


@dataclass(frozen=True)
class StudySettings:
    """What is fine-tuned, evaluated and scored.

    Attributes:
        pools: Folders of pools; their members are candidates side by side. Members without a source, straight from
            pre-training, are baselines too.
        targets: Datasets: worlds/NAME, or folders.
        large_pool: A pool of large single models, for the baseline B1L.
        capped_pool: A pool of members that saw a limited number of images of the sources of the others (DATASET@COUNT
            in its plan). They are fine-tuned, and are no candidates: their transfer gains say whether sources help
            because they include the target or because they are large (M21, A10).
        regimes: How many labels each target has; by default one, few, of as many as its dataset.yaml says.
        subset_seeds: Which target training images; each makes a cell of the study.
        probe_seeds: Which probe pixels; each makes scores.
        finetuning_seeds: New heads, order, augmentation; each makes results. All targets are done with the first one
            before the second one begins.
        sizes: Numbers of members of the ensembles to evaluate; single ones are evaluated in any case.
        size: Number of members of the ensembles that are chosen: one of ``sizes``.
        candidates: Which ensembles: all of the eligible members, or A22's choice: of the 5 members that are most
            frequent among the best candidates by all metrics, and 10 random ones; or of those alone that are chosen by
            heads, and B1 and B1L, as in A22 section 5.
        metrics: What is compared; none named means the usual ones for ensembles of the targets' task, and nine others.
        hardness_model: Members or architectures that decide what is hard, as for a selection; by default each source's
            member of the most common architecture.
        predictors: What turns members into classifiers of the target's classes, for metrics of predictions.
        heads: For the choices by these, written as PREDICTOR/METRIC, the ensemble head is learned as well, and for the
            single member that LEEP chooses with the same predictor (B1). A predictor alone takes the metric that a
            selection chooses by where nobody names one.
        equal_cost: Whether a single model is given as much time as the first of these choices.
        pixels_per_image: Probe pixels of each image.
        probe_images: Metrics look at so many of a cell's training images, drawn anew with each probe seed; null for all
            of them.
        image_size: Size at which members see the images; null takes the median of what the members' cards say.
        per_target: Other settings for some targets, each a mapping with targets, image_size and training settings;
            later ones win.
        validation_images: Target training images set aside before the others are drawn, on which ensembles of
            fine-tuned members are compared as somebody could who fine-tuned them all; at most a fifth. 0 for none.
        sweeps: Other settings of the probe that candidates are scored with, too.
        distance_images: Training images of each target, and of each source that is at hand, by which datasets are
            compared with each other (domain distance, map of images). 0 for none.
    """

    pools: tuple[Path, ...]
    targets: tuple[str, ...]
    large_pool: Path | None = None
    capped_pool: Path | None = None
    regimes: tuple[Regime, ...] = ()
    subset_seeds: tuple[int, ...] = (0,)
    probe_seeds: tuple[int, ...] = (0,)
    finetuning_seeds: tuple[int, ...] = (0,)
    sizes: tuple[int, ...] = (1, 2, 3)
    size: int = 3
    candidates: Candidates = "all"
    metrics: tuple[str, ...] = ()
    hardness_model: tuple[str, ...] = ()
    predictors: tuple[PredictorName, ...] = ("linear_probe", "eep")
    heads: tuple[str, ...] = ("linear_probe", "eep")
    equal_cost: bool = False
    pixels_per_image: int = 1000
    probe_images: int | None = None
    image_size: SizeSetting | None = None
    per_target: tuple[TargetOverride, ...] = ()
    validation_images: int = 30
    sweeps: SweepSettings = SweepSettings()  # noqa: RUF009 (frozen)
    distance_images: int = 150

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a list is empty or has something twice, or a value is out of its range.
        """
        for name in ("pools", "targets", "sizes", "predictors"):
            _require_distinct(name, getattr(self, name))
        _require_distinct("regimes", [regime.name for regime in self.all_regimes])
        for name in ("subset_seeds", "probe_seeds", "finetuning_seeds"):
            _require_distinct(name, getattr(self, name))
            for seed in getattr(self, name):
                require_seed(name, seed)
        for size in self.sizes:
            require_whole("sizes", size, 1, MOST_MEMBERS_OF_ONE)
        self._require_other_pools()
        if self.size not in self.sizes:
            raise ConfigError(f"size: expected one of sizes ({', '.join(map(str, self.sizes))}), but got {self.size}.")
        require_whole("pixels_per_image", self.pixels_per_image, 1, MOST_STEPS)
        if self.probe_images is not None:
            require_whole("probe_images", self.probe_images, 2, MOST_IMAGES)
        require_whole("validation_images", self.validation_images, 0, MOST_IMAGES)
        require_whole("distance_images", self.distance_images, 0, MOST_IMAGES)
        if self.image_size is not None:
            ImageSize.of(self.image_size)
        if self.metrics:
            self._require_metrics()
        self._require_targets()
        self._require_heads()

    def _require_targets(self) -> None:
        for override in self.per_target:
            for target in override.targets:
                if target not in self.targets:
                    raise ConfigError(f"per_target: {unknown_name('target', target, self.targets)}")

    def _require_heads(self) -> None:
        if self.equal_cost and not self.heads:
            raise ConfigError("equal_cost: expected at least one of heads, whose first choice sets the cost.")
        if self.candidates == "chosen" and not self.heads:
            raise ConfigError("candidates: expected at least one of heads with chosen, whose choices are fine-tuned.")

    def _require_other_pools(self) -> None:
        """Tables call a pool by the name of its folder, so pools whose members are no candidates need other names."""
        named = {folder.absolute().name: "pools" for folder in self.pools}
        for option, folder in (("large_pool", self.large_pool), ("capped_pool", self.capped_pool)):
            if folder is None:
                continue
            if (name := folder.absolute().name) in named:
                raise ConfigError(
                    f"{option}: expected a folder with another name than those of {named[name]}, as tables tell pools "
                    f"apart by it, but got {folder}. Rename it."
                )
            named[name] = option

    def _require_metrics(self) -> None:
        _require_distinct("metrics", self.metrics)
        for metric in self.metrics:
            _require_metric(metric)
        self.sweeps.require_metrics(self.metrics)
        for head in self.heads:
            if "/" in head:
                self.chooser(head)

    def for_target(self, target: str) -> StudySettings:
        """With the image size of a target, where it has one of its own.

        Args:
            target: As the study names it.
        """
        sizes = [each.image_size for each in self.per_target if target in each.targets and each.image_size is not None]
        return replace(self, image_size=sizes[-1]) if sizes else self

    def training_for(self, target: str, training: TrainingSettings) -> TrainingSettings:
        """How members are fine-tuned on a target.

        Args:
            target: As the study names it.
            training: How they are fine-tuned on targets that have no settings of their own.

        Raises:
            ConfigError: If a value is out of its range.
        """
        for override in self.per_target:
            if target in override.targets:
                training = override.apply(training)
        return training

    @property
    def all_regimes(self) -> tuple[Regime, ...]:
        """At least one."""
        return self.regimes or (Regime("few"),)

    @property
    def all_sizes(self) -> tuple[int, ...]:
        """Numbers of members that are evaluated and scored, in ascending order."""
        return tuple(sorted({1, *self.sizes}))

    def of_tasks(self, tasks: Sequence[Task]) -> StudySettings:
        """With the metrics that nobody named.

        Args:
            tasks: Of the targets, each once. Of several, metrics are those that compare with classes, which all have in
                a selection (:meth:`muster.tasks.task.Task.in_classes`).

        Raises:
            ConfigError: If one of the heads, or of the metrics of a sweep, is none of what the study computes; or
                ensembles are asked for where models can only be used one by one.
        """
        objects = [task for task in tasks if task.finds_objects]
        if objects and (self.sizes != (1,) or self.heads):
            raise ConfigError(
                f"sizes, heads: expected sizes [1] and no heads, as targets are for {objects[0].name} and lists of "
                f"objects of several models cannot be averaged, but got sizes {list(self.sizes)} and heads "
                f"{list(self.heads)}."
            )
        shared = Task if len(tasks) > 1 else tasks[0]
        metrics = self.metrics or (*shared.ensemble_metrics, *METRICS_OF_MEMBERS)
        heads = [head if "/" in head else f"{head}/{shared.default_metric}" for head in self.heads]
        return replace(self, metrics=metrics, heads=tuple(heads))

    def chooser(self, text: str) -> tuple[str, str]:
        """The predictor and the metric of PREDICTOR/METRIC.

        Args:
            text: What was written.

        Raises:
            ConfigError: If it is none of what the study computes.
        """
        predictor, _, metric = text.partition("/")
        if predictor not in self.predictors or metric not in self.metrics:
            raise ConfigError(
                f"heads: expected PREDICTOR/METRIC with one of predictors ({', '.join(self.predictors)}) and one of "
                f"metrics ({', '.join(self.metrics)}), but got {text!r}."
            )
        return predictor, metric
