"""Jobs as tasks of Ray, on this machine or on all machines of a cluster.

Ray decides what runs where and when, carries messages, and starts a task again whose worker died; nothing of that is
done here. All machines see the same folders, as jobs read and write files by their paths.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from muster.errors import ConfigError
from muster.execution.executor import Failure, FailureKind, Job, Listener
from muster.execution.local import LOG
from muster.execution.ray_settings import CORES_OF_A_GPU, RaySettings
from muster.execution.ray_worker import WorkerDiedError, log_of, work
from muster.execution.worker import DONE, as_text
from muster.extras import needs_extra
from muster.machine import CORES, available_cores
from muster.telemetry import QUIET

_MESSAGE_BYTES = 100 << 20
"""Memory that a cluster of our own keeps for objects: only text is sent."""

_REACHABLE_SECONDS = 10.0
"""How long a cluster may take to answer."""

_PLACE = "muster_place"
"""What a task takes one of, on a cluster of our own that is to run so many side by side."""

_OURS = "MUSTER_"
"""Environment variables that begin so are those of every task."""


class RayTasks:
    """An :class:`muster.execution.executor.Executor` whose jobs are tasks of Ray.

    It is a context manager. Ray is started, or its cluster joined, when there is something to do, and left at the end;
    a Ray that this process had started before is used and stays.
    """

    def __init__(
        self,
        settings: RaySettings,
        processes: int = 1,
        device: str = "auto",
        workers: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            settings: Where, and what each task is given.
            processes: How many processes, each on a device of its own, work on one job.
            device: What they compute on, as ``hardware.device`` says it.
            workers: How many tasks run side by side on a cluster of our own; by default as many as there are cores for.
            environment: Environment variables of every task.

        Raises:
            ConfigError: If Ray is not installed.
        """
        self.settings, self.processes, self.device = settings, processes, device
        self.workers, self.environment = workers, dict(environment or {})
        self.waiting: list[Job] = []
        self._opened = ExitStack()
        os.environ |= {name: os.environ.get(name, value) for name, value in QUIET.items()}  # before it is imported
        self.ray = needs_extra("ray", "ray", "--executor ray needs Ray")

    def __enter__(self) -> RayTasks:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave Ray, and end it if it was started here."""
        self._opened.close()

    def submit(self, job: Job) -> None:
        """See :meth:`muster.execution.executor.Executor.submit`."""
        self.waiting.append(job)

    def run(self, listener: Listener) -> None:
        """See :meth:`muster.execution.executor.Executor.run`.

        Raises:
            ConfigError: If the cluster is not to be had, or has no machine for such a task.
        """
        if not self.waiting:
            return
        if not self.ray.is_initialized():
            self._join()
        _Run(self, self._gpus()).until_done(listener)

    def _join(self) -> None:
        """Start Ray on this machine, or join the cluster."""
        address, options = self.settings.address or "local", dict[str, Any]()
        if self.settings.address is None:
            # Sockets lie in it, whose paths must be short.
            home = self._opened.enter_context(
                tempfile.TemporaryDirectory(prefix="muster-ray-", ignore_cleanup_errors=True)
            )
            options = {"_temp_dir": home, "object_store_memory": _MESSAGE_BYTES, "include_dashboard": False}
            options["num_cpus"] = max(available_cores(), (self.workers or 0) * self.cpus(float(self.processes)))
            options["resources"] = {_PLACE: self.workers} if self.workers else None
        try:
            _require_reachable(address)
            self._opened.callback(self.ray.shutdown)
            self.ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
            raise ConfigError(
                f"--ray.address: expected the address of a running Ray cluster, such as auto or HOST:6379, but "
                f"{address} cannot be joined: {str(error).splitlines()[0]} (Where the cluster asks for a token, "
                "RAY_AUTH_MODE=token is to be set here too.)"
            ) from error

    def _gpus(self) -> float:
        """GPUs of a task."""
        if self.settings.gpus is not None:
            return float(self.settings.gpus)
        wanted = self.device == "cuda" or (self.device == "auto" and self.ray.cluster_resources().get("GPU", 0) > 0)
        return float(self.processes) if wanted else 0.0

    def cpus(self, gpus: float) -> int:
        """Processor cores of a task.

        Args:
            gpus: Its GPUs.
        """
        return self.settings.cpus or (max(1, round(CORES_OF_A_GPU * gpus)) if gpus else self.processes)

    def environment_of(self, gpus: float) -> dict[str, str]:
        """Environment variables of each task.

        Args:
            gpus: Its GPUs.
        """
        ours = {name: value for name, value in os.environ.items() if name.startswith(_OURS) or name in QUIET}
        cpus = self.cpus(gpus)
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cpus // self.processes)))
        return {**ours, CORES: str(cpus), "OMP_NUM_THREADS": threads, **self.environment}


class _Run:
    """The jobs of one call of :meth:`RayTasks.run`."""

    def __init__(self, executor: RayTasks, gpus: float) -> None:
        self.executor, self.ray, settings = executor, executor.ray, executor.settings
        from ray.util.queue import Queue

        cpus, memory = executor.cpus(gpus), (settings.memory_gb or 0.0) * 1e9
        self._require_room({"CPU": float(cpus), "GPU": gpus, "memory": memory})
        self.messages = Queue(actor_options={"num_cpus": 0})
        # A worker that had a GPU is not used again: after an error there nothing works in that process any more.
        self.task = self.ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            memory=int(memory) or None,
            resources={_PLACE: 1} if executor.workers and settings.address is None else None,
            max_retries=settings.retries,
            retry_exceptions=[WorkerDiedError],
            max_calls=1 if gpus else 0,
        )(work)
        self.environment = executor.environment_of(gpus)
        self.jobs: dict[str, Job] = {}
        self.running: dict[Any, Job] = {}
        self.heard: dict[str, str] = {}

    def until_done(self, listener: Listener) -> None:
        """Run until every job is done or has failed; whatever ends this ends the tasks too."""
        try:
            self._begin()
            while self.running:
                ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=1.0)
                self._hear(listener)
                for reference in ended:
                    self._end(reference, listener)
                self._begin()
                listener.tick()
        finally:
            for reference in self.running:
                self.ray.cancel(reference, force=True)
            self.messages.shutdown(force=True)

    def _require_room(self, needed: Mapping[str, float]) -> None:
        """Ray waits without end for what no machine has."""
        for name, amount in needed.items():
            nodes = [node["Resources"].get(name, 0) for node in self.ray.nodes() if node["Alive"]]
            if amount <= max(nodes, default=0):
                continue
            option = {"CPU": "ray.cpus", "GPU": "ray.gpus", "memory": "ray.memory_gb"}[name]
            told = f"--{option}: a task takes {amount:g} {name}, and the largest machine there has {max(nodes):g}."
            if self.executor.settings.address is None:
                raise ConfigError(f"{told} Ask for less, or name a larger cluster with --ray.address.")
            warnings.warn(f"{told} It waits until a larger one joins.", stacklevel=4)

    def _begin(self) -> None:
        """Hand all jobs that wait to Ray, which keeps their order."""
        while self.executor.waiting:
            job = self.executor.waiting.pop(0)
            job.folder.mkdir(parents=True, exist_ok=True)
            log_of(job.folder).unlink(missing_ok=True)
            alone = self.executor.processes > 1
            place = str(Path.cwd())
            reference = self.task.remote(json.loads(as_text(job)), place, self.environment, self.messages, alone)
            self.running[reference] = self.jobs[job.name] = job
            self.heard[job.name] = ""

    def _hear(self, listener: Listener) -> None:
        for name, message in self.messages.get_nowait_batch(self.messages.size()):
            if name in self.heard:  # otherwise it comes late: the job has ended
                self.heard[name] = message
                listener.progressed(self.jobs[name], message)

    def _end(self, reference: Any, listener: Listener) -> None:
        job = self.running.pop(reference)
        try:
            event, content, last = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:  # nobody is left to say how it ended
            event, content, last = "died", self._how_it_died(error), ""
        if self.heard.pop(job.name) != last and last:
            listener.progressed(job, last)
        log = log_of(job.folder)
        if event == DONE:
            log.unlink(missing_ok=True)
            listener.done(job, content)
        else:
            listener.failed(job, _failure(event, content, job))

    def _how_it_died(self, error: Exception) -> str:
        cause = getattr(error, "cause", None) or error
        attempts = self.executor.settings.retries + 1
        told = str(cause).strip().splitlines() or [type(cause).__name__]
        return f"it was started up to {attempts} times, and its worker died: {told[0]}"


def _require_reachable(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), _REACHABLE_SECONDS).close()


def _failure(kind: FailureKind, reason: str, job: Job) -> Failure:
    """With what the task printed put beside its other files."""
    log, kept = log_of(job.folder), job.folder / LOG
    with suppress(FileNotFoundError):
        log.replace(kept)
    return Failure(kind, reason, f"log: {kept}" if kept.is_file() else "no log: its worker printed nothing")
