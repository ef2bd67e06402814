"""Train every member of a pool in worker processes, and survive whatever happens to one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count as numbers
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any

import torch

from muster.errors import ConfigError, OutputError, PoolError
from muster.execution.progress import TrainingProgress
from muster.execution.worker import job_as_text
from muster.files import atomic_write, remove_partial, write_yaml
from muster.outputs import POOL, Inputs, claimed
from muster.pool import MEMBERS, Member
from muster.training.hardware import Hardware
from muster.training.source import WORK, MemberJob

FAILURES = "failures.yaml"
CONFIG = "config.yaml"
SET_ASIDE = "set_aside"
"""The folder of a pool for what lay in the place of a member and was none."""

LOG = "log.txt"

PATIENCE = 15.0
"""Seconds to wait for the workers of a run that was killed, before a pool counts as being trained by another."""

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
_TORCHRUN_PREFIXES = ("GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


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
) -> PoolOutcome:
    """Train the members that are not there yet.

    Members finished before are skipped, interrupted ones go on from their last checkpoint, and one that fails is
    recorded in ``failures.yaml`` while the rest go on.

    Args:
        jobs: The members, all of one pool.
        workers: Processes side by side; by default one a GPU, or one a core (see :func:`default_workers`).
        progress: Shows how far it is.
        configuration: The resolved configuration, saved as config.yaml.
        patience: Seconds to wait for another process that is at work on the pool.
        inputs: What is read; the pool's folder must be apart from it.

    Returns:
        What became of each member.

    Raises:
        ConfigError: If the pool's folder cannot be written or holds something else, another process is at work on it,
            or ``workers`` is no positive number.
        OutputError: If what all members share cannot be written.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers: expected a positive number, but got {workers}.")
    pool, hardware = jobs[0].pool, jobs[0].hardware
    hardware.resolved_device()  # refuses what is not there
    with claimed(pool, POOL, inputs, patience) as lock:
        (pool / MEMBERS).mkdir(exist_ok=True)
        (pool / WORK).mkdir(exist_ok=True)
        remove_partial(pool)
        remove_partial(pool / MEMBERS)
        with atomic_write(pool / CONFIG) as partial:
            partial.write_text(configuration, "utf-8")
        outcome = PoolOutcome()
        waiting = [job for job in jobs if not _finished(job, outcome)]
        count = min(workers or default_workers(hardware), max(1, len(waiting)))
        there = f", {len(outcome.skipped)} already there" if outcome.skipped else ""
        progress.begin(
            {job.name: job.settings.total_steps for job in waiting}, f"Training {len(waiting)} members{there}."
        )
        _Workers(waiting, count, hardware, lock, outcome, progress).run()
        (pool / FAILURES).unlink(missing_ok=True)
        if outcome.failed:
            write_yaml(pool / FAILURES, outcome.failed)
        if not any((pool / WORK).iterdir()):
            (pool / WORK).rmdir()
    return outcome


def default_workers(hardware: Hardware) -> int:
    """How many members to train side by side.

    On GPUs one process for each ``devices`` of them. On a CPU one single-threaded process a core: small models
    leave most of a second thread idle, so two members side by side are done sooner than one after the other.
    """
    if hardware.resolved_device() == "cuda":
        return max(1, torch.cuda.device_count() // hardware.devices)
    return max(1, len(os.sched_getaffinity(0)) // hardware.devices) if hasattr(os, "sched_getaffinity") else 1


def _finished(job: MemberJob, outcome: PoolOutcome) -> bool:
    """Whether the member is there; says so if it was trained in another way than is now asked for."""
    if not os.path.lexists(job.folder):
        return False
    try:
        card = Member.open(job.folder).card
    except PoolError as error:
        kept = _set_aside(job.folder, job.pool / SET_ASIDE)
        warnings.warn(f"{error} It is trained anew; what was there is now in {kept}.", stacklevel=4)
        return False
    compared = {
        name: getattr(job.settings, name) for name in ("steps", "batch_size", "learning_rate", "schedule", "seed")
    }
    compared |= {"architecture": job.architecture, "image_size": job.settings.image_size}
    if job.settings.learning_rates:
        del compared["learning_rate"]  # the card has the one that was chosen
    other = {name: getattr(card, name) for name, value in compared.items() if getattr(card, name) != value}
    if other:
        told = ", ".join(f"{name} {value} (now {compared[name]})" for name, value in other.items())
        warnings.warn(f"Kept {job.name}, trained with {told}. To train it anew, delete {job.folder}.", stacklevel=4)
    elif card.recipe and card.recipe != job.recipe_hash:
        warnings.warn(f"Kept {job.name}, trained in another way. To train it anew, delete {job.folder}.", stacklevel=4)
    shutil.rmtree(job.work, ignore_errors=True)  # left if the member was done, but its process was killed right then
    outcome.skipped.append(job.name)
    return True


def _set_aside(path: Path, folder: Path) -> Path:
    """Move something out of the way, whatever it is: nobody knows what it is worth."""
    folder.mkdir(exist_ok=True)
    target = next(to for i in numbers(1) if not os.path.lexists(to := folder / f"{path.name}-{i}"))
    shutil.move(path, target)
    return target


class _Worker:
    """One process and the member it is at work on."""

    def __init__(self, index: int, count: int, hardware: Hardware, lock: int | None, job: MemberJob) -> None:
        self.job: MemberJob | None = None
        self.index, self.unread = index, b""
        distributed = hardware.devices > 1
        arguments = [self._job_file(job)] if distributed else []
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "muster.execution.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=_environment(index, count, hardware),
            pass_fds=[] if lock is None else [lock],  # so that the pool stays locked until the last worker is gone
            start_new_session=True,  # Ctrl-C reaches the parent only, which ends its workers itself
        )
        self.reusable = not distributed
        self.start(job)

    @staticmethod
    def _job_file(job: MemberJob) -> str:
        job.work.mkdir(parents=True, exist_ok=True)
        path = job.work / "job.json"
        path.write_text(job_as_text(job), "utf-8")
        return str(path)

    def start(self, job: MemberJob) -> None:
        self.job = job
        self.log_from = os.fstat(self.log.fileno()).st_size
        job.work.mkdir(parents=True, exist_ok=True)
        if self.reusable and self.process.stdin is not None:
            with suppress(BrokenPipeError):  # it has died just now, and will be heard of
                self.process.stdin.write(job_as_text(job).encode() + b"\n")
                self.process.stdin.flush()

    def keep_log(self, job: MemberJob) -> str:
        """Put what the process printed while it trained a member beside the member's checkpoint, and say so."""
        path = job.work / LOG
        end = os.fstat(self.log.fileno()).st_size
        try:
            with atomic_write(path) as partial:
                # pread, because the process writes at the place where this file stands
                partial.write_bytes(os.pread(self.log.fileno(), end - self.log_from, self.log_from))
        except OutputError as error:  # the disk is full, which may be why it failed
            return f"no log: {error}"
        return f"log: {path}"

    def messages(self) -> list[dict[str, Any]] | None:
        """What the process said since last time; ``None`` if it is gone."""
        assert self.process.stdout is not None
        read = os.read(self.process.stdout.fileno(), 1 << 16)
        if not read:
            return None
        *lines, self.unread = (self.unread + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """End the process and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _environment(index: int, count: int, hardware: Hardware) -> dict[str, str]:
    # A worker is no part of what torchrun started, and Lightning in it must not think so.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in _TORCHRUN and not name.startswith(_TORCHRUN_PREFIXES)
    }
    if hardware.resolved_device() == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
        mine = [devices[(index * hardware.devices + i) % len(devices)] for i in range(hardware.devices)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // (count * hardware.devices))))
    return environment


class _Workers:
    """The workers of one run: hands out members, listens, replaces workers that died."""

    def __init__(
        self,
        jobs: Sequence[MemberJob],
        count: int,
        hardware: Hardware,
        lock: int | None,
        outcome: PoolOutcome,
        progress: TrainingProgress,
    ) -> None:
        self.waiting = list(jobs)
        self.count, self.hardware, self.lock = count, hardware, lock
        self.outcome, self.progress = outcome, progress
        self.selector = DefaultSelector()
        self.workers: list[_Worker] = []

    def run(self) -> None:
        """Until every member is done or has failed."""
        try:
            for index in range(self.count):
                self._start(index)
            while self.workers:
                for key, _ in self.selector.select(timeout=1.0):
                    self._listen(key.data)
                self.progress.tick()
        finally:
            for worker in list(self.workers):
                self._stop(worker)

    def _start(self, index: int) -> None:
        if self.waiting:
            worker = _Worker(index, self.count, self.hardware, self.lock, self.waiting.pop(0))
            self.workers.append(worker)
            self.selector.register(worker.process.stdout, EVENT_READ, worker)  # type: ignore[arg-type]

    def _stop(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        self.selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        worker.end()

    def _listen(self, worker: _Worker) -> None:
        messages = worker.messages()
        if messages is None:
            self._died(worker)
        for message in messages or ():
            if message["event"] == "step":
                self.progress.step(message["member"], message["step"], message["loss"])
            elif message["event"] in {"done", "failed"}:
                self._ended(worker, message)

    def _ended(self, worker: _Worker, message: dict[str, Any]) -> None:
        job = worker.job
        assert job is not None  # a worker speaks of its member only
        worker.job = None
        if message["event"] == "done":
            self.outcome.trained.append(job.name)
            self.progress.done(job.name)
        else:
            self._failed(worker, job, message["reason"])
        if self.waiting and worker.reusable and message.get("sound", True):
            worker.start(self.waiting.pop(0))
        else:
            self._stop(worker)
            self._start(worker.index)

    def _died(self, worker: _Worker) -> None:
        """The process is gone without a word: killed, or crashed outside Python."""
        code = worker.process.wait()
        if worker.job is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
            self._failed(worker, worker.job, f"its process {how}{hint}")
        self._stop(worker)
        self._start(worker.index)

    def _failed(self, worker: _Worker, job: MemberJob, reason: str) -> None:
        log = worker.keep_log(job)
        self.outcome.failed[job.name] = f"{reason} ({log})"
        self.progress.failed(job.name, reason)
