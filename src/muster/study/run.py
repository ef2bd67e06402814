"""Run a study: cells, jobs for their fits, evaluations and scores, and the tables as far as they are known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from muster.data import Dataset, open_dataset
from muster.errors import ConfigError, SelectionError
from muster.execution.executor import Job
from muster.execution.local import LocalProcesses
from muster.execution.placement import visible_gpus, worker_environments
from muster.execution.progress import TrainingProgress
from muster.files import as_file_name, to_builtin_types
from muster.machine import available_cores
from muster.pool import Member, Pool
from muster.study.cells import Cell, candidates_for, make_cells
from muster.study.fits import TASK as FIT
from muster.study.fits import FitJob
from muster.study.schedule import Schedule, Step
from muster.study.settings import StudySettings
from muster.training.hardware import Hardware
from muster.training.settings import HeadSettings, TrainingSettings

CELLS = "cells"
FITS = "fits"
CELL = "cell.yaml"


@dataclass(frozen=True)
class StudyPlan:
    """Everything that a study is to do.

    Attributes:
        settings: What to compare.
        training: How members are fine-tuned; the seed is one of the settings' seeds instead.
        head: How heads are learned.
        hardware: What one job computes on.
        output: Folder of the study.
        pool: The members of all pools.
        datasets: The targets by their names.
        cells: All cells, target by target.
        members: By target, its candidates.
        excluded: By target, for every other member the reason why it is none.
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
            ConfigError: If two targets have the same name.
            SelectionError: If a target has too few candidates for the largest ensembles.
            PoolError: If a pool is missing or damaged.
            DatasetError: If a target cannot be opened.
        """
        pool = Pool.union([Pool.open(folder) for folder in settings.pools])
        opened = [open_dataset(target, data_root) for target in settings.targets]
        datasets = {dataset.spec.name: dataset for dataset in opened}
        if len(datasets) < len(opened):
            raise ConfigError("targets: expected datasets of different names, but two are named alike.")
        found = {name: candidates_for(pool, dataset) for name, dataset in datasets.items()}
        for name, (members, excluded) in found.items():
            _require_enough(name, members, excluded, max(settings.sizes))
        cells = [
            cell
            for name, dataset in datasets.items()
            for cell in make_cells(dataset, found[name][0], settings, data_root)
        ]
        members = {name: each[0] for name, each in found.items()}
        left_out = {name: each[1] for name, each in found.items()}
        return StudyPlan(
            settings, training, head, hardware, output, pool, datasets, tuple(cells), members, left_out
        )

    def cell_folder(self, cell: Cell) -> Path:
        """Where what belongs to a cell is kept."""
        return self.output / CELLS / cell.name

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


def _require_enough(target: str, members: Sequence[Member], excluded: Mapping[str, str], size: int) -> None:
    if len(members) < size:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in excluded.items()) or "none"
        raise SelectionError(
            f"Ensembles of {size} need {size} members, but only {len(members)} can be candidates for {target}. "
            f"Excluded: {reasons}. Give smaller --sizes, or pools of more members."
        )


def fit_steps(plan: StudyPlan) -> Iterator[Step]:
    """The fits of all members: seed by seed, target by target.

    Where rates are to be chosen, one member of each kind of network and pre-training chooses for all of them.
    """
    for seed in plan.settings.seeds.finetuning:
        for cell in plan.cells:
            for member in plan.members[cell.target]:
                yield fit_step(plan, cell, seed, member)


def fit_step(plan: StudyPlan, cell: Cell, seed: int, member: Member) -> Step:
    """The fit of one member."""
    settings = replace(plan.training, seed=seed)
    first_seed = plan.settings.seeds.finetuning[0]
    chooser = _chooser(plan, cell, member) if settings.tried_rates else None
    chooses = chooser is None or (chooser == member.name and seed == first_seed)
    rate_of = "" if chooses or chooser is None else str(plan.fit_folder(cell, first_seed, chooser))
    job = FitJob(
        cell=plan.cell_folder(cell) / CELL,
        member=member.folder,
        checksum=member.card.checksum,
        settings=settings,
        rate_of=rate_of,
        hardware=plan.hardware,
        folder=plan.fit_folder(cell, seed, member.name),
    )
    after = () if chooses or chooser is None else (fit_name(cell, first_seed, chooser),)
    name = fit_name(cell, seed, member.name)
    units = settings.total_steps if chooses else settings.steps
    return Step(name, partial(_fit_job, name, job), job.is_done, after, units)


def fit_name(cell: Cell, seed: int, member: str) -> str:
    """What a fit is called among the steps."""
    return f"{cell.name} seed {seed} {member}"


def _fit_job(name: str, job: FitJob) -> Job:
    work = job.folder.with_name(f"{job.folder.name}.work")
    return Job(name, FIT, json.dumps(to_builtin_types(asdict(job))), work)


def _chooser(plan: StudyPlan, cell: Cell, member: Member) -> str:
    """The member that chooses the rate for all of its kind: the first of its architecture and pre-training."""
    kind = member.card.architecture, member.card.pretraining
    alike = [other for other in plan.members[cell.target] if (other.card.architecture, other.card.pretraining) == kind]
    return alike[0].name


def run_study(
    plan: StudyPlan, progress: TrainingProgress, workers: int | None = None, lock: int | None = None
) -> dict[str, str]:
    """Do all that is not done yet.

    Args:
        plan: What there is to do.
        progress: Shows how far it is.
        workers: Processes side by side; by default one a core, or as many as share the GPUs well.
        lock: Number of the open lock file of the output folder.

    Returns:
        Names of the steps that failed, and why.
    """
    plan.write_cells()
    steps = list(fit_steps(plan))
    count = min(workers or available_cores(), len(steps))
    gpus = visible_gpus(torch.cuda.device_count()) if plan.hardware.resolved_device() == "cuda" else []
    environments = worker_environments(count, plan.hardware.devices, gpus)
    if not gpus:  # the number of threads changes how sums are rounded, and no result may depend on the workers
        environments = [{**each, "OMP_NUM_THREADS": "1"} for each in environments]
    executor = LocalProcesses(environments, lock, plan.hardware.devices > 1)
    schedule = Schedule(steps, executor, count, progress, lambda name: None)
    schedule.run(f"{len(steps)} steps of a study of {len(plan.cells)} cells.")
    return schedule.failures
