"""Train every member of a pool in worker processes, and survive whatever happens to one of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
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
from muster.files import read_yaml, remove_partial, to_builtin_types, write_text, write_yaml
from muster.launch import local_rank
from muster.locks import is_held
from muster.models import build_model
from muster.output_kinds import POOL
from muster.outputs import Inputs, shared
from muster.pool import MEMBERS, Member
from muster.records import parse_record
from muster.remote import send
from muster.tasks.task import task_of
from muster.training import member_lock
from muster.training.adoption import AdoptionJob, adopt_member
from muster.training.hardware import Hardware
from muster.training.member_job import WORK, MemberJob
from muster.training.member_lock import member_held
from muster.training.sharing import environments_side_by_side, hardware_of, training_bytes, workers_side_by_side

FAILURES = "failures.yaml"
CONFIG = "config.yaml"
SET_ASIDE = "set_aside"
"""The folder of a pool for what lay in the place of a member and was none."""

ASKS = "hardware"
"""Where a job works that finds out what the others compute on."""

TASK = "muster.training.pool_training:train_job"
"""What a worker process is told to call."""

TAKEN, THERE = "taken", "there"
"""What a job returns that trained nothing: another process works on the member, or has finished it."""

PATIENCE = 15.0
"""Seconds to wait for another process that changes what all members share: that takes a moment."""


@dataclass
class PoolOutcome:
    """How the training of a pool ended.

    Attributes:
        skipped: Members that were there already.
        trained: Members that were finished in this run.
        by_others: Members that other processes finished meanwhile.
        failed: Members that could not be trained, and why.
    """

    skipped: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    by_others: list[str] = field(default_factory=list)
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
    recorded in ``failures.yaml`` while the rest go on. Other processes, of this machine or of others that share its
    files, may do the same at the same time: each takes members that nobody works on, and all end when all are there.

    Args:
        jobs: The members, all of one pool.
        workers: Processes side by side; by default as many as devices and cores take, see
            :func:`muster.training.sharing.workers_side_by_side`.
        progress: Shows how far it is.
        configuration: The resolved configuration, saved as config.yaml.
        patience: Seconds to wait for another process that changes what all members share.
        inputs: What is read; the pool's folder must be apart from it.
        adoptions: Models to adopt into the same pool, before any training; that is done in this process.
        executor: What runs the trainings; by default ``workers`` processes of this machine.

    Returns:
        What became of each member.

    Raises:
        ConfigError: If the pool's folder cannot be written or holds something else, another process changes what all
            share for longer than ``patience``, or ``workers`` is no positive number.
        OutputError: If what all members share cannot be written.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers: expected a positive number, but got {workers}.")
    first: MemberJob | AdoptionJob = jobs[0] if jobs else adoptions[0]
    pool, hardware = first.pool, first.hardware
    if executor is None or adoptions:
        hardware.resolved_device()  # refuses what is not there
    outcome = PoolOutcome()
    with shared(pool, POOL, inputs, patience) as alone:
        with alone():
            begun = _prepare(pool, configuration)
            models = [job for job in adoptions if not _is_there(job, outcome)]
            waiting = [job for job in jobs if not _is_there(job, outcome)]
        _adopt(models, outcome, progress.console)
        there = f", {len(outcome.skipped)} already there" if outcome.skipped else ""
        if jobs:
            headline = f"Training {len(waiting)} members{there}."
            progress.begin({job.name: job.settings.total_steps for job in waiting}, headline)
        runs, hardware = _executor_for(waiting, hardware, executor, workers, pool / WORK)
        submitted = [_submitted(replace(job, hardware=hardware)) for job in waiting]
        _Told(pool, outcome, progress, runs).run(submitted)
        with alone():
            _conclude(pool, outcome, begun, jobs)
    return outcome


def _submitted(job: MemberJob) -> Job:
    return Job(job.name, TASK, json.dumps(to_builtin_types(asdict(job))), job.work)


def _prepare(pool: Path, configuration: str) -> int:
    """Make what all members share.

    Returns:
        The time by the clock of the file system, in nanoseconds.
    """
    (pool / MEMBERS).mkdir(exist_ok=True)
    (pool / WORK).mkdir(exist_ok=True)
    remove_partial(pool)
    remove_partial(pool / MEMBERS)
    write_text(pool / CONFIG, configuration)
    return (pool / CONFIG).stat().st_mtime_ns


def _conclude(pool: Path, outcome: PoolOutcome, begun: int, jobs: Sequence[MemberJob]) -> None:
    """Write down what failed, here and in other processes that have ended meanwhile, and tidy up."""
    path, failed = pool / FAILURES, dict[str, str]()
    if path.is_file() and path.stat().st_mtime_ns >= begun:
        failed = {name: why for name, why in read_yaml(path, PoolError).items() if not (pool / MEMBERS / name).is_dir()}
    path.unlink(missing_ok=True)
    if failed := {**failed, **outcome.failed}:
        write_yaml(path, failed)
    for job in jobs:
        if job.name not in outcome.failed and job.folder.is_dir():  # what another process looked at is not empty
            shutil.rmtree(job.work, ignore_errors=True)
    with suppress(OSError):  # others may be at work there
        (pool / WORK).rmdir()


def _executor_for(
    jobs: Sequence[MemberJob], hardware: Hardware, executor: Executor | None, workers: int | None, work: Path
) -> tuple[Executor, Hardware]:
    """What runs the jobs, and what each computes on there."""
    if executor is not None and not jobs:
        return executor, hardware
    if executor is not None:
        work.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{ASKS}-", dir=work))  # other processes may ask, too
        return executor, hardware_of(executor, hardware, folder)
    count = workers or workers_side_by_side(hardware, lambda: memory_of(jobs))
    count = min(count, max(1, len(jobs)))
    environments = environments_side_by_side(hardware, count)
    return LocalProcesses(environments, fresh_processes=hardware.devices > 1), hardware.beside(count)


def memory_of(jobs: Sequence[MemberJob]) -> list[int]:
    """What each member takes on a GPU while it is trained, in bytes; each kind of network is built once for it."""
    references = {reference for job in jobs for reference in job.sources}
    specs = {reference: open_dataset(reference).spec for reference in references}

    @cache
    def needed(architecture: str, classes: int, batch_size: int, crop_size: tuple[int, int], is_pooled: bool) -> int:
        return training_bytes(build_model(architecture, classes), batch_size, crop_size, is_pooled)

    return [
        needed(
            job.architecture,
            sum(specs[reference].num_classes for reference in job.sources),
            job.settings.batch_size,
            job.settings.crop_for(size_for(specs[job.sources[0]], job.settings.image_size)),
            task_of(specs[job.sources[0]]).is_pooled,
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
        with member_held(work := job.pool / WORK / job.name, wait=True):
            told = _adopted(job, outcome)
            shutil.rmtree(work, ignore_errors=True)
        console.print(f"{job.name}: {told}")


def _adopted(job: AdoptionJob, outcome: PoolOutcome) -> str:
    """Adopt one, and say how it ended."""
    if os.path.lexists(job.folder):
        outcome.by_others.append(job.name)
        return "adopted by another process"
    try:
        adopt_member(job)
    except MusterError as error:
        outcome.failed[job.name] = str(error)
    except Exception as error:
        outcome.failed[job.name] = f"{type(error).__name__}: {error}"
    else:
        outcome.trained.append(job.name)
    return "FAILED" if job.name in outcome.failed else "adopted"


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
        Nothing if it was trained: it lies in its folder. Otherwise :data:`TAKEN` or :data:`THERE`.
    """
    job = parse_record(json.loads(content), MemberJob, "job", PoolError)
    # Here, since whoever starts the processes trains nothing, and Lightning takes seconds to import.
    from muster.training.multi_source import train_multi_source
    from muster.training.source import train_member

    train = train_multi_source if job.datasets else train_member
    with member_held(job.work) if local_rank() == 0 else nullcontext(True) as held:  # the others help the first one
        if not held:
            return TAKEN
        if local_rank() == 0 and os.path.lexists(job.folder):
            shutil.rmtree(job.work, ignore_errors=True)
            return THERE
        train(job, lambda step, loss: tell(json.dumps([step, loss])))
    return ""


class _Told:
    """Notes what became of each member, and shows it; members that others work on are looked at again and again."""

    def __init__(self, pool: Path, outcome: PoolOutcome, progress: TrainingProgress, runs: Executor) -> None:
        self.pool, self.outcome, self.progress, self.runs = pool, outcome, progress, runs
        self.taken: dict[str, Job] = {}
        self.looked, self.again = 0.0, False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run until each member was trained, here or elsewhere, or has failed here."""
        for job in jobs:
            self.runs.submit(job)
        told = False
        self.runs.run(self)
        while self.taken or self.again:
            if self.taken and not told:
                names, told = ", ".join(self.taken), True
                self.progress.console.print(f"Waiting for what other processes train: {names}.", markup=False)
            if not self.again:
                time.sleep(member_lock.LOOK_SECONDS)
                self._look()
            self.again = False
            self.runs.run(self)

    def _look(self) -> None:
        """Note what others have finished, and submit again what they left."""
        self.looked = time.monotonic()
        for job in list(self.taken.values()):
            if os.path.lexists(self.pool / MEMBERS / job.name):
                self._by_another(self.taken.pop(job.name))
            elif not is_held(job.folder):
                self.runs.submit(self.taken.pop(job.name))
                self.again = True

    def _by_another(self, job: Job) -> None:
        self.outcome.by_others.append(job.name)
        self.progress.done(job.name, "done by another process")

    def progressed(self, job: Job, message: str) -> None:
        step, loss = json.loads(message)
        self.progress.step(job.name, step, loss)

    def done(self, job: Job, result: str) -> None:
        if result == TAKEN:
            self.taken[job.name] = job
        elif result == THERE:
            self._by_another(job)
        else:
            self.outcome.trained.append(job.name)
            self.progress.done(job.name)
            send(self.pool)  # whoever looks there finds it before the others are done

    def failed(self, job: Job, failure: Failure) -> None:
        self.outcome.failed[job.name] = f"{failure.reason} ({failure.log})"
        self.progress.failed(job.name, failure.reason)

    def tick(self) -> None:
        if self.taken and time.monotonic() - self.looked > member_lock.LOOK_SECONDS:
            self._look()
        self.progress.tick()
