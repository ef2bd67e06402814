"""Scores of all candidates of a cell by every metric and predictor, for one choice of probe pixels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from muster.data import Split
from muster.errors import ConfigError
from muster.machine import resolve_device
from muster.metrics import MetricSpec, parse_metric
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, draw_probe_set
from muster.records import parse_record
from muster.scoring.prediction_writer import PredictionWriter
from muster.scoring.ranking import Ranking
from muster.selection.candidate_scoring import rank_all
from muster.selection.member_scoring import Request, ScoredMembers, score_members
from muster.selection.predictors import Predictor, PredictorName
from muster.selection.reference import trained_from
from muster.study.cells import Cell, CellData
from muster.study.hard_tables import hard_tables
from muster.study.results import CellJob
from muster.study.tables import ALL_SCORES, HARD_SUBSETS, ONE_METRIC, joined_names, with_keys
from muster.tasks.task import choose_images, in_classes, seen_spec, task_of
from muster.training.finished import digest_of

TASK = "muster.study.scores:score_job"
"""What a worker process is told to call."""

MEMORY_GB = 4.0
"""Most that predictions take in memory, in units of 10^9 bytes; more goes to disk."""

CACHE_GB = 20.0
_BATCH_SIZE = 16

REFERENCE = "reference"
"""Folder of a cell with the model that RSA and DDS compare with."""


@dataclass(frozen=True)
class ScoreJob(CellJob):
    """Members to score on a cell.

    Attributes:
        members: Folders of the source models, in the order of their names.
        checksums: Of their weights.
        sizes: Members of the candidates.
        metrics: What to compute.
        predictors: With each of them; metrics that use none are computed once.
        pixels_per_image: Probe pixels of each image.
        seed: Which pixels.
        hard_fraction: Which part of them counts as hard, for metrics that ask.
        device: Where members run.
        train_images: How many of the cell's images are looked at; ``None`` for all of them.
        image_size: Longer side of the images; ``None`` for the cell's.
        hardness_model: Who decides what is hard; ``None`` for the usual models.
        easy_share: Share of the samples that are not hard which are looked at as well; ``None`` for none.
        easy_seed: Which ones.
        shows_hard: Whether tables about hard samples are kept, where a metric looks at them. That changes no score, so
            that those of studies from before stay done.
    """

    members: tuple[Path, ...]
    checksums: tuple[str, ...]
    sizes: tuple[int, ...]
    metrics: tuple[str, ...]
    predictors: tuple[PredictorName, ...]
    pixels_per_image: int
    seed: int
    hard_fraction: float
    device: str
    train_images: int | None = None
    image_size: int | None = None
    hardness_model: tuple[str, ...] | None = None
    easy_share: float | None = None
    easy_seed: int | None = None
    shows_hard: bool = False

    def description(self) -> str:
        """See :meth:`StudyJob.description`."""
        places = ("cell", "members", "folder", "device", "shows_hard")
        facts = {name: value for name, value in asdict(self).items() if name not in places and value is not None}
        return digest_of({**facts, "cell": asdict(Cell.read(self.cell))})


def score_job(content: str, tell: Callable[[str], None]) -> str:
    """Score in a worker process.

    Args:
        content: A :class:`ScoreJob` as JSON.
        tell: Takes how many members were looked at, as JSON.

    Returns:
        Nothing: the tables lie in their folder.
    """
    job = parse_record(json.loads(content), ScoreJob, "job", ConfigError)
    job.write_tables(score_cell(job, lambda done: tell(json.dumps([done, None]))))
    return ""


def score_cell(job: ScoreJob, progress: Callable[[int], None]) -> dict[str, pd.DataFrame]:
    """Score all candidates of a cell.

    Args:
        job: Which, and by what.
        progress: Told how many members were looked at, those of all predictors together.

    Returns:
        The tables ``scores`` and ``costs`` of :mod:`muster.study.tables`, and those about hard samples if the job says.
    """
    cell = Cell.read(job.cell).open()
    train = in_classes(choose_images(cell.target.train, job.train_images, job.seed))
    reader = _reader(job, cell, train)
    spec = cell.target.dataset.spec
    members = [Member.open(folder).used_for(seen_spec(spec)) for folder in job.members]
    scores, costs, hard = list[pd.DataFrame](), list[dict[str, Any]](), dict[str, pd.DataFrame]()
    done_before = set[str]()
    with ExitStack() as stack:
        cache = ProbeCache(job.work, CACHE_GB)
        stack.callback(cache.finish)
        for number, name in enumerate(job.predictors):
            begin = time.perf_counter()
            predictor = Predictor(name, reader.probe.class_shares.shape[1])  # as the target is seen
            specs = [predictor.scored_by(parse_metric(text)) for text in job.metrics]
            specs = [each for each in specs if uses_predictor(each) or each.name not in done_before]
            if not specs:
                continue
            reference = _reference(job, cell, reader, members, specs)
            run = _Run(job, members, reader, cache, predictor, specs, reference, task_of(spec).default_metric)
            scores += run.tables(partial(_tell, progress, number * len(members)))
            seconds = time.perf_counter() - begin - run.scored.shown_seconds
            hard = hard or (hard_tables(run.scored, train, name) if run.shows_hard else {})
            done_before |= {each.name for each in specs}
            about = {"predictor": name, "step": ALL_SCORES, "metric": "", "size": 0}
            costs += [{**about, "seconds": seconds}, *run.costs]
    keys = {**cell.cell.keys, "probe_seed": job.seed}
    tables = {"scores": pd.concat(scores), "costs": pd.DataFrame(costs), **hard}
    return {name: with_keys(table, keys) for name, table in tables.items()}


def uses_predictor(spec: MetricSpec) -> bool:
    """Whether a metric's scores depend on what turns members into classifiers of the target's classes."""
    return (
        spec.is_of_predictions
        or bool(set(spec.metric.needs) & {"prediction", "predictions"})
        or (spec.metric.name == "leep")
    )


def warm_seconds(seconds: Sequence[float]) -> float:
    """What a metric takes for all members, as if none had been the first.

    Args:
        seconds: Of each member, in the order in which it was computed; the first one includes what is compiled or made
            once for all.

    Returns:
        Their sum with the mean of the others in place of the first.
    """
    others = seconds[1:] or seconds
    return len(seconds) * sum(others) / len(others) if others else 0.0


def _reader(job: ScoreJob, cell: CellData, train: Split) -> ProbeReader:
    seen = cell.cell
    if job.image_size is not None:
        seen = replace(seen, image_size=job.image_size)
    probe = draw_probe_set(train, job.pixels_per_image, job.seed)
    return ProbeReader(train, probe, seen.preprocessing, resolve_device(job.device), _BATCH_SIZE)


def _reference(
    job: ScoreJob, cell: CellData, reader: ProbeReader, members: Sequence[Member], specs: Sequence[MetricSpec]
) -> Tensor | None:
    """Features of a model trained on all of the cell's images, for metrics that compare with one.

    It is the same for every seed of the probe, and trained once; two processes that are at it at once do it twice.
    """
    if not any("reference" in spec.needs for spec in specs):
        return None
    cache = ProbeCache(job.cell.parent / REFERENCE, CACHE_GB)
    shown = cell.cell.preprocessing, reader.device, reader.precision
    network = trained_from(members).trained_on(cell.target.train, *shown, cache)
    return reader.read_all(network, stages=False).image_features


def _tell(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


@dataclass
class _Run:
    """One predictor's scores."""

    job: ScoreJob
    members: Sequence[Member]
    reader: ProbeReader
    cache: ProbeCache
    predictor: Predictor
    specs: Sequence[MetricSpec]
    reference: Tensor | None
    metric: str
    costs: list[dict[str, Any]] = field(default_factory=list)
    scored: ScoredMembers = field(default_factory=ScoredMembers)

    @property
    def shows_hard(self) -> bool:
        """Whether there is something to show of hard subsets, and it is asked for."""
        return self.job.shows_hard and any(spec.hard is not None for spec in self.specs)

    def tables(self, progress: Callable[[int], None]) -> Iterator[pd.DataFrame]:
        """Members' scores, then those of the candidates of each size."""
        chosen_by = next((spec for spec in self.specs if spec.is_plain_ensemble), parse_metric(self.metric))
        job = self.job
        request = Request(
            tuple(self.specs), chosen_by, job.hard_fraction, hardness_model=job.hardness_model or (),
            easy_share=job.easy_share or 0.0, easy_seed=job.easy_seed or 0, shows_hard=self.shows_hard,
        )  # fmt: skip
        labels, classes = self.reader.probe.labels, self.predictor.num_classes
        with PredictionWriter(labels, classes, len(self.members), MEMORY_GB, device=self.reader.device) as writer:
            scored = self.scored = score_members(
                self.members, self.reader, self.cache, request, self.predictor, writer.add, self.reference,
                progress=lambda _, done, __: progress(done),
            )  # fmt: skip
            yield self._of_members(scored)
            about = {"predictor": self.predictor.name, "step": HARD_SUBSETS, "size": 0}
            self.costs += [{**about, "metric": name, "seconds": took} for name, took in scored.hard_seconds.items()]
            together = [spec for spec in self.specs if spec.kind != "member" and spec.name not in scored.dropped]
            store = writer.store()
            for spec in together:
                rank_all(store, scored, [spec], 1)  # what a metric compiles when it is first used is not its time
            for size in self.job.sizes:
                for spec in together if size <= len(scored.members) else ():
                    begin = time.perf_counter()
                    ranking = rank_all(store, scored, [spec], size)
                    self._took(spec, size, scored, time.perf_counter() - begin)
                    yield self._of_candidates(scored, ranking)

    def _took(self, spec: MetricSpec, size: int, scored: ScoredMembers, seconds: float = 0.0) -> None:
        """Note the time of a metric: that of the members, and that of the candidates."""
        about = {"predictor": self._named(spec), "step": ONE_METRIC, "metric": spec.name, "size": size}
        self.costs.append({**about, "seconds": warm_seconds(scored.seconds.get(spec.name, ())) + seconds})

    def _of_members(self, scored: ScoredMembers) -> pd.DataFrame:
        for spec in self.specs:
            if spec.kind == "member" and spec.name in scored.single_scores:
                self._took(spec, 1, scored)
        rows = [
            (self._named(spec), spec.name, 1, member, score)
            for spec in self.specs
            if spec.kind == "member"
            for member, score in scored.single_scores.get(spec.name, {}).items()
        ]
        return pd.DataFrame(rows, columns=["predictor", "metric", "size", "members", "score"])

    def _of_candidates(self, scored: ScoredMembers, ranking: Ranking) -> pd.DataFrame:
        names = joined_names([member.name for member in scored.members], ranking.members)
        specs = {spec.name: spec for spec in self.specs}
        about = {"size": ranking.members.shape[1], "members": names}
        parts = [
            pd.DataFrame({"predictor": self._named(specs[metric]), "metric": metric, **about, "score": values})
            for metric, values in ranking.scores.items()
        ]
        return pd.concat(parts)

    def _named(self, spec: MetricSpec) -> str:
        return self.predictor.name if uses_predictor(spec) else ""
