"""Everything that a study is to do: pools and targets opened, cells made, and where each result goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from muster.data import Dataset, open_dataset
from muster.errors import ConfigError, SelectionError
from muster.files import as_file_name
from muster.pool import Member, Pool
from muster.pool.seen import TargetContent
from muster.selection.hard_subsets import hardness_models
from muster.study.cells import Cell, candidates_for, make_cells
from muster.study.distances import network_for_distances
from muster.study.settings import StudySettings
from muster.study.source_datasets import source_datasets
from muster.tasks.task import Task, task_of
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings

CELLS = "cells"
FITS = "fits"
SCORES = "scores"
RESULTS = "results"
HEADS = "heads"
SWEEPS = "sweeps"
DISTANCES = "distances"
TABLES = "tables"
CELL = "cell.yaml"


@dataclass(frozen=True)
class StudyPlan:
    """Everything that a study is to do.

    Attributes:
        settings: What to compare; what nobody named is that of the targets' task.
        training: How members are fine-tuned on targets without settings of their own; the seed is one of the settings'
            seeds instead.
        head: How heads are learned.
        hardware: What one job computes on.
        output: Folder of the study.
        pool: The members of all pools.
        datasets: The targets by their names.
        cells: All cells, target by target.
        members: By target, its candidates.
        excluded: By target, for every other member the reason why it is none.
        large: By target, the members of the large pool, which are single models only.
        capped: By target, those of the pool of capped sources, which are none but single models either.
        compared: Datasets that are compared with the targets by their images, the targets included; empty if none are.
        not_at_hand: By name, sources that are not, and why.
        trainings: By target, how members are fine-tuned on it.
        sharing: By target, the members that saw some of its images in training, for another task.
    """

    settings: StudySettings
    training: TrainingSettings
    head: HeadSettings
    hardware: Hardware
    output: Path
    pool: Pool
    datasets: Mapping[str, Dataset]
    cells: tuple[Cell, ...]
    members: Mapping[str, tuple[Member, ...]]
    excluded: Mapping[str, Mapping[str, str]]
    large: Mapping[str, tuple[Member, ...]]
    capped: Mapping[str, tuple[Member, ...]]
    compared: Mapping[str, Dataset] = field(default_factory=dict)
    not_at_hand: Mapping[str, str] = field(default_factory=dict)
    trainings: Mapping[str, TrainingSettings] = field(default_factory=dict)
    sharing: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @staticmethod
    def of(
        settings: StudySettings,
        training: TrainingSettings,
        head: HeadSettings,
        hardware: Hardware,
        output: Path,
        data_root: Path | None,
    ) -> StudyPlan:
        """Open all that is named, and say what there is to do.

        Raises:
            ConfigError: If two targets have the same name, the loss of a target's training is none for its task, or a
                head is none of what the study computes.
            SelectionError: If a target has too few candidates for the largest ensembles.
            PoolError: If a pool is missing or damaged.
            DatasetError: If a target cannot be opened.
        """
        pools = [Pool.open(folder) for folder in settings.pools]
        pool = Pool.union(pools)
        others = [None if each is None else Pool.open(each) for each in (settings.large_pool, settings.capped_pool)]
        Pool.union([*pools, *(each for each in others if each is not None)])  # names must be different
        opened = [open_dataset(target, data_root) for target in settings.targets]
        settings = settings.of_tasks(_tasks_of(opened))
        datasets = {dataset.spec.name: dataset for dataset in opened}
        if len(datasets) < len(opened):
            raise ConfigError("targets: expected datasets of different names, but two are named alike.")
        found = {name: candidates_for(pool, dataset) for name, dataset in datasets.items()}
        for name, (eligible, excluded) in found.items():
            _require_enough(name, eligible, excluded, max(settings.sizes))
            _require_hardness_models(name, eligible, settings)
        written = dict(zip(datasets, settings.targets, strict=True))
        trainings = {name: settings.training_for(target, training) for name, target in written.items()}
        for name, each in trainings.items():
            _require_losses(datasets[name], each)
        cells = [
            cell
            for name, dataset in datasets.items()
            for cell in make_cells(dataset, found[name][0], settings.for_target(written[name]), data_root)
        ]
        members = {name: each[0] for name, each in found.items()}
        left_out = {name: each[1] for name, each in found.items()}
        large, capped = (
            {name: () if other is None else candidates_for(other, dataset)[0] for name, dataset in datasets.items()}
            for other in others
        )
        sources, missing = dict[str, Dataset](), dict[str, str]()
        if settings.distance_images:
            sources, missing = source_datasets(pool, datasets, data_root, settings.pools)
        compared = {**datasets, **sources} if settings.distance_images else {}
        return StudyPlan(
            settings, training, head, hardware, output, pool, datasets, tuple(cells), members, left_out, large,
            capped, compared, missing, trainings,
            {name: _sharing(dataset, (*members[name], *large[name])) for name, dataset in datasets.items()},
        )  # fmt: skip

    def training_of(self, cell: Cell) -> TrainingSettings:
        """How members are fine-tuned on a cell."""
        return self.trainings.get(cell.target, self.training)

    def alone(self, target: str) -> tuple[Member, ...]:
        """Members that are fine-tuned and evaluated by themselves only."""
        return *self.large[target], *self.capped[target]

    @property
    def distances_folder(self) -> Path:
        """Where distances between datasets, and the map of their images, are kept."""
        return self.output / DISTANCES / "all"

    def features_folder(self, dataset: str) -> Path:
        """Where the features of a dataset's images are kept."""
        return self.output / DISTANCES / as_file_name(f"features-{dataset}")

    @property
    def network(self) -> Member | None:
        """The network whose features datasets are compared by, if they are."""
        return network_for_distances(self.pool, self.datasets) if len(self.compared) > 1 else None

    def cell_folder(self, cell: Cell) -> Path:
        """Where what belongs to a cell is kept."""
        return self.output / CELLS / cell.name

    def cell_file(self, cell: Cell) -> Path:
        """The file that says what a cell is."""
        return self.cell_folder(cell) / CELL

    def scores_folder(self, cell: Cell, seed: int, large: bool = False) -> Path:
        """Where the scores of a seed of the probe pixels are kept."""
        return self.cell_folder(cell) / SCORES / f"{'large-' if large else ''}probe-{seed}"

    def sweep_folder(self, cell: Cell, seed: int, part: str) -> Path:
        """Where the scores with other settings of the probe are kept."""
        return self.cell_folder(cell) / SWEEPS / f"probe-{seed}" / part

    def results_folder(self, cell: Cell, seed: int) -> Path:
        """Where the results of a seed of the fine-tuning are kept."""
        return self.cell_folder(cell) / RESULTS / f"seed-{seed}"

    def heads_folder(self, cell: Cell, seed: int) -> Path:
        """Where the results with learned heads are kept."""
        return self.cell_folder(cell) / HEADS / f"seed-{seed}"

    def fit_folder(self, cell: Cell, seed: int, member: str) -> Path:
        """Where a fine-tuned member is kept."""
        return self.cell_folder(cell) / FITS / f"seed-{seed}" / as_file_name(member)

    def write_cells(self) -> None:
        """Keep the cells for the processes that work on them.

        Raises:
            ConfigError: If the study was begun with other images or sizes.
        """
        for cell in self.cells:
            path = self.cell_folder(cell) / CELL
            if path.exists() and (before := Cell.read(path)) != cell:
                changed = [name for name, value in asdict(cell).items() if asdict(before)[name] != value]
                raise ConfigError(
                    f"{path.parent}: the study was begun with other values of {', '.join(changed)}. Go on with the "
                    "same data and options, or give another --output."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            cell.write(path)


def _tasks_of(targets: Sequence[Dataset]) -> tuple[Task, ...]:
    """The tasks of the targets, each once."""
    return tuple({task.name: task for task in (task_of(dataset.spec) for dataset in targets)}.values())


def _require_losses(target: Dataset, training: TrainingSettings) -> None:
    """Refuse a loss that is none of the target's task."""
    try:
        task_of(target.spec).require_losses(training.loss, training.added_loss, training.class_weighting)
    except ConfigError as error:
        raise ConfigError(
            f"{target.spec.name}: {error} In a study of several tasks, per_target names the loss of each."
        ) from error


def _sharing(target: Dataset, members: Sequence[Member]) -> frozenset[str]:
    """Members that saw images of a target; such as are no candidates at all are not among them."""
    content = TargetContent(target)
    if not content.known:
        return frozenset()
    seen = {member.name: member.card.seen for member in members if member.card.task != target.spec.task}
    return frozenset(
        name for name, each in seen.items() if any(one.images and one.shared_with(content.both) for one in each)
    )


def _require_hardness_models(target: str, members: Sequence[Member], settings: StudySettings) -> None:
    for option, named in (
        ("hardness_model", settings.hardness_model),
        *(("sweeps.hard_model", (name,)) for name in settings.sweeps.hard_model),
    ):
        try:
            hardness_models(members, named)
        except ConfigError as error:
            raise ConfigError(f"{option} for {target}: {error}") from error


def _require_enough(target: str, members: Sequence[Member], excluded: Mapping[str, str], size: int) -> None:
    if len(members) < size:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in excluded.items()) or "none"
        raise SelectionError(
            f"Ensembles of {size} need {size} members, but only {len(members)} can be candidates for {target}. "
            f"Excluded: {reasons}. Give smaller --sizes, or pools of more members."
        )
