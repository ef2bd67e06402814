"""The command behind ``select.py``: choose an ensemble and write down why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from muster.cancel import CancelToken, set_by_interrupt
from muster.commands.selection_summary import finetune_command, print_selection
from muster.commands.spread import Spread
from muster.commands.terminal import make_console, one_line
from muster.commands.words import Asked, record_of
from muster.data import Dataset, open_dataset, split_record
from muster.execution.choice import chosen_executor, idle_options
from muster.execution.ray_settings import ExecutorName, RaySettings
from muster.files import as_file_name, atomic_folder, write_yaml
from muster.launch import only_helps
from muster.machine import now, resolve_device
from muster.output_kinds import SELECTION
from muster.outputs import Inputs, claimed
from muster.pool import Pool
from muster.probe import ProbeCache, default_cache_folder
from muster.ranks import rank
from muster.report import (
    ReportImage,
    selection_images,
    selection_numbers,
    selection_tables,
    write_selection_report,
)
from muster.selection.idle_options import idle_options as idle_choices
from muster.selection.probe_tasks import ProbeTasks
from muster.selection.record import RANKING, RECORD, Selection
from muster.selection.reference import TRAIN
from muster.selection.run import select
from muster.selection.settings import SelectionSettings
from muster.tasks.task import task_of
from muster.tracking import LOGS, TrackingSettings, copy_tracked
from muster.training.process_group import process_group

_SELECTIONS = Path("runs") / "selections"
_GIGABYTE = 1e9
_WORK = "work"
"""Where members are run that tasks run; an interrupted selection finds there what they made."""

OTHER_THAN_CACHE = {field.name for field in fields(SelectionSettings)} - {"cache_dir"} | {
    *("pool", "target", "output", "logger", "workers", "executor", "ray")
}
"""Options that have nothing to do with emptying the cache."""


def select_ensemble(
    pool: Path,
    target: str,
    output: Path | None = None,
    settings: Spread[SelectionSettings] = SelectionSettings(),  # noqa: B008 (frozen)
    workers: int | None = None,
    executor: ExecutorName = "local",
    ray: RaySettings = RaySettings(),  # noqa: B008 (frozen)
    tracking: Spread[TrackingSettings] = TrackingSettings(),  # noqa: B008 (frozen)
    clear_cache: bool = False,
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Choose the few members of a pool that, fine-tuned together, should do best on a dataset.

    Without options it chooses from the built-in pool for the built-in target. Nothing is trained: every member looks
    once at some training images of the target, and all ensembles are scored from that. What was looked at once is kept
    in a cache, so another ensemble metric or size takes seconds; metrics that look at features run the members again.

    Args:
        pool: Folder of the pool, as train.py wrote it.
        target: The dataset to choose for: worlds/NAME, or the folder of a dataset.
        output: Folder for the selection; by default runs/selections/TARGET-POOL. An older selection in it is replaced.
        settings: How to choose.
        workers: Members run side by side with --executor ray, on this machine alone; by default one a core.
        executor: Who runs the members: this process, or tasks of Ray, on this machine or on many.
        ray: What tasks of Ray are given, and where they run.
        tracking: Where the ranking, scores and images go besides the selection's own files.
        clear_cache: Only empty the cache.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0; 130 if Ctrl-C came when there was something to choose from already.
    """
    console = make_console(quiet=only_helps())
    if clear_cache:
        asked.require_effect(OTHER_THAN_CACHE, "with --clear_cache, which only empties the cache", files=False)
        _clear(settings.cache_dir or default_cache_folder(), console)
        return 0
    idle = {**idle_choices(settings, target), **tracking.idle(f"{RECORD} and {RANKING} hold everything")}
    idle |= idle_options(executor, ray) | ({} if executor == "ray" else {"workers": "without --executor ray"})
    asked.refuse(idle)
    device = resolve_device("auto" if executor == "ray" else settings.device)
    members = Pool.open(pool)
    dataset = open_dataset(target, settings.data_root)
    settings = settings.of_task(task_of(dataset.spec))
    folder = output or _SELECTIONS / f"{as_file_name(dataset.spec.name)}-{members.folder.resolve().name}"
    inputs: Inputs = {
        "--pool": pool,
        "--target": dataset.reference,
        "--data_root": settings.data_root,
        "--reference": None if str(settings.reference) == TRAIN else settings.reference,
    }
    with claimed(folder, SELECTION, inputs), process_group(device), _progress_bar() as progress:
        cancel = CancelToken()
        with set_by_interrupt(cancel), chosen_executor(executor, ray, 1, settings.device, workers) as elsewhere:
            tasks = None if elsewhere is None else ProbeTasks(elsewhere, folder.absolute() / _WORK)
            on_device = settings if tasks is not None else replace(settings, device=str(device))
            selection = select(members, dataset, on_device, progress=progress, cancel=cancel, tasks=tasks)
        if rank() == 0:
            resolved = {
                "output": folder,
                "train_images": selection.probe.train_images,
                "image_size": selection.image_size,
                "device": settings.device if executor == "ray" else str(device),
                "metric": settings.metric,
                "metrics": settings.metrics,
            }
            _write(selection, members, dataset, folder, record_of(configuration, idle, resolved), tracking.trackers)
    print_selection(selection, members, folder, console, chosen_size=settings.image_size is None)
    return 130 if selection.interrupted or selection.fraction < 1 else 0


def _write(
    selection: Selection, pool: Pool, target: Dataset, folder: Path, configuration: str, trackers: Sequence[str]
) -> None:
    """Everything at once, so that an interrupted run leaves the folder as it was; then what trackers are told."""
    selection = replace(selection, date=now())  # for the report too
    images = selection_images(selection, pool, target) if trackers else None
    with atomic_folder(folder) as partial:
        selection.save(partial)
        (partial / "config.yaml").write_text(configuration, "utf-8")
        write_yaml(partial / "splits.yaml", split_record(target))
        report, command = partial / "report.html", finetune_command(folder, selection)
        write_selection_report(selection, pool, target, report, command, images)
        copy_tracked(folder, partial)
    _track(selection, pool, folder, yaml.safe_load(configuration) or {}, trackers, images or [])


def _track(
    selection: Selection,
    pool: Pool,
    folder: Path,
    options: Mapping[str, Any],
    kinds: Sequence[str],
    images: Sequence[ReportImage],
) -> None:
    """Tell trackers of a selection that is on disk already: they keep a copy."""
    if not kinds:
        return
    from muster.tracking import Run, tracked
    from muster.tracking.reports import send_report

    name = pool.folder.resolve().name
    run = Run(folder / LOGS, "select", folder.resolve().name, name, selection.target, options)
    files = [folder / each for each in ("report.html", RECORD, RANKING)]
    tables, numbers = selection_tables(selection, pool), selection_numbers(selection)
    with tracked(kinds, run) as loggers:
        send_report(loggers, tables, numbers, images, selection.classes, files)


def _clear(folder: Path, console: Console) -> None:
    freed = ProbeCache(folder).clear()
    console.print(f"Emptied the cache {folder}: {freed / _GIGABYTE:.3f} GB.")


class _Bar:
    """Shows one task after the other."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far one task is."""
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(one_line(what), total=total)
        self.progress.update(self.tasks[what], completed=done, total=total)


@contextmanager
def _progress_bar() -> Iterator[_Bar | None]:
    console = make_console(stderr=True)
    if only_helps() or not console.is_terminal:  # a hidden bar of older rich still prints an empty line
        yield None
        return
    what = TextColumn("{task.description}", markup=False)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)
