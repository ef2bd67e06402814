"""The command ``muster study``: how well metrics choose among the members of pools, on several targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import muster
from muster.commands.dry_run import DryRun, print_needed, print_study_forecast
from muster.commands.foreseen_pools import known_pools
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data.foreseen import is_foreseen
from muster.data.opening import DataSettings, is_built_in
from muster.execution.choice import chosen_executor, idle_options
from muster.execution.progress import TrainingProgress
from muster.execution.ray_settings import ExecutorName, RaySettings
from muster.files import write_table, write_text
from muster.launch import only_helps
from muster.limits import MOST_PROCESSES, require_whole
from muster.output_kinds import STUDY
from muster.outputs import Inputs, claimed
from muster.report.study_report import (
    FIGURES,
    StudyReport,
    best_metric,
    headline,
    study_numbers,
    study_tables,
    write_study_report,
)
from muster.study.findings import Findings
from muster.study.forecast import forecast_study
from muster.study.plan import StudyPlan
from muster.study.run import ONE_THREAD, run_study, warn_of_failures
from muster.study.settings import StudySettings
from muster.study.tables import StudyTables
from muster.study.track_record import track_record
from muster.tracking import LOGS, Chart, Run, TrackingSettings, tracked
from muster.tracking.reports import send_report
from muster.training.hardware import Hardware
from muster.training.idle_settings import idle_settings
from muster.training.planned_source import foresee_source
from muster.training.settings import HeadSettings, TrainingSettings

CONFIG, TRACK_RECORD = "config.yaml", "track_record.csv"


def study(
    study: Spread[StudySettings],
    output: Path,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    head: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    workers: int | None = None,
    executor: ExecutorName = "local",
    ray: RaySettings = RaySettings(),  # noqa: B008 (frozen)
    tracking: Spread[TrackingSettings] = TrackingSettings(),  # noqa: B008 (frozen)
    dry: Spread[DryRun] = DryRun(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Fine-tune every member of pools on every target, evaluate all ensembles, and compare with what metrics say.

    Interrupted in whatever way, the same command goes on. Each member is fine-tuned once for each target, number of
    labels and seed, in a process of its own; all ensembles are evaluated from one look at each test image.

    Args:
        study: Which pools, targets, labels, seeds, ensembles and metrics.
        output: Folder of the study: tables, report, and what was fine-tuned.
        training: How members are fine-tuned. Rates are chosen once for each target, network and pre-training, on one
            member.
        hardware: What to compute on.
        head: How the heads of the chosen ensembles are learned.
        data: Where the targets lie.
        workers: Processes side by side; null for one a core, or as many as share the GPUs well.
        executor: Who does the steps: processes of this machine, or tasks of Ray, on this machine or on many.
        ray: What tasks of Ray are given, and where they run.
        tracking: Where tables, numbers and figures go besides the study's own files, when all is done.
        dry: Whether to show only what would be done.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0, or 1 if a step failed.
    """
    if workers is not None:
        require_whole("workers", workers, 1, MOST_PROCESSES)
    if only_helps():
        return 0
    idle = {**_idle(study, training, head), **tracking.idle("tables/ and report.html hold everything")}
    idle |= idle_options(executor, ray)
    asked.refuse(idle)
    console = make_console()
    if dry.dry_run:
        return _foresee(study, training, hardware, data.data_root, dry, console)
    progress = TrainingProgress(console)
    plan = StudyPlan.of(study, training, head, hardware, output.absolute(), data.data_root)
    inputs: Inputs = {
        "--data_root": data.data_root,
        **{f"pool {number + 1}": pool for number, pool in enumerate(study.pools)},
        "--large_pool": study.large_pool,
        "--capped_pool": study.capped_pool,
        **{f"target {name}": dataset.reference for name, dataset in plan.datasets.items()},
        **{f"source {name}": each.reference for name, each in plan.compared.items() if name not in plan.datasets},
    }
    for name, members in plan.members.items():
        left_out = "; ".join(f"{other} ({reason})" for other, reason in plan.excluded[name].items()) or "none"
        console.print(f"{name}: {len(members)} candidates. Left out: {left_out}.", markup=False)
    if plan.not_at_hand:
        missing = "; ".join(f"{name} ({reason})" for name, reason in plan.not_at_hand.items())
        console.print(f"Sources not at hand, so without a distance from targets: {missing}.", markup=False)
    with claimed(output, STUDY, inputs) as lock:
        here = hardware.resolved_options() if executor == "local" else {}  # elsewhere it may mean something else
        write_text(output / CONFIG, record_of(configuration, idle, here))
        with chosen_executor(executor, ray, hardware.devices, hardware.device, workers, ONE_THREAD) as tasks:
            outcome = run_study(plan, progress, workers, lock, tasks)
        warn_of_failures(outcome)
        told = _report(outcome.tables, plan, configuration, tracking.trackers)
    console.print(f"{outcome.done} steps done, {outcome.found} were done before, {len(outcome.failed)} failed.")
    console.print(told, markup=False)
    return 1 if outcome.failed else 0


def _foresee(
    study: StudySettings,
    training: TrainingSettings,
    hardware: Hardware,
    data_root: Path | None,
    dry: DryRun,
    console: Console,
) -> int:
    """Show what would be done, and what it would take."""
    pools, planned = known_pools(study, data_root)
    targets = {target: foresee_source(target, data_root).dataset for target in study.targets}
    found = forecast_study(study, training, hardware, pools, targets, dry.steps(hardware))
    print_study_forecast(console, found, hardware)
    for folder, config in planned.items():
        console.print(
            f"{folder} is not trained yet: its members are those of configs/train/{config.name}.", markup=False
        )
    print_needed(console, [target for target, dataset in targets.items() if is_foreseen(dataset)], [])
    return 0


def _report(tables: StudyTables, plan: StudyPlan, configuration: str, kinds: Sequence[str]) -> str:
    """Write the page of what is known, and tell trackers; what to say of it."""
    study, output = plan.settings, plan.output
    if tables.ensembles.empty or tables.scores.empty:
        return "No cell is done, so there is nothing to report yet."
    findings = Findings.of(tables, study)
    report = write_study_report(findings, output, f"muster {muster.__version__}")
    write_table(output / TRACK_RECORD, track_record(findings, output.name))
    if kinds:
        _track(findings, report, plan, yaml.safe_load(configuration) or {}, kinds)
    return "\n".join([headline(findings), best_metric(findings), str(report.page)])


def _track(
    findings: Findings, report: StudyReport, plan: StudyPlan, options: Mapping[str, Any], kinds: Sequence[str]
) -> None:
    """Tell trackers of a study that is on disk already: they keep a copy."""
    output, pools = plan.output, " ".join(folder.absolute().name for folder in plan.settings.pools)
    run = Run(output / LOGS, "study", output.name, pools, " ".join(plan.datasets), options)
    drawn = {figure.name: output / FIGURES / figure.name for figure in report.figures}
    charts = [Chart(name, Path(f"{file}.png"), Path(f"{file}.html")) for name, file in drawn.items()]
    with tracked(kinds, run) as loggers:
        files = [report.page, output / TRACK_RECORD]
        send_report(loggers, study_tables(findings), study_numbers(findings), files=files, charts=charts)


def _idle(study: StudySettings, training: TrainingSettings, head: HeadSettings) -> dict[str, str]:
    """Options that change nothing beside the others, and why."""
    idle = idle_settings(training, head)
    idle["training.seed"] = "as --finetuning_seeds says which seeds there are"
    if not study.heads:
        idle |= {f"head.{field.name}": "without --heads" for field in fields(HeadSettings)}
    if not study.sweeps.settings:
        idle["sweeps.metrics"] = "without other --sweeps"
    if study.equal_cost:
        idle.pop("training.held_out_fraction", None)
    if all(is_built_in(target) for target in study.targets) and not study.distance_images:
        idle["data_root"] = "as all targets are built in, and --distance_images 0 looks for no sources"
    return idle
