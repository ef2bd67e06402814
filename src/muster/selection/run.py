"""From a pool and a target to a selection: probe, predict, score, choose.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's, ``source_classes`` a member's.
"""

from __future__ import annotations

import os
import statistics
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, TypedDict

import torch

from muster.cancel import CancelToken
from muster.data import (
    Dataset,
    cached,
    channel_statistics,
    judge_labels,
    open_dataset,
    warn_of_shared_images,
)
from muster.errors import ConfigError, SelectionError
from muster.limits import (
    MOST_IMAGES,
    MOST_PIXELS,
    MOST_PROCESSES,
    MOST_STEPS,
    require_real,
    require_seed,
    require_whole,
)
from muster.metrics import DEFAULT_METRIC, ENSEMBLE_METRICS, MetricSpec
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.metrics.hard_subsets import DEFAULT_FRACTION
from muster.pool import Member, Pool, TargetContent, reason_to_bar
from muster.precision import Precision, resolve_precision
from muster.probe import ProbeCache, ProbeReader, ProbeSet, default_cache_folder, draw_probe_set
from muster.scoring.candidate_ties import require_choice
from muster.scoring.prediction_writer import PredictionWriter
from muster.selection.bootstrap_confidence import LEAST_RESAMPLES, resample_choice
from muster.selection.guessing import compare_with_guessing
from muster.selection.hard_subsets import HardEep, HardnessModel, hardness_models
from muster.selection.member_scoring import Progress, Request, score_members
from muster.selection.metric_inputs import require_source_samples
from muster.selection.options import MetricOptions, idle_options, parse_measures
from muster.selection.predictors import Predictor, PredictorName
from muster.selection.record import ProbeSettings, Selection
from muster.selection.recording import LookedAt, recorded_options, selection_of
from muster.selection.search_runner import AUTO, Budget, SearchName, find, require_searchable

SELECTION_METRICS: tuple[str, ...] = (*ENSEMBLE_METRICS, "base")
"""Metrics that a selection shows unless others are named."""

TrainImages: TypeAlias = int | Literal["auto"] | None
Size: TypeAlias = int | Literal["auto"]


class SelectOptions(TypedDict, total=False):
    """Options of :func:`select`, for whoever passes them on; their meaning is described there."""

    size: Size
    metric: str
    metrics: Sequence[str]
    predictor: PredictorName
    search: SearchName
    max_parameters: int | None
    max_inference_seconds: float | None
    resamples: int
    reference: Path | None
    hard_fraction: float
    l_max: float
    hardness_model: HardnessModel
    hard_eep: HardEep
    train_images: TrainImages
    pixels_per_image: int
    image_size: int | None
    seed: int
    data_root: Path | None
    device: torch.device | str
    batch_size: int
    num_workers: int
    precision: Precision
    cache_dir: Path | None
    cache_gb: float
    memory_gb: float
    progress: Progress | None
    cancel: CancelToken | None


def select(
    pool: Pool | Path | str,
    target: Dataset | str,
    *,
    size: Size = 3,
    metric: str = DEFAULT_METRIC,
    metrics: Sequence[str] = SELECTION_METRICS,
    predictor: PredictorName = "linear_probe",
    search: SearchName = "auto",
    max_parameters: int | None = None,
    max_inference_seconds: float | None = None,
    resamples: int = 100,
    reference: Path | None = None,
    hard_fraction: float = DEFAULT_FRACTION,
    l_max: float = DEFAULT_L_MAX,
    hardness_model: HardnessModel = (),
    hard_eep: HardEep = "recount",
    train_images: TrainImages = "auto",
    pixels_per_image: int = 1000,
    image_size: int | None = None,
    seed: int = 0,
    data_root: Path | None = None,
    device: torch.device | str = "auto",
    batch_size: int = 16,
    num_workers: int = 0,
    precision: Precision = "auto",
    cache_dir: Path | None = None,
    cache_gb: float = 5.0,
    memory_gb: float = 4.0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Selection:
    """Choose the ensemble of pool members that should do best on a target after fine-tuning, without fine-tuning any.

    In a distributed run (an initialised process group) the images are split over the ranks, and every rank returns the
    same selection; only rank zero touches the cache.

    Args:
        pool: A pool, or its folder.
        target: A dataset, or what :func:`muster.data.open_dataset` opens.
        size: Members per ensemble; ``"auto"`` proposes one of up to five from what each further member gains and costs.
        metric: What to choose by: any of :data:`muster.metrics.METRICS`, with wrappers (see
            :func:`muster.metrics.parse_metric`). Of a metric of single members an ensemble has the sum.
        metrics: What to rank by besides, for comparison. LEEP of every single member is always computed, of what the
            predictor makes of it: MS-LEEP is the sum of these.
        predictor: What turns a member into a classifier of the target's classes, for ensemble metrics:
            ``"linear_probe"`` (a classifier on its features, fitted on other images than it is read on) or ``"eep"``
            (EEP, as in A22). A single image cannot be split: then EEP is used, with a warning.
        search: How to look for candidates: ``"exhaustive"``, ``"greedy"``, ``"beam"`` or ``"racing"``; ``"auto"``
            scores all of them unless they are too many to list, and then takes ``"beam"``, or simply the best members
            if the metric is a sum over them.
        max_parameters: Most parameters that an ensemble may have, all members together. Needs exhaustive search.
        max_inference_seconds: Most seconds that its members may take for one image, one after the other, as scored
            here. Needs exhaustive search.
        resamples: Bootstrap samples of the probe images, for how sure the choice is; 0 for none.
        reference: Folder of a member trained on the target, for ``rsa`` and ``dds``; by default the best such member of
            the pool.
        hard_fraction: Which part of the probe set counts as hard, for HASTE.
        hardness_model: What says for all members of one source dataset which part that is: names of members, each for
            its own source, or of architectures, for all sources that have them. By default the source's member of the
            architecture that is the most common one among the candidates.
        hard_eep: For ensemble metrics on hard subsets with the ``eep`` predictor: ``"recount"`` counts EEPs anew
            on the union of the members' hard subsets, as HASTE recomputes every metric; ``"whole"`` keeps those of the
            whole probe set. (The linear probe is never fitted anew: its predictions are of images that it was not
            fitted on, and are read on the hard subset as they are.)
        l_max: Layers of a network that add 1 to its score, for metrics with ``+l``.
        train_images: Use a seeded choice of that many target training images. ``"auto"`` means what its
            description says (``spec.probe_images``, 150 by default); ``None`` means all.
        pixels_per_image: Probe pixels drawn from each image.
        image_size: Longer side at which members see the images, in pixels; it should be that of the fine-tuning. By
            default the median of the image sizes on the cards of the eligible members.
        seed: Of the choice of images and pixels.
        data_root: Where dataset folders are.
        device: Where members run; ``"auto"`` takes a GPU if there is one.
        batch_size: Most images at a time.
        num_workers: Processes that read images ahead.
        precision: Of the members' forward passes: ``"auto"`` is ``"bf16-mixed"`` on a GPU that has it, and
            ``"32-true"`` elsewhere. Probabilities, predictors and scores are computed in float32 or float64.
        cache_dir: Where predictions are kept for the next time; by default ``$MUSTER_CACHE``, or else
            ``~/.cache/muster/probe``.
        cache_gb: Most that the cache may hold, in units of 10^9 bytes; 0 switches it off.
        memory_gb: Most that the members' predictions may take in the memory of the host, likewise; more is put on disk,
            beside the cache, while the search runs. They stay on a GPU that made them if they fit there.
        progress: Told how far the work is.
        cancel: Asked whether to go on, once all members were looked at. If not, the choice rests on what was computed
            by then, and says so (``fraction``, ``interrupted``, ``search.completeness``).

    Returns:
        The chosen ensemble with all scores behind it.

    Raises:
        SelectionError: If fewer members than ``size`` remain, with the reasons, or the target has no labelled pixel, or
            nothing fits the budget, or what a metric needs is not there, or all candidates tie.
        ConfigError: If an option is out of range or names nothing.
        PoolError: If the pool or a member is missing or damaged.
        DatasetError: If the target cannot be read, or only one class has labelled pixels in the images looked at.
        Cancelled: If ``cancel`` was set before anything usable was computed.

    Warns:
        UserWarning: If a class has none.
    """
    specs = parse_measures(metric, metrics)
    chosen_by = next(spec for spec in specs if spec.name == metric)
    options = MetricOptions(reference, hard_fraction, l_max, hardness_model, hard_eep)
    options.require_valid()
    idle = idle_options(specs, predictor, cache_gb, target if isinstance(target, str) else target.reference)
    options.require_effect(idle)
    if resamples != 0 and resamples < LEAST_RESAMPLES:
        raise ConfigError(f"resamples: expected 0 or at least {LEAST_RESAMPLES}, but got {resamples}.")
    number = None if size == AUTO else size
    _require_positive(size=number, pixels_per_image=pixels_per_image, batch_size=batch_size, image_size=image_size)
    require_seed("seed", seed)
    require_real("cache_gb", cache_gb)
    require_real("memory_gb", memory_gb)
    require_whole("num_workers", num_workers, 0, MOST_PROCESSES)
    runs_on = resolve_device(device)
    resolve_precision(precision, runs_on)
    opened = pool if isinstance(pool, Pool) else Pool.open(pool)
    dataset = target if isinstance(target, Dataset) else open_dataset(target, data_root)
    warn_of_shared_images(dataset)
    eligible, excluded = opened.eligible_for(dataset)
    least = number or 1
    _require_enough(len(eligible), least, excluded, opened, dataset)
    budget = Budget(max_parameters, max_inference_seconds)
    require_searchable(chosen_by, size, search, budget, len(eligible), dataset.spec.num_classes)
    require_source_samples(eligible, specs)
    hardness_models(eligible, hardness_model)
    trained_on_target = _reference(reference, opened, dataset, specs)
    seen_at = image_size or usual_image_size(eligible)
    count = resolve_train_images(train_images, dataset.spec.probe_images)
    split = cached(dataset.train.subset(count, seed))
    probe = draw_probe_set(split, pixels_per_image, seed)
    judge_labels(split, (probe.class_shares > 0).sum(dim=0).tolist())
    reader = ProbeReader(split, probe, channel_statistics(split), seen_at, runs_on, batch_size, num_workers, precision)
    cache_folder = cache_dir or default_cache_folder()
    predictor = _usable(predictor, probe)
    classes = Predictor(predictor, dataset.spec.num_classes)
    specs = tuple(classes.scored_by(spec) for spec in specs)
    chosen_by = next(spec for spec in specs if spec.name == metric)
    request = Request(specs, chosen_by, hard_fraction, l_max, hardness_model, hard_eep)
    read_twice = predictor == "eep" and (resamples > 0 or request.counts_anew)
    with ExitStack() as stack:
        cache = stack.enter_context(_probe_cache(cache_folder, cache_gb, memory_gb, read_twice))
        writer = stack.enter_context(
            PredictionWriter(
                probe.labels,
                dataset.spec.num_classes,
                len(eligible),
                memory_gb,
                cache_folder if cache_gb > 0 else None,
                runs_on,
            )
        )
        scored = score_members(eligible, reader, cache, request, classes, writer.add, trained_on_target, progress)
        excluded |= scored.broken
        _require_enough(len(scored.members), least, excluded, opened, dataset)
        store = writer.store()
        found = find(store, scored, request, size, search, budget, reader, progress, cancel)
        require_choice(found.ranking, request.chosen_by.name, scored.columns, lists_all=found.status.lists_all)
        bootstrap_confidence = resample_choice(
            found, store, scored, request, classes, reader, cache, resamples, seed, progress, memory_gb, cancel
        )
        settings = ProbeSettings(count, pixels_per_image, seen_at, seed)
        looked_at = LookedAt(opened, dataset, split, reader, settings, data_root)
        return replace(
            selection_of(looked_at, store, scored, request, found, excluded),
            **recorded_options(options, idle, trained_on_target, budget),
            predictor=predictor,
            bootstrap_confidence=bootstrap_confidence,
            guessing=compare_with_guessing(scored.honest, probe.labels, seed),
            hard_eep=_hard_eep(request, predictor),
            resamples=resamples,
        )


def _hard_eep(request: Request, predictor: PredictorName) -> str:
    """What ensemble metrics read on hard subsets, see :class:`SelectionRecord`."""
    if not request.has_hard_ensembles:
        return ""
    return request.hard_eep if predictor == "eep" else "held out"


def _usable(predictor: PredictorName, probe: ProbeSet) -> PredictorName:
    """The predictor that was asked for, if the probe set allows it."""
    if predictor == "eep" or len(probe.images) > 1:
        return predictor
    warnings.warn(
        "All probe pixels are from one image, so none is left to check a linear probe on: EEP is used. More "
        "labelled images would make the choice more reliable.",
        stacklevel=3,
    )
    return "eep"


@contextmanager
def _probe_cache(folder: Path, limit_gb: float, memory_gb: float, read_twice: bool) -> Iterator[ProbeCache | None]:
    """The cache that was asked for; or one that goes when the work is done, if members would have to be run again."""
    with ExitStack() as stack:
        cache: ProbeCache | None = None
        if limit_gb > 0:
            cache = ProbeCache(folder, limit_gb)
        elif read_twice:
            cache = ProbeCache(Path(stack.enter_context(TemporaryDirectory(prefix="muster-"))), memory_gb)
        if cache is not None:
            stack.callback(cache.finish)
        yield cache


def resolve_device(device: torch.device | str) -> torch.device:
    """The device that an option means.

    Args:
        device: A torch device, or ``"auto"`` for this process's GPU if there is one, otherwise the CPU.

    Returns:
        The device.

    Raises:
        ConfigError: If it is no device, or not there.
    """
    if device == "auto":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"device: cannot use {str(device)!r} here ({said}). Try 'auto' or 'cpu'.") from error
    return wanted


def _require_positive(**options: int | None) -> None:
    most = {"image_size": MOST_PIXELS, "batch_size": MOST_IMAGES, "pixels_per_image": MOST_STEPS}
    for name, value in options.items():
        if value is not None:
            require_whole(name, value, 1, most.get(name))


def usual_image_size(members: Sequence[Member]) -> int:
    """Median of the image sizes that members were trained at: where a target is looked at by default.

    Args:
        members: At least one.

    Returns:
        Longer side, in pixels.
    """
    return statistics.median_low(member.card.image_size for member in members)


def resolve_train_images(wanted: TrainImages, usual: int) -> int | None:
    """How many target training images an option means.

    Args:
        wanted: A number, ``"auto"``, or ``None`` for all.
        usual: What the target's description says (:attr:`muster.data.DatasetSpec.probe_images`).

    Returns:
        The number, or ``None`` for all.

    Raises:
        ConfigError: If the number is not positive.
    """
    if wanted == "auto":
        return usual
    _require_positive(train_images=wanted)
    return wanted


def _require_enough(found: int, size: int, excluded: dict[str, str], pool: Pool, target: Dataset) -> None:
    if found >= size:
        return
    reasons = "; ".join(f"{name} ({reason})" for name, reason in excluded.items()) or "none"
    smaller = f"choose a smaller size (at most {found}), or " if found else ""
    raise SelectionError(
        f"An ensemble of {size} needs {size} members, but only {found} of the {len(pool)} in pool {pool.folder} can be "
        f"candidates for {target.spec.name}. Excluded: {reasons}. What to do: {smaller}add members to the pool."
    )


def _reference(folder: Path | None, pool: Pool, target: Dataset, specs: Sequence[MetricSpec]) -> Member | None:
    """The member trained on the target that some metric compares with, if any does."""
    asking = [spec.name for spec in specs if "reference" in spec.needs]
    if not asking:
        return None
    if folder is not None:
        member = Member.open(folder)
        if reason_to_bar(member.card, TargetContent(target)) is None:
            raise SelectionError(f"reference: {folder} was trained on {member.card.dataset}, not {target.spec.name}.")
        return member
    content = TargetContent(target)
    trained = [member for member in pool if reason_to_bar(member.card, content) is not None]
    if not trained:
        raise SelectionError(
            f"{', '.join(asking)} compare with a model trained on the target, and the pool {pool.folder} has none for "
            f"{target.spec.name}. Train one with train.py (request.datasets: [{target.reference}]) and name its folder "
            "with --reference, or leave these metrics out; parc compares with the labels instead."
        )
    return max(trained, key=lambda member: member.card.test_miou)
