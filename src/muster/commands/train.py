"""The command behind ``train.py``: train, list or verify a pool."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from muster.commands.console import make_console
from muster.files import require_writable
from muster.pool import Pool, verify_pool
from muster.report.tracking import LoggerKind
from muster.tasks.fitting import Hardware
from muster.tasks.plan import PoolPlan, plan_jobs
from muster.tasks.pool_training import PoolOutcome, train_pool
from muster.tasks.progress import TrainingProgress
from muster.tasks.settings import SourceSettings


def train(
    plan: PoolPlan,
    output: Path,
    training: SourceSettings = SourceSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    data_root: Path | None = None,
    workers: int | None = None,
    logger: LoggerKind = "csv",
    list: bool = False,  # noqa: A002 (it is what one types)
    verify: bool = False,
    configuration: str = "",
) -> int:
    """Train a pool of source models: every dataset with every architecture.

    Without options it trains the built-in pool of small models on procedural scenes. Stopped at any moment, the same
    command goes on: finished members are kept, the others continue from their last checkpoint.

    Args:
        plan: What the pool shall hold.
        output: Folder of the pool; members appear below its folder members/.
        training: How to train each member.
        hardware: What to compute on.
        data_root: Folder below which the plan's datasets are looked for.
        workers: Members trained side by side; by default one a GPU, or one a CPU core.
        logger: Where training curves go besides history.csv of each member: csv, or wandb as well.
        list: Only show the members that the pool has: name, source mIoU, size.
        verify: Only check each member: files, weights, card, name.
        configuration: The resolved configuration, saved as config.yaml.

    Returns:
        0, or 1 if a member failed.
    """
    only_helps = int(os.environ.get("RANK", "0")) > 0  # under torchrun: one process is enough to lead the workers
    console = make_console(quiet=only_helps)
    if verify:
        return _verify(output, console)
    if list:
        return _list(Pool.open(output), console)
    if only_helps:
        return 0
    require_writable(output, "output")
    jobs = plan_jobs(plan, training, output.absolute(), hardware, data_root, logger)
    progress = TrainingProgress(console)
    try:
        outcome = train_pool(jobs, workers, progress, configuration)
    finally:
        progress.end()
    return _conclude(output, outcome, console)


def _conclude(output: Path, outcome: PoolOutcome, console: Console) -> int:
    for name, reason in outcome.failed.items():
        console.print(f"FAILED {name}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if outcome.trained or outcome.skipped:
        _list(Pool.open(output), console)
    if outcome.failed:
        console.print("The same command tries the failed members again.")
        return 1
    console.print(f"Next: python select.py --pool {output} --target ...", markup=False, soft_wrap=True)
    return 0


def _list(pool: Pool, console: Console) -> int:
    table = Table(title=f"Pool {pool.folder}: {len(pool)} members", title_justify="left", box=None)
    for heading in ("member", "domain", "classes", "images", "parameters", "test mIoU", "majority"):
        left = heading in {"member", "domain"}
        table.add_column(heading, justify="left" if left else "right", no_wrap=True, overflow="ellipsis")
    for member in pool:
        card = member.card
        table.add_row(
            card.name,
            card.domain,
            str(len(card.classes)),
            str(card.train_images),
            f"{card.parameters / 1e6:.2f} M",
            f"{card.test_miou:.3f}",
            f"{card.majority_miou:.3f}",
        )
    console.print(table)
    return 0


def _verify(pool: Path, console: Console) -> int:
    found = verify_pool(pool)
    for problem in found.problems:
        console.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
    if found.told:
        console.print(found.told, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{found.sound} of {found.members} members match their cards.")
    return 1 if found.problems else 0
