"""Every option of a selection, each defined here once: the command, a Python call, the callback and studies take these.

A selection's settings inherit from those of its parts, so an option has one name wherever it is given: ``--size 3`` on
the command line, ``size: 3`` in YAML, ``select(..., size=3)`` in Python. A part that needs only some of the options
takes the class that has these, and can be given the whole.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_type_hints

from muster.data import DataSettings, ImageSize, SizeSetting
from muster.errors import ConfigError, unknown_name
from muster.expected import find_misfit
from muster.files import to_builtin_types
from muster.limits import (
    MOST_IMAGES,
    MOST_PROCESSES,
    MOST_STEPS,
    require_real,
    require_seed,
    require_whole,
)
from muster.metrics import MetricSpec, parse_metric
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.precision import Precision
from muster.selection.bootstrap_confidence import LEAST_RESAMPLES
from muster.selection.hard_subsets import HardEep, HardnessModel
from muster.selection.predictors import PredictorName
from muster.selection.search_runner import AUTO, Budget, SearchName
from muster.tasks.task import Task

TrainImages: TypeAlias = int | Literal["auto"] | None
Size: TypeAlias = int | Literal["auto"]

OF_THE_MACHINE = frozenset(
    {"data_root", "cache_dir", "cache_gb", "device", "batch_size", "num_workers", "precision", "memory_gb"}
)
"""Options on which the choice does not depend."""

MOST_FORESEEN = 100
"""Candidates that heads are foreseen for: about three seconds each for 30 000 probe pixels on one core."""

METRICS_OF_CARDS: tuple[str, ...] = ("base",)
"""Metrics that a selection shows beside those of the task unless others are named."""


@dataclass(frozen=True)
class _Part:
    """What the parts have in common: each looks at its own options, and passes on to the next."""

    def __post_init__(self) -> None:
        """Nothing is left to look at."""


@dataclass(frozen=True)
class ProbeSettings(_Part):
    """How members look at a target.

    Attributes:
        train_images: Use a seeded choice of that many target training images; auto means what its
            dataset.yaml says (probe_images), or 150; null means all.
        pixels_per_image: Pixels of each image that are compared with the ground truth.
        image_size: Size at which members see the images, in pixels: a number is the longer side, shorter:512 the
            shorter one, 512x1024 rows and columns. It should be that of the fine-tuning. null takes the median of the
            image sizes on the cards of the eligible members.
        seed: The seed of the choice of images and pixels.
        device: Where members run: auto, cpu, cuda or cuda:N.
        batch_size: Most images at a time; lower it if memory is short.
        num_workers: Processes that read images ahead.
        precision: The precision of the members' forward passes: auto is bf16-mixed on a GPU that has it, and 32-true
            elsewhere. Probabilities, predictors and scores are computed in float32 or float64.
        memory_gb: Most that the members' predictions may take in the memory of the host, in units of 10^9 bytes; more
            is put on disk while they are needed. They stay on a GPU that made them if they fit there.
    """

    train_images: TrainImages = "auto"
    pixels_per_image: int = 1000
    image_size: SizeSetting | None = None
    seed: int = 0
    device: str = "auto"
    batch_size: int = 16
    num_workers: int = 0
    precision: Precision = "auto"
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a value is out of its range.
        """
        if isinstance(self.train_images, int):
            require_whole("train_images", self.train_images)
        require_whole("pixels_per_image", self.pixels_per_image, 1, MOST_STEPS)
        require_whole("batch_size", self.batch_size, 1, MOST_IMAGES)
        if self.image_size is not None:
            ImageSize.of(self.image_size)
        require_seed("seed", self.seed)
        require_whole("num_workers", self.num_workers, 0, MOST_PROCESSES)
        require_real("memory_gb", self.memory_gb)
        super().__post_init__()


@dataclass(frozen=True)
class CacheSettings(_Part):
    """Where predictions are kept for the next time.

    Attributes:
        cache_dir: Folder of the cache; null means $MUSTER_CACHE, or else ~/.cache/muster/probe.
        cache_gb: Most that the cache may hold, in units of 10^9 bytes; 0 switches it off.
    """

    cache_dir: Path | None = None
    cache_gb: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If the size is negative.
        """
        require_real("cache_gb", self.cache_gb)
        super().__post_init__()


@dataclass(frozen=True)
class PredictorSettings(_Part):
    """What turns a member into a classifier of the target's classes.

    Attributes:
        predictor: linear_probe (a classifier on its features, fitted on other images than it is read on) or eep (as in
            A22; faster). A single image cannot be split: then eep is used, with a warning.
    """

    predictor: PredictorName = "linear_probe"


@dataclass(frozen=True)
class MetricSettings(_Part):
    """Which metrics are computed, and how.

    Attributes:
        metric: What to choose by. auto is what the target's task is chosen by: soft_iou_eep for segmentation, e_leep
            where one prediction is made for a whole image. Or iou_eep, accuracy_eep, ms_leep, base, or any metric of
            docs/metrics.md, also wrapped (logme+pca32+l, leep+haste_cs). An ensemble's score by a metric of single
            members is the sum of its members' scores.
        metrics: What to show for comparison, any of the same; auto stands for the ensemble metrics of the target's task
            and base. LEEP of every single member is always computed, of what the predictor makes of it: MS-LEEP is the
            sum of these.
        reference: What rsa and dds compare with: train trains a model on the probe images, with the network of the
            deepest candidate, and keeps it in the cache; otherwise the folder of a member trained on the target (a
            folder called train is ./train). null takes the best such member of the pool.
        hard_fraction: Which part of the probe set counts as hard, for metrics with +haste_ca or +haste_cs.
        l_max: Layers of a network that add 1 to its score, for metrics with +l.
        hardness_model: The model that decides which part is hard for all members of one source dataset: names of
            members (each for its own source) or of architectures (for all sources that have them); by default the
            source's member of the architecture that is the most common one among the candidates.
        hard_eep: For ensemble metrics with +haste_ca or +haste_cs and the predictor eep: recount counts EEPs anew on
            the union of the members' hard subsets (H22), whole keeps those of the whole probe set. (The linear probe is
            never fitted anew: its predictions are read on the hard subset as they are.)
    """

    metric: str = AUTO
    metrics: tuple[str, ...] = (AUTO,)
    reference: Literal["train"] | Path | None = None
    hard_fraction: float = DEFAULT_FRACTION
    l_max: float = DEFAULT_L_MAX
    hardness_model: HardnessModel = ()
    hard_eep: HardEep = "recount"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a metric is none, or a number is out of its range.
        """
        self.specs()
        if not 0 < self.hard_fraction <= 1:
            raise ConfigError(f"hard_fraction: expected more than 0 and at most 1, but got {self.hard_fraction}.")
        if not 0 < self.l_max < math.inf:
            raise ConfigError(f"l_max: expected a positive number of layers, but got {self.l_max}.")
        super().__post_init__()

    def specs(self) -> tuple[MetricSpec, ...]:
        """All metrics that are named, the one to choose by among them; each once. Auto is none yet.

        Raises:
            ConfigError: If one is none.
        """
        names = [name for name in dict.fromkeys((*self.metrics, self.metric)) if name != AUTO]
        try:
            return tuple(parse_metric(name) for name in names)
        except ValueError as error:
            raise ConfigError(f"metric: {error}") from error


@dataclass(frozen=True)
class SearchSettings(_Part):
    """Which ensembles are looked at.

    Attributes:
        size: Members of the ensemble; auto proposes a size of up to five from what each further member gains and costs.
        search: How to look for candidates: exhaustive, greedy, beam or racing; auto scores all unless they are too many
            to list, and then takes beam, or simply the best members if the metric is a sum over them.
        max_parameters: Most parameters that the members may have together; null for no limit. Needs exhaustive search.
        max_inference_seconds: Most seconds that they may take for one image, one after the other, as measured here;
            null for no limit. Needs exhaustive search.
        prefilter: Let so many members look at all probe images, and choose among these. All look at a few, and the
            better by LEEP at twice as many, until so many are left (successive halving). For large pools; null for no
            prefilter.
    """

    size: Size = 3
    search: SearchName = "auto"
    max_parameters: int | None = None
    max_inference_seconds: float | None = None
    prefilter: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If the size is not positive, or the prefilter leaves fewer members.
        """
        if self.size != AUTO:
            require_whole("size", self.size)
        if self.prefilter is not None:
            require_whole("prefilter", self.prefilter)
            if self.size != AUTO and self.prefilter < self.size:
                raise ConfigError(
                    f"prefilter: expected at least the size of an ensemble, {self.size}, as one is chosen among the "
                    f"members that are left, but got {self.prefilter}."
                )
        super().__post_init__()

    @property
    def budget(self) -> Budget:
        """What an ensemble may cost."""
        return Budget(self.max_parameters, self.max_inference_seconds)


@dataclass(frozen=True)
class SelectionSettings(DataSettings, CacheSettings, ProbeSettings, PredictorSettings, MetricSettings, SearchSettings):
    """All options of a selection.

    Attributes:
        resamples: Bootstrap samples of the probe images, for the confidence of the choice; 0 for none.
        foresee_heads: So many leading candidates are scored again with the head that fine-tuning would learn for them,
            fitted on the probe set, and stand beside the choice, which stays; 0 for none. Needs the linear probe.
    """

    resamples: int = 100
    foresee_heads: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If there are too few bootstrap samples, heads are to be foreseen without the linear probe, or a
                part refuses its options.
        """
        if self.resamples != 0 and self.resamples < LEAST_RESAMPLES:
            raise ConfigError(f"resamples: expected 0 or at least {LEAST_RESAMPLES}, but got {self.resamples}.")
        require_whole("foresee_heads", self.foresee_heads, 0, MOST_FORESEEN)
        if self.foresee_heads and self.predictor != "linear_probe":
            raise ConfigError(
                f"foresee_heads: expected 0 with predictor {self.predictor}, which is made from what heads would be "
                f"fitted on, but got {self.foresee_heads}. Use predictor linear_probe."
            )
        super().__post_init__()

    def of_task(self, task: Task) -> SelectionSettings:
        """With the metrics of a task in place of auto.

        Args:
            task: Of the target.

        Raises:
            ConfigError: If the task's models can only be used one by one, and several are asked for.
        """
        if task.finds_objects and self.size != 1:
            raise ConfigError(
                f"size: expected 1, as the target is for {task.name}, and lists of objects that several models find "
                f"cannot be averaged, but got {self.size}. Choose a single model: --size 1."
            )
        usual = (*task.ensemble_metrics, *METRICS_OF_CARDS)
        shown = [name for each in self.metrics for name in (usual if each == AUTO else (each,))]
        metric = task.default_metric if self.metric == AUTO else self.metric
        return replace(self, metric=metric, metrics=tuple(dict.fromkeys(shown)))

    def having(self, options: Mapping[str, Any]) -> SelectionSettings:
        """The same with other values.

        Args:
            options: By name of the option.

        Returns:
            The settings.

        Raises:
            ConfigError: If a name is no option, or a value has the wrong type or is out of its range.
        """
        kinds, known = get_type_hints(type(self)), [field.name for field in dataclasses.fields(self)]
        for name, value in options.items():
            if name not in known:
                raise ConfigError(unknown_name("option of a selection", name, known))
            if misfit := find_misfit(name, to_builtin_types(value), kinds[name]):
                raise ConfigError(misfit.sentence)
        return replace(self, **options)
