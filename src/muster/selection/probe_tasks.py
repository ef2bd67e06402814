"""Members run over the probe images by an executor, one a job, on whatever machines it has.

The process that leads draws the probe set, asks one job which device and precision the others have, and knows by the
cache's keys, which hold these, what was read before. A job draws the same probe set, reads its member, makes of it what
the predictor makes, and writes both into a folder that all machines see. From there on all is as in one process.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path

from muster.data import DatasetSpec, open_dataset
from muster.errors import ConfigError, OutputError, PoolError, UnfitMemberError
from muster.execution.executor import Executor, Failure, Job
from muster.execution.one_job import ask
from muster.files import as_file_name, to_builtin_types
from muster.machine import device_label, resolve_device
from muster.pool import Member
from muster.precision import Precision, resolve_precision
from muster.probe import Elsewhere, ProbeCache, ProbeReader, SharedCache, member_key
from muster.probe.shared_cache import reading_key
from muster.records import parse_record
from muster.remote import fetched
from muster.selection.member_scoring import Progress, Request
from muster.selection.metric_inputs import NEED_READING, member_inputs, target_inputs
from muster.selection.predictors import Predictor, PredictorName
from muster.selection.probing import probe_reader, seen_images
from muster.selection.settings import ProbeSettings
from muster.selection.sound_reading import sound_reading
from muster.tasks.task import seen_spec

TASK = "muster.selection.probe_tasks:probe_member"
_ASK = "muster.selection.probe_tasks:say_where"
_MADE = "made"
_JOBS = "members"


@dataclass(frozen=True)
class ProbeJob:
    """Everything a worker must know to run one member.

    Attributes:
        member: The member's folder.
        key: What its probabilities are called in the cache; a worker that sees other images has another.
        target: What :func:`muster.data.open_dataset` opens.
        data_root: Folder below which datasets are looked for.
        settings: How members look at the target; nothing in it is ``auto`` on which numbers depend.
        images: The probe images to look at, by their places among those that the settings choose; ``None`` for all.
        predictor: What is to be made of the member.
        needs: What metrics need of it besides.
        made: The folder of what is made.
    """

    member: Path
    key: str
    target: str
    data_root: Path | None
    settings: ProbeSettings
    images: tuple[int, ...] | None
    predictor: PredictorName
    needs: tuple[str, ...]
    made: Path


@dataclass(frozen=True)
class ProbeTasks:
    """Who runs members for a selection, in place of its own process.

    Attributes:
        executor: Runs the jobs; nothing waits in it.
        folder: Where they work, seen by all machines; what is made is left there until somebody deletes it, so that an
            interrupted selection need not run these members again.
    """

    executor: Executor
    folder: Path

    def where(self, device: str, precision: str) -> Elsewhere:
        """Find out what members run on there, by a job.

        Args:
            device: As the option says it.
            precision: Likewise.

        Raises:
            ConfigError: If nothing there can do this.
        """
        content = json.dumps({"device": device, "precision": precision})
        answer = ask(self.executor, _ASK, content, self.folder / "device")
        return parse_record(json.loads(answer), Elsewhere, "device", ConfigError)

    def cache(self, kept: ProbeCache | None) -> SharedCache:
        """The cache of a selection whose members they run.

        Args:
            kept: The lasting one, if there is one.
        """
        return SharedCache(self.folder.absolute() / _MADE, math.inf, kept)


@dataclass(frozen=True)
class ProbeRun:
    """The members of one selection, as jobs.

    Attributes:
        tasks: Who runs them.
        cache: Theirs.
        target: What :func:`muster.data.open_dataset` opens.
        data_root: Folder below which datasets are looked for.
        settings: How members look at the target.
        progress: Told how far the work is.
    """

    tasks: ProbeTasks
    cache: SharedCache
    target: str
    data_root: Path | None
    settings: ProbeSettings
    progress: Progress | None

    def read(
        self,
        members: Sequence[Member],
        reader: ProbeReader,
        request: Request,
        predictor: Predictor,
        images: Sequence[int] | None = None,
    ) -> dict[str, str]:
        """Have all of these members read that were not yet.

        Args:
            members: Members of a pool.
            reader: Knows the probe set, and where members run.
            request: Which metrics.
            predictor: What turns a member into a classifier of the target's classes.
            images: The images that the reader reads, if they are not all.

        Returns:
            Members that give no numbers, with the reason.

        Raises:
            PoolError: If a member cannot be read, when all jobs have ended; the others need not be read again.
            ConfigError: If the executor has no place for them.
        """
        waiting = [member for member in members if not self._is_read(member, reader, request, predictor)]
        heard = _Heard(len(waiting), self.progress)
        for member in waiting:
            job = ProbeJob(
                member.folder.absolute(),
                member_key(member, reader),
                self.target,
                self.data_root,
                self._said(reader),
                None if images is None else tuple(images),
                predictor.name,
                tuple(sorted(request.needs)),
                self.cache.folder,
            )
            folder = self.tasks.folder / _JOBS / as_file_name(member.name)
            self.tasks.executor.submit(Job(member.name, TASK, json.dumps(to_builtin_types(asdict(job))), folder))
        self.tasks.executor.run(heard)
        if heard.failures:
            told = "; ".join(f"{name}: {each.reason} ({each.log})" for name, each in heard.failures.items())
            raise PoolError(
                f"{len(heard.failures)} of {len(waiting)} members could not be run on the target's "
                f"{reader.spec.holds}. {told}. The same command tries them again; the others are not run again."
            )
        shutil.rmtree(self.tasks.folder / _JOBS, ignore_errors=True)
        return heard.unfit

    def _said(self, reader: ProbeReader) -> ProbeSettings:
        """The settings without what depends on the pool or on the machine."""
        place = reader.elsewhere
        assert place is not None  # whoever has tasks asked where they run
        size = reader.preprocessing.known_size.setting
        precision: Precision = place.precision  # type: ignore[assignment]  # one of these names
        said = ProbeSettings(**{each.name: getattr(self.settings, each.name) for each in fields(ProbeSettings)})
        return replace(said, image_size=size, device=place.device, precision=precision)

    def _is_read(self, member: Member, reader: ProbeReader, request: Request, predictor: Predictor) -> bool:
        return all(map(self.cache.holds, _keys(member, reader, request.needs, predictor)))


def _keys(member: Member, reader: ProbeReader, needs: frozenset[str], predictor: Predictor) -> list[str]:
    """Of all that is to be made of a member."""
    keys = [member_key(member, reader)]
    if predictor.name == "linear_probe":
        keys.append(predictor.key(member, reader))
    return [*keys, reading_key(keys[0])] if needs & NEED_READING else keys


@dataclass
class _Heard:
    """A :class:`muster.execution.executor.Listener` that notes how each job ended."""

    total: int
    progress: Progress | None
    unfit: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    ended: int = 0

    def progressed(self, job: Job, message: str) -> None:
        """Jobs say nothing before they end."""

    def done(self, job: Job, result: str) -> None:
        if result:
            self.unfit[job.name] = result
        self._tell()

    def failed(self, job: Job, failure: Failure) -> None:
        self.failures[job.name] = failure
        self._tell()

    def tick(self) -> None:
        """The bar goes on by members."""

    def _tell(self) -> None:
        self.ended += 1
        if self.progress is not None:
            self.progress("running members", self.ended, self.total)


def say_where(content: str, tell: Callable[[str], None]) -> str:  # noqa: ARG001 (a task's)
    """Say what members run on where the jobs of an executor run.

    Args:
        content: The options ``device`` and ``precision``, as JSON.
        tell: Takes nothing.

    Returns:
        A :class:`muster.probe.Elsewhere` as JSON.
    """
    asked = json.loads(content)
    device = resolve_device(asked["device"])
    found = Elsewhere(device.type, device_label(device), resolve_precision(asked["precision"], device))
    return json.dumps(asdict(found))


def probe_member(content: str, tell: Callable[[str], None]) -> str:  # noqa: ARG001 (a task's)
    """Run a member over the probe images in a worker process.

    Args:
        content: A :class:`ProbeJob` as JSON.
        tell: Takes nothing.

    Returns:
        Nothing: what was made lies in its folder. If the member gives no numbers, the reason.

    Raises:
        PoolError: If the member, the images, the device or the precision are others than those that were meant, or the
            member cannot be read or run.
        DatasetError: If the target cannot be read.
        OutputError: If what was made cannot be written.
    """
    job = parse_record(json.loads(content), ProbeJob, "job", PoolError)
    member = Member.open(fetched(job.member, PoolError))
    place = _place(job.target, job.data_root, job.settings)
    if member_key(member, place.reader(job.images)) != job.key:
        _place.cache_clear()  # this process may have read the images before they were exchanged
        place = _place(job.target, job.data_root, job.settings)
    reader = place.reader(job.images)
    if member_key(member, reader) != job.key:
        raise PoolError(
            f"Member {member.name!r} would be run on other images, with other weights or in another way "
            f"({reader.made_on}, {reader.precision}) than where the command was started. All machines need the same "
            "files, and tasks the same kind of device."
        )
    predictor, cache = Predictor(job.predictor, place.num_classes), SharedCache(job.made, math.inf)
    needs = frozenset(job.needs)
    try:
        _make(member.used_for(place.spec), reader, cache, predictor, needs)
    except UnfitMemberError as error:
        return str(error)
    cache.finish()
    if not all(map(cache.holds, _keys(member, reader, needs, predictor))):
        raise OutputError(f"What member {member.name!r} gave cannot be written to {job.made}.")
    return ""


@dataclass
class _Place:
    """A target as members look at it; a worker keeps it for the next member, as images are read but once."""

    spec: DatasetSpec
    num_classes: int
    whole: ProbeReader
    _part: tuple[tuple[int, ...], ProbeReader] | None = None

    def reader(self, images: tuple[int, ...] | None) -> ProbeReader:
        """For all images, or for some."""
        if images is None:
            return self.whole
        if self._part is None or self._part[0] != images:
            self._part = images, self.whole.of_images(images)
        return self._part[1]


@lru_cache(maxsize=1)
def _place(target: str, data_root: Path | None, settings: ProbeSettings) -> _Place:
    dataset = open_dataset(target, data_root)
    split = seen_images(dataset, settings)
    whole = probe_reader(split, (), settings, resolve_device(settings.device))
    return _Place(seen_spec(dataset.spec), split.spec.num_classes, whole)


def _make(member: Member, reader: ProbeReader, cache: SharedCache, predictor: Predictor, needs: frozenset[str]) -> None:
    """Read a member, and put all into the folder that is wanted of it."""
    here = ProbeCache(cache.folder, math.inf)  # which lets it be run here
    reading = sound_reading(member, reader, here, needs | predictor.needs, predictor.name)
    if predictor.name == "linear_probe":
        shared = target_inputs(reader.probe, len(reader.probe.sizes), None, reader.device)
        predictor.predict(member_inputs(member, reading, shared, predictor.needs), member, reader, here)
    if needs & NEED_READING:
        cache.keep_reading(member_key(member, reader), reading)
    here.finish()
