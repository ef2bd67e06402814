"""From a pool and a target to a selection: probe, predict, score, choose.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's, ``source_classes`` a member's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from muster.cancel import CancelToken
from muster.data import Dataset, cached, judge_labels, open_dataset, warn_of_shared_images
from muster.errors import ConfigError, SelectionError
from muster.machine import resolve_device
from muster.metrics import parse_metric
from muster.pool import Member, Pool, without_exported
from muster.precision import resolve_precision
from muster.probe import ProbeCache, ProbeReader, ProbeSet, SharedCache, default_cache_folder
from muster.ranks import world_size
from muster.scoring.candidate_ties import require_choice
from muster.scoring.prediction_writer import PredictionWriter
from muster.selection.bootstrap_confidence import resample_choice
from muster.selection.candidate_scoring import score_alone
from muster.selection.foreseen_heads import foresee_heads
from muster.selection.guessing import compare_with_guessing
from muster.selection.hard_subsets import hardness_models
from muster.selection.idle_options import idle_options, require_effect
from muster.selection.member_scoring import Progress, Request, score_members
from muster.selection.metric_inputs import require_source_samples
from muster.selection.predictors import Predictor, PredictorName
from muster.selection.prefilter import prefilter
from muster.selection.probe_tasks import ProbeRun, ProbeTasks
from muster.selection.probing import probe_reader, resolve_train_images, seen_images
from muster.selection.record import Selection
from muster.selection.record_parts import Prefilter, ProbeRecord
from muster.selection.recording import LookedAt, recorded_options, selection_of
from muster.selection.reference import Reference, find_reference
from muster.selection.search_runner import AUTO, find, require_searchable
from muster.selection.settings import CacheSettings, SelectionSettings
from muster.selection.task_metrics import question_metric
from muster.tasks.task import choose_images, seen_spec, task_of

_GIGABYTE = 1e9


def select(
    pool: Pool | Path | str,
    target: Dataset | str,
    settings: SelectionSettings | None = None,
    *,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    tasks: ProbeTasks | None = None,
    **options: Any,
) -> Selection:
    """Choose the ensemble of pool members that should do best on a target after fine-tuning, without fine-tuning any.

    In a distributed run (an initialised process group) the images are split over the ranks, and every rank returns the
    same selection; only rank zero touches the cache.

    Args:
        pool: A pool, or its folder.
        target: A dataset, or what :func:`muster.data.open_dataset` opens.
        settings: All options; by default as in :class:`muster.selection.settings.SelectionSettings`, which explains
            them.
        progress: Told how far the work is.
        cancel: Asked whether to go on, once all members were looked at. If not, the choice rests on what was computed
            by then, and says so (``fraction``, ``search.completeness``).
        tasks: Who runs the members; by default this process does. ``device`` and ``precision`` are then those of the
            tasks, and this process takes a GPU for the rest if it has one.
        options: Single options by name, in place of those in ``settings``: ``select(pool, target, size=2)``.

    Returns:
        The chosen ensemble with all scores behind it.

    Raises:
        SelectionError: If fewer members than ``size`` remain, with the reasons, or the target has no labelled pixel, or
            nothing fits the budget, or what a metric needs is not there, or all candidates tie.
        ConfigError: If an option is out of range or names nothing, or tasks are to run members for a distributed run.
        PoolError: If the pool or a member is missing or damaged, or tasks could not run it.
        DatasetError: If the target cannot be read, or only one class has labelled pixels in the images looked at.
        Cancelled: If ``cancel`` was set before anything usable was computed.

    Warns:
        UserWarning: If a class has none, or what to choose by is a metric of another task.
    """
    chosen = (settings or SelectionSettings()).having(options)
    idle = idle_options(chosen, target if isinstance(target, str) else target.reference)
    require_effect(chosen, idle)
    if tasks is not None and world_size() > 1:
        raise ConfigError("Tasks run members for one process, but this run has several. Start a single one.")
    runs_on = resolve_device("auto" if tasks is not None else chosen.device)
    opened = pool if isinstance(pool, Pool) else Pool.open(pool)
    dataset = target if isinstance(target, Dataset) else open_dataset(target, chosen.data_root)
    chosen = chosen.of_task(task_of(dataset.spec))
    question_metric(chosen.metric, task_of(dataset.spec))
    resolve_precision(chosen.precision, runs_on)  # one that the device has not is refused before anything is read
    return _select(opened, dataset, chosen, idle, runs_on, progress, cancel, tasks)


def _select(
    pool: Pool,
    dataset: Dataset,
    settings: SelectionSettings,
    idle: Mapping[str, str],
    device: torch.device,
    progress: Progress | None,
    cancel: CancelToken | None,
    tasks: ProbeTasks | None,
) -> Selection:
    """The choice, once everything is opened."""
    warn_of_shared_images(dataset)
    pool = pool.used_for(seen_spec(dataset.spec))
    eligible, excluded = _comparable(*pool.eligible_for(dataset), settings)
    least = 1 if settings.size == AUTO else settings.size
    _require_enough(len(eligible), least, excluded, pool, dataset)
    specs, chosen_by, budget = settings.specs(), parse_metric(settings.metric), settings.budget
    split = seen_images(dataset, settings)
    classes = split.spec.num_classes
    require_searchable(chosen_by, settings.size, settings.search, budget, len(eligible), classes)
    require_source_samples(eligible, specs)
    hardness_models(eligible, settings.hardness_model)
    reference = find_reference(settings.reference, pool, eligible, dataset, specs)
    elsewhere = None if tasks is None else tasks.where(settings.device, settings.precision)
    reader = probe_reader(split, eligible, settings, device, elsewhere)
    judge_labels(split, (reader.probe.class_shares > 0).sum(dim=0).tolist(), not task_of(split.spec).is_pooled)
    name = _usable(settings.predictor, reader.probe, task_of(split.spec).sample)
    predictor = Predictor(name, classes)
    specs = tuple(predictor.scored_by(spec) for spec in specs)
    request = Request(
        specs,
        next(spec for spec in specs if spec.name == settings.metric),
        settings.hard_fraction,
        settings.l_max,
        settings.hardness_model,
        settings.hard_eep,
        shows_hard=any(spec.hard is not None for spec in specs),
    )
    read_twice = name == "eep" and (settings.resamples > 0 or request.counts_anew)
    with ExitStack() as stack:
        cache = stack.enter_context(_probe_cache(settings, read_twice, tasks))
        run = _run_elsewhere(tasks, cache, dataset, settings, progress)
        eligible, reader, filtered = _prefiltered(eligible, reader, predictor, cache, settings, excluded, progress, run)
        _require_enough(len(eligible), least, excluded, pool, dataset)
        writer = stack.enter_context(_writer(reader, settings, classes, len(eligible)))
        compared_with = _reference_features(reference, reader, dataset, settings, cache, progress)
        unfit = {} if run is None else run.read(eligible, reader, request, predictor)
        scored = score_members(eligible, reader, cache, request, predictor, writer.add, compared_with, progress, unfit)
        excluded |= scored.broken
        _require_enough(len(scored.members), least, excluded, pool, dataset)
        store = writer.store()
        found = find(store, scored, request, settings.size, settings.search, budget, reader, progress, cancel)
        require_choice(found.ranking, request.chosen_by.name, scored.columns, lists_all=found.status.lists_all)
        confidence = resample_choice(
            found, store, scored, request, predictor, reader, cache, settings.resamples, settings.seed, progress,
            settings.memory_gb, cancel,
        )  # fmt: skip
        foreseen = foresee_heads(
            found, store, scored, request, reader, task_of(split.spec), settings.foresee_heads, settings.seed, progress,
            cancel,
        )  # fmt: skip
        alone = {} if found.interrupted else score_alone(store, scored, request)
        count = resolve_train_images(settings.train_images, dataset.spec.probe_images)
        probed = ProbeRecord(count, settings.pixels_per_image, reader.preprocessing.known_size.setting, settings.seed)
        looked_at = LookedAt(pool, dataset, split, reader, probed, settings.data_root)
        return replace(
            selection_of(looked_at, store, scored, request, found, excluded, alone),
            **recorded_options(settings, idle, reference),
            predictor=name,
            prefilter=filtered,
            bootstrap_confidence=confidence,
            foreseen_heads=foreseen,
            guessing=compare_with_guessing(scored.honest, reader.probe.labels, settings.seed),
            hard_eep=_hard_eep(request, name),
        )


def _prefiltered(
    eligible: tuple[Member, ...],
    reader: ProbeReader,
    predictor: Predictor,
    cache: ProbeCache | None,
    settings: SelectionSettings,
    excluded: dict[str, str],
    progress: Progress | None,
    run: ProbeRun | None,
) -> tuple[tuple[Member, ...], ProbeReader, Prefilter | None]:
    """The members that look at all images, if only some are to; the others are added to those that are excluded."""
    if settings.prefilter is None:
        return eligible, reader, None
    most_bytes = settings.memory_gb * _GIGABYTE
    kept = prefilter(eligible, settings.prefilter, reader, predictor, cache, most_bytes, settings.seed, progress, run)
    excluded |= kept.passed_over
    return kept.members, kept.reader, kept.record


def _reference_features(
    reference: Reference | None,
    reader: ProbeReader,
    dataset: Dataset,
    settings: SelectionSettings,
    cache: ProbeCache | None,
    progress: Progress | None,
) -> Tensor | None:
    """What the model of the target makes of the images, if some metric compares with one."""
    if reference is None:
        return None
    count = resolve_train_images(settings.train_images, dataset.spec.probe_images)
    train = cached(choose_images(dataset.train, count, settings.seed))
    return reference.features(reader, train, cache, settings.seed, progress)


def _comparable(
    members: Sequence[Member], excluded: dict[str, str], settings: SelectionSettings
) -> tuple[tuple[Member, ...], dict[str, str]]:
    """Leave out models that cannot be fine-tuned, unless they are only ranked one by one by what they predict."""
    if settings.size == 1 and settings.predictor == "eep":
        return tuple(members), excluded
    return without_exported(members, excluded, ", ranked by itself with size 1 and predictor eep")


def _writer(reader: ProbeReader, settings: SelectionSettings, classes: int, members: int) -> PredictionWriter:
    spill = _cache_folder(settings) if settings.cache_gb > 0 else None
    return PredictionWriter(reader.probe.labels, classes, members, settings.memory_gb, spill, reader.device)


def _cache_folder(settings: CacheSettings) -> Path:
    return settings.cache_dir or default_cache_folder()


def _hard_eep(request: Request, predictor: PredictorName) -> str:
    """What ensemble metrics read on hard subsets, see :class:`SelectionRecord`."""
    if not request.has_hard_ensembles:
        return ""
    return request.hard_eep if predictor == "eep" else "held out"


def _usable(predictor: PredictorName, probe: ProbeSet, sample: str) -> PredictorName:
    """The predictor that was asked for, if the probe set allows it."""
    if predictor == "eep" or len(probe.images) > 1:
        return predictor
    warnings.warn(
        f"The whole probe set is of one {sample}, so none is left to check a linear probe on: EEP is used. More "
        f"labelled {sample}s would make the choice more reliable.",
        stacklevel=4,
    )
    return "eep"


def _run_elsewhere(
    tasks: ProbeTasks | None,
    cache: ProbeCache | None,
    dataset: Dataset,
    settings: SelectionSettings,
    progress: Progress | None,
) -> ProbeRun | None:
    """The members as jobs of an executor, if there is one."""
    if tasks is None or not isinstance(cache, SharedCache):
        return None
    return ProbeRun(tasks, cache, dataset.reference, settings.data_root, settings, progress)


@contextmanager
def _probe_cache(
    settings: SelectionSettings, read_twice: bool, tasks: ProbeTasks | None
) -> Iterator[ProbeCache | None]:
    """The cache that was asked for; or one that goes when the work is done, if members would have to be run again."""
    with ExitStack() as stack:
        cache: ProbeCache | None = None
        if settings.cache_gb > 0:
            cache = ProbeCache(_cache_folder(settings), settings.cache_gb)
        elif read_twice and tasks is None:
            cache = ProbeCache(Path(stack.enter_context(TemporaryDirectory(prefix="muster-"))), settings.memory_gb)
        if tasks is not None:
            cache = shared = tasks.cache(cache)
            stack.callback(shared.hand_over)
        if cache is not None:
            stack.callback(cache.finish)
        yield cache


def _require_enough(found: int, size: int, excluded: dict[str, str], pool: Pool, target: Dataset) -> None:
    if found >= size:
        return
    reasons = "; ".join(f"{name} ({reason})" for name, reason in excluded.items()) or "none"
    smaller = f"choose a smaller size (at most {found}), or " if found else ""
    raise SelectionError(
        f"An ensemble of {size} needs {size} members, but only {found} of the {len(pool)} in pool {pool.folder} can be "
        f"candidates for {target.spec.name}. Excluded: {reasons}. What to do: {smaller}add members to the pool."
    )
