"""Train every member of a pool in worker processes, and survive whatever happens to one of them."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import count as numbers
from pathlib import Path

from rich.console import Console

from muster.data import open_dataset, size_for
from muster.errors import ConfigError, MusterError, PoolError
from muster.execution.executor import Executor, Failure, Job
from muster.execution.local import LocalProcesses
from muster.execution.progress import TrainingProgress
from muster.files import remove_partial, to_builtin_types, write_text, write_yaml
from muster.models import build_model
from muster.output_kinds import POOL
from muster.outputs import Inputs, claimed
from muster.pool import MEMBERS, Member
from muster.records import parse_record
from muster.remote import send
from muster.training.adoption import AdoptionJob, adopt_member
from muster.training.hardware import Hardware
from muster.training.member_job import WORK, MemberJob
from muster.training.multi_source import train_multi_source
from muster.training.sharing import environments_side_by_side, hardware_of, training_bytes, workers_side_by_side
from muster.training.source import train_member

FAILURES = "failures.yaml"
CONFIG = "config.yaml"
SET_ASIDE = "set_aside"
"""The folder of a pool for what lay in the place of a member and was none."""

ASKS = "hardware"
"""Where a job works that finds out what the others compute on."""

TASK = "muster.training.pool_training:train_job"
"""What a worker process is told to call."""

PATIENCE = 15.0
"""Seconds to wait for the workers of a run that was killed, before a pool counts as being trained by another."""


@dataclass
class PoolOutcome:
    """How the training of a pool ended.

    Attributes:
        skipped: Members that were there already.
        trained: Members that were finished in this run.
        failed: Members that could not be trained, and why.
    """

    skipped: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def train_pool(
    jobs: Sequence[MemberJob],
    workers: int | None,
    progress: TrainingProgress,
    configuration: str = "",
    patience: float = PATIENCE,
    inputs: Inputs | None = None,
    adoptions: Sequence[AdoptionJob] = (),
    executor: Executor | None = None,
) -> PoolOutcome:
    """Train the members that are not there yet, and adopt those that others trained.

    Members finished before are skipped, interrupted ones go on from their last checkpoint, and one that fails is
    recorded in ``failures.yaml`` while the rest go on.

    Args:
        jobs: The members, all of one pool.
        workers: Processes side by side; by default as many as devices and cores take, see
            :func:`muster.training.sharing.workers_side_by_side`.
        progress: Shows how far it is.
        configuration: The resolved configuration, saved as config.yaml.
        patience: Seconds to wait for another process that is at work on the pool.
        inputs: What is read; the pool's folder must be apart from it.
        adoptions: Models to adopt into the same pool, before any training; that is done in this process.
        executor: What runs the trainings; by default ``workers`` processes of this machine.

    Returns:
        What became of each member.

    Raises:
        ConfigError: If the pool's folder cannot be written or holds something else, another process is at work on it,
            or ``workers`` is no positive number.
        OutputError: If what all members share cannot be written.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers: expected a positive number, but got {workers}.")
    first: MemberJob | AdoptionJob = jobs[0] if jobs else adoptions[0]
    pool, hardware = first.pool, first.hardware
    if executor is None or adoptions:
        hardware.resolved_device()  # refuses what is not there
    with claimed(pool, POOL, inputs, patience) as lock:
        (pool / MEMBERS).mkdir(exist_ok=True)
        (pool / WORK).mkdir(exist_ok=True)
        remove_partial(pool)
        remove_partial(pool / MEMBERS)
        write_text(pool / CONFIG, configuration)
        outcome = PoolOutcome()
        _adopt([job for job in adoptions if not _is_there(job, outcome)], outcome, progress.console)
        waiting = [job for job in jobs if not _is_there(job, outcome)]
        there = f", {len(outcome.skipped)} already there" if outcome.skipped else ""
        if jobs:
            headline = f"Training {len(waiting)} members{there}."
            progress.begin({job.name: job.settings.total_steps for job in waiting}, headline)
        runs, hardware = _executor_for(waiting, hardware, executor, workers, lock, pool / WORK)
        for job in waiting:
            job = replace(job, hardware=hardware)
            runs.submit(Job(job.name, TASK, json.dumps(to_builtin_types(asdict(job))), job.work))
        runs.run(_Told(pool, outcome, progress))
        (pool / FAILURES).unlink(missing_ok=True)
        if outcome.failed:
            write_yaml(pool / FAILURES, outcome.failed)
        if not any((pool / WORK).iterdir()):
            (pool / WORK).rmdir()
    return outcome


def _executor_for(
    jobs: Sequence[MemberJob], hardware: Hardware, executor: Executor | None, workers: int | None, lock: int | None,
    work: Path,
) -> tuple[Executor, Hardware]:  # fmt: skip
    """What runs the jobs, and what each computes on there."""
    if executor is not None:
        return executor, hardware_of(executor, hardware, work / ASKS) if jobs else hardware
    count = workers or workers_side_by_side(hardware, lambda: memory_of(jobs))
    count = min(count, max(1, len(jobs)))
    environments = environments_side_by_side(hardware, count)
    return LocalProcesses(environments, lock, hardware.devices > 1), hardware.beside(count)


def memory_of(jobs: Sequence[MemberJob]) -> list[int]:
    """What each member takes on a GPU while it is trained, in bytes; each kind of network is built once for it."""
    references = {reference for job in jobs for reference in job.sources}
    specs = {reference: open_dataset(reference).spec for reference in references}

    @cache
    def needed(architecture: str, num_classes: int, batch_size: int, crop_size: tuple[int, int]) -> int:
        return training_bytes(build_model(architecture, num_classes), batch_size, crop_size)

    return [
        needed(
            job.architecture,
            sum(specs[reference].num_classes for reference in job.sources),
            job.settings.batch_size,
            job.settings.crop_for(size_for(specs[job.sources[0]], job.settings.image_size)),
        )
        for job in jobs
    ]


def _is_there(job: MemberJob | AdoptionJob, outcome: PoolOutcome) -> bool:
    """Whether the member is there; says so if it was made in another way than is now asked for."""
    if not os.path.lexists(job.folder):
        return False
    try:
        card = Member.open(job.folder).card
    except PoolError as error:
        kept = _set_aside(job.folder, job.pool / SET_ASIDE)
        warnings.warn(f"{error} It is {job.verb}ed anew; what was there is now in {kept}.", stacklevel=4)
        return False
    if other := job.other_way(card):
        warnings.warn(f"Kept {job.name}, {other}. To {job.verb} it anew, delete {job.folder}.", stacklevel=4)
    if isinstance(job, MemberJob):  # left if the member was done, but its process was killed right then
        shutil.rmtree(job.work, ignore_errors=True)
    outcome.skipped.append(job.name)
    return True


def _adopt(jobs: Sequence[AdoptionJob], outcome: PoolOutcome, console: Console) -> None:
    """Adopt models one after the other; one that fails, for whatever reason of its own, does not keep the others."""
    for job in jobs:
        try:
            adopt_member(job)
        except MusterError as error:
            outcome.failed[job.name] = str(error)
        except Exception as error:
            outcome.failed[job.name] = f"{type(error).__name__}: {error}"
        else:
            outcome.trained.append(job.name)
        console.print(f"{job.name}: {'FAILED' if job.name in outcome.failed else 'adopted'}")


def _set_aside(path: Path, folder: Path) -> Path:
    """Move something out of the way, whatever it is: nobody knows what it is worth."""
    folder.mkdir(exist_ok=True)
    target = next(to for i in numbers(1) if not os.path.lexists(to := folder / f"{path.name}-{i}"))
    shutil.move(path, target)
    return target


def train_job(content: str, tell: Callable[[str], None]) -> str:
    """Train a member in a worker process.

    Args:
        content: A :class:`muster.training.member_job.MemberJob` as JSON.
        tell: Takes the number of steps done and the latest loss, as JSON.

    Returns:
        Nothing: the member lies in its folder.
    """
    job = parse_record(json.loads(content), MemberJob, "job", PoolError)
    train = train_multi_source if job.datasets else train_member
    train(job, lambda step, loss: tell(json.dumps([step, loss])))
    return ""


class _Told:
    """Notes what became of each member, and shows it."""

    def __init__(self, pool: Path, outcome: PoolOutcome, progress: TrainingProgress) -> None:
        self.pool, self.outcome, self.progress = pool, outcome, progress

    def progressed(self, job: Job, message: str) -> None:
        step, loss = json.loads(message)
        self.progress.step(job.name, step, loss)

    def done(self, job: Job, result: str) -> None:  # noqa: ARG002 (a listener's)
        self.outcome.trained.append(job.name)
        self.progress.done(job.name)
        send(self.pool)  # whoever looks there finds it before the others are done

    def failed(self, job: Job, failure: Failure) -> None:
        self.outcome.failed[job.name] = f"{failure.reason} ({failure.log})"
        self.progress.failed(job.name, failure.reason)

    def tick(self) -> None:
        self.progress.tick()
