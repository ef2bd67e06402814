"""Run a study: everything that is not done yet, and the tables of what is done."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import pandas as pd

from muster.data import ImageSize
from muster.execution.executor import Executor
from muster.execution.local import LocalProcesses
from muster.execution.progress import TrainingProgress
from muster.pool import Member
from muster.study.cells import kind_of
from muster.study.plan import TABLES, StudyPlan
from muster.study.results import read_table
from muster.study.schedule import Schedule, Step
from muster.study.steps import phases_of
from muster.study.sweeps import part_name, parts_of
from muster.study.tables import COLUMNS, HARD_TABLES, StudyTables
from muster.tasks.task import task_of
from muster.training.sharing import environments_side_by_side, hardware_of, training_bytes, workers_side_by_side

ASKS = "hardware"
"""The folder in which a job works that finds out what the others compute on."""

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For processes that compute on the CPU: the number of threads changes how sums are rounded, and no result may depend
on how many jobs share a machine."""


@dataclass
class StudyOutcome:
    """How a run of a study ended.

    Attributes:
        tables: What is known by now.
        failed: Steps that failed, and why.
        found: How many steps were done before.
        done: How many were done in this run.
    """

    tables: StudyTables
    failed: dict[str, str] = field(default_factory=dict)
    found: int = 0
    done: int = 0


def run_study(
    plan: StudyPlan,
    progress: TrainingProgress,
    workers: int | None = None,
    lock: int | None = None,
    executor: Executor | None = None,
) -> StudyOutcome:
    """Do all that is not done yet; one step that fails does not keep the others from being done.

    Interrupted in whatever way, the same call goes on, and ends with the same numbers. The tables are written after
    every cell, with what is known by then.

    Args:
        plan: What there is to do.
        progress: Shows how far it is.
        workers: Processes side by side; by default one a core, or as many as share the GPUs well; with another
            executor, as many as it has places for. They change no number.
        lock: Number of the open lock file of the output folder.
        executor: What runs the jobs; by default processes of this machine.

    Returns:
        How it ended.
    """
    plan.write_cells()
    if executor is None:
        count = workers or workers_side_by_side(plan.hardware, partial(_memory_of, plan))
        executor, hardware = _processes(plan, count, lock), plan.hardware.beside(count)
    else:
        count = workers or sys.maxsize
        hardware = hardware_of(executor, plan.hardware, plan.output / ASKS)
    plan = replace(plan, hardware=hardware)
    outcome = StudyOutcome(StudyTables.of())
    for headline, steps in phases_of(plan):
        _run(plan, headline, Schedule(steps, executor, count, progress), outcome)
    outcome.tables = _written(plan)
    return outcome


def _run(plan: StudyPlan, headline: str, schedule: Schedule, outcome: StudyOutcome) -> None:
    def ended(step: Step) -> None:
        if step.adds_results:
            _written(plan)

    count = len(schedule.steps)
    schedule.run(f"{headline}: {count} steps for {len(plan.cells)} cells.", ended)
    outcome.failed |= schedule.failures
    outcome.found += len(schedule.found)
    outcome.done += count - len(schedule.found) - len(schedule.failures)


def _written(plan: StudyPlan) -> StudyTables:
    """What is known by now, on disk too."""
    tables = tables_of(plan)
    tables.write(plan.output / TABLES)
    return tables


def _processes(plan: StudyPlan, count: int, lock: int | None) -> LocalProcesses:
    """As many as run side by side; on the CPU with one thread each."""
    threads = {} if plan.hardware.resolved_device() == "cuda" else ONE_THREAD
    environments = [{**each, **threads} for each in environments_side_by_side(plan.hardware, count)]
    return LocalProcesses(environments, lock, plan.hardware.devices > 1)


def _memory_of(plan: StudyPlan) -> list[int]:
    """What fits take on a GPU, in bytes; each kind of network is built once for it."""
    fits = [(plan.training_of(cell), ImageSize.of(cell.image_size)) for cell in plan.cells]
    crops = [(training.crop_for(size), training.batch_size) for training, size in fits]
    crop, batch = max(crops, key=lambda each: math.prod(each[0]) * each[1])
    kinds = {member.card.architecture: member for members in plan.members.values() for member in members}
    is_pooled = all(task_of(dataset.spec).is_pooled for dataset in plan.datasets.values())
    return [training_bytes(member.load_model(), batch, crop, is_pooled) for member in kinds.values()]


def tables_of(plan: StudyPlan) -> StudyTables:
    """What is known by now.

    Args:
        plan: Says where results lie.
    """
    settings = plan.settings
    probes = [
        plan.scores_folder(cell, seed, large)
        for cell, seed, large in product(plan.cells, settings.probe_seeds, (False, True))
    ]
    results = [plan.results_folder(*key) for key in product(plan.cells, settings.finetuning_seeds)]
    heads = [plan.heads_folder(*key) for key in product(plan.cells, settings.finetuning_seeds)]
    sweeps = [
        plan.sweep_folder(cell, seed, part_name(*part))
        for cell, seed in product(plan.cells, settings.probe_seeds)
        for part in parts_of(settings, cell)
    ]
    members = {
        member.name: member for target in plan.datasets for member in (*plan.members[target], *plan.alone(target))
    }
    read = {
        "scores": [read_table(folder, "scores") for folder in probes],
        "costs": [read_table(folder, "costs") for folder in probes],
        **{name: [read_table(folder, name) for folder in probes] for name in HARD_TABLES},
        "sweeps": [read_table(folder, "sweeps") for folder in sweeps],
        "finetuned": [read_table(folder, "finetuned") for folder in results],
        "ensembles": [read_table(folder, "ensembles") for folder in results],
        "heads": [read_table(folder, "heads") for folder in heads],
        "equal_cost": [read_table(folder, "equal_cost") for folder in heads],
        **{name: [read_table(plan.distances_folder, name)] for name in ("distances", "image_map") if plan.compared},
    }
    together = {name: _together(name, parts) for name, parts in read.items()}
    together["finetuned"] = _told_of_images(plan, together["finetuned"])
    return StudyTables.of(
        members=_frame("members", (_member_row(members[name]) for name in sorted(members))),
        targets=_frame("targets", _target_rows(plan)),
        cells=_frame("cells", _cell_rows(plan)),
        **together,
    )


def _told_of_images(plan: StudyPlan, finetuned: pd.DataFrame) -> pd.DataFrame:
    """With which members saw images of the target, for another task."""
    pairs = zip(finetuned["target"], finetuned["member"], strict=True)
    return finetuned.assign(same_images=[int(member in plan.sharing.get(target, ())) for target, member in pairs])


def _together(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    known = [part for part in parts if len(part)]
    return pd.concat(known, ignore_index=True) if known else _frame(name, ())


def _frame(name: str, rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS[name]))


def _member_row(member: Member) -> tuple[Any, ...]:
    card = member.card
    sources = [source.dataset for source in card.sources] or [card.dataset]
    return (
        *(card.name, str(member.folder.parent.parent.name), kind_of(card), " ".join(sources), card.domain),
        *(
            card.architecture,
            card.pretraining,
            card.parameters,
            card.depth,
            card.train_images,
            len(card.classes),
            card.test_result,
            card.task,
        ),
    )


def _target_rows(plan: StudyPlan) -> Iterable[tuple[Any, ...]]:
    for name, dataset in plan.datasets.items():
        counts = dataset.spec.num_classes, len(dataset.train), len(dataset.test)
        yield name, dataset.spec.domain, *counts, dataset.spec.task


def _cell_rows(plan: StudyPlan) -> Iterable[tuple[Any, ...]]:
    for cell in plan.cells:
        counts = len(cell.train_images), len(cell.validation_images)
        seen = str(cell.image_size), plan.settings.pixels_per_image, plan.settings.probe_images or 0
        yield cell.target, cell.regime, cell.subset_seed, *counts, *seen


def warn_of_failures(outcome: StudyOutcome) -> None:
    """Say aloud which steps failed: tables do not show what is missing.

    Args:
        outcome: Of a run.

    Warns:
        UserWarning: For each, with the reason.
    """
    for name, reason in outcome.failed.items():
        warnings.warn(f"{name} failed: {reason}", stacklevel=2)
