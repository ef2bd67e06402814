"""The command behind ``train.py``: train, list or verify a pool."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from muster.commands.dry_run import DryRun, print_needed, print_pool_forecast
from muster.commands.program import to_type
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked, record_of
from muster.data.foreseen import is_foreseen
from muster.data.opening import DataSettings, is_built_in
from muster.errors import ConfigError
from muster.execution.choice import chosen_executor, idle_options
from muster.execution.progress import TrainingProgress
from muster.execution.ray_settings import ExecutorName, RaySettings
from muster.launch import only_helps
from muster.models.adoption import Adoption
from muster.outputs import Inputs
from muster.pool import Pool, holds_of, result_of, verify_pool
from muster.remote import named
from muster.tracking import TrackingSettings
from muster.training.forecast import forecast_members, timed
from muster.training.hardware import Hardware
from muster.training.idle_settings import idle_settings
from muster.training.planned_source import foresee_source
from muster.training.pool_plan import PoolPlan, plan_adoptions, plan_jobs, spell_out
from muster.training.pool_training import PoolOutcome, train_pool
from muster.training.settings import SourceSettings

ONLY_TO_TRAIN = ("plan", "training", "hardware", "data_root", "workers", "executor", "ray", "logger")
"""Options that have nothing to do with a pool that is there."""


def train(
    plan: PoolPlan,
    output: Path,
    training: SourceSettings = SourceSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    workers: int | None = None,
    executor: ExecutorName = "local",
    ray: RaySettings = RaySettings(),  # noqa: B008 (frozen)
    tracking: Spread[TrackingSettings] = TrackingSettings(),  # noqa: B008 (frozen)
    list: bool = False,  # noqa: A002 (it is what one types)
    verify: bool = False,
    dry: Spread[DryRun] = DryRun(),  # noqa: B008 (frozen)
    configuration: str = "",
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Train a pool of source models: every dataset with every architecture.

    Without options it trains the built-in pool of small models on procedural scenes. Stopped at any moment, the same
    command goes on: finished members are kept, the others continue from their last checkpoint.

    Args:
        plan: What the pool shall hold.
        output: Folder of the pool; members appear below its folder members/.
        training: How to train each member.
        hardware: What to compute on.
        data: Where the plan's datasets lie.
        workers: Members trained side by side; by default as many as fit on each GPU, or one a CPU core.
        executor: Who trains them: processes of this machine, or tasks of Ray, on this machine or on many.
        ray: What tasks of Ray are given, and where they run.
        tracking: Where training curves go besides history.csv of each member.
        list: Only show the members that the pool has: name, source mIoU, size.
        verify: Only check each member: files, weights, card, name.
        dry: Whether to show only what would be trained.
        configuration: The resolved configuration, saved as config.yaml.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0, or 1 if a member failed.
    """
    helps = only_helps()  # under torchrun: one process is enough to lead the workers
    console = make_console(quiet=helps)
    if list + verify + dry.dry_run > 1:
        raise ConfigError("--list, --verify and --dry_run: give one of them.")
    if list or verify:
        only = f"with --{'list' if list else 'verify'}, which trains nothing"
        asked.require_effect(ONLY_TO_TRAIN, only, files=False)
    if verify:
        return _verify(output, console)
    if list:
        return print_pool(Pool.open(output), console)
    if helps:
        return 0
    idle = {**_idle(plan, training), **idle_options(executor, ray)}
    asked.refuse(idle)
    if dry.dry_run:
        return _foresee(plan, training, output.absolute(), hardware, data.data_root, dry, workers, console)
    jobs = plan_jobs(plan, training, output.absolute(), hardware, data.data_root, tracking.kinds)
    adoptions = plan_adoptions(plan, output.absolute(), hardware, data.data_root)
    here = hardware.resolved_options() if executor == "local" else {}  # elsewhere it may mean something else
    ran = record_of(configuration, idle, here)
    references = dict.fromkeys(reference for job in jobs for reference in job.sources)
    weights = [*(network.weights for network in plan.networks), *(entry.weights for entry in plan.multi_source)]
    inputs: Inputs = {
        "--data_root": data.data_root,
        **{f"dataset {number + 1} of the plan": reference for number, reference in enumerate(references)},
        **{f"weights {number + 1} of the plan": path for number, path in enumerate(weights)},
        **{f"model of {job.name}": model for job in adoptions if (model := job.entry.model) and Path(model).is_dir()},
        **{f"data of {job.name}": job.entry.data for job in adoptions},
    }
    progress = TrainingProgress(console)
    with chosen_executor(executor, ray, hardware.devices, hardware.device, workers) as tasks:
        try:
            outcome = train_pool(jobs, workers, progress, ran, inputs=inputs, adoptions=adoptions, executor=tasks)
        finally:
            progress.end()
    return _conclude(output, outcome, console)


def _foresee(
    plan: PoolPlan,
    training: SourceSettings,
    output: Path,
    hardware: Hardware,
    data_root: Path | None,
    dry: DryRun,
    workers: int | None,
    console: Console,
) -> int:
    """Show what would be trained, and what it would take."""
    jobs, sources = spell_out(plan, training, output, hardware, data_root, open_one=foresee_source)
    members = timed(forecast_members(jobs, sources), hardware, dry.steps(hardware))
    print_pool_forecast(console, members, hardware, workers, len(plan.adopt))
    missing = sorted(reference for reference, dataset in sources.items() if is_foreseen(dataset))
    named = [*(job.weights for job in jobs), *(_weights_of(entry) for entry in plan.adopt)]
    weights = dict.fromkeys(path for path in named if path is not None)
    print_needed(console, missing, [path for path in weights if not path.is_file()])
    return 0


def _weights_of(entry: Adoption) -> Path | None:
    """The file that a model to be adopted starts from, where it names one."""
    named = Path(entry.weights) if entry.weights else None
    return named if named is not None and named.suffix == ".safetensors" else None


def _idle(plan: PoolPlan, training: SourceSettings) -> dict[str, str]:
    """Options that change nothing with these others, and why."""
    idle = {}
    references = [*plan.references, *(entry.data for entry in plan.adopt if entry.data is not None)]
    if all(is_built_in(reference) for reference in references):
        idle["data_root"] = "as all datasets of the plan are built in"
    if training.validation_fraction == 0 and not any(
        override.settings.get("validation_fraction") for override in plan.overrides
    ):
        idle["training.validate_every"] = "without --training.validation_fraction"
    if not plan.overrides:  # these may say otherwise for some members
        idle |= idle_settings(training)
    return idle


def _conclude(output: Path, outcome: PoolOutcome, console: Console) -> int:
    for name, reason in outcome.failed.items():
        console.print(f"FAILED {name}: {reason}", style="red")
    if outcome.trained or outcome.skipped or outcome.by_others:
        print_pool(Pool.open(output), console)
    if outcome.failed:
        console.print("The same command tries the failed members again.")
        return 1
    console.print(f"Next: {to_type('select')} --pool {shlex.quote(str(named(output)))} --target ...")
    return 0


def print_pool(pool: Pool, console: Console) -> int:
    """Print a line for each member."""
    console.print(f"Pool {pool.folder}: {len(pool)} members")
    table = Table(box=None, pad_edge=False)
    for heading in (
        "member",
        "domain",
        "classes",
        holds_of(member.card for member in pool),
        "parameters",
        f"test {result_of(member.card for member in pool)}",
        "majority",
    ):
        left = heading in {"member", "domain"}
        table.add_column(heading, justify="left" if left else "right")
    for member in pool:
        card = member.card
        table.add_row(
            card.name,
            card.domain,
            str(len(card.classes)),
            _known(card.train_images, ""),
            f"{card.parameters / 1e6:.2f} M",
            _known(card.test_result, ".3f"),
            _known(card.majority_result, ".3f"),
        )
    console.print(table)
    return 0


def _known(value: int | float | None, form: str) -> str:
    """A number, or nothing where the card does not say it."""
    return "" if value is None else format(value, form)


def _verify(pool: Path, console: Console) -> int:
    found = verify_pool(pool)
    for problem in found.problems:
        console.print(problem, style="red")
    if found.told:
        console.print(found.told)
    console.print(f"{found.sound} of {found.members} members match their cards.")
    return 1 if found.problems else 0
