"""From a pool and a target to a selection: probe, count, score, choose.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's, ``source_classes`` a member's.
"""

from __future__ import annotations

import os
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict

import numpy as np
import torch
from torch import Tensor

from muster.data import Dataset, Split, cached, channel_statistics, open_dataset
from muster.data.opening import WORLD_PREFIX
from muster.errors import ConfigError, SelectionError, UnfitMemberError, unknown_name
from muster.metrics import DEFAULT_METRIC, ENSEMBLE_METRICS, class_ious, eep, ms_leep, soft_class_ious
from muster.metrics.eep import class_given_source
from muster.pool import Member, Pool, software_versions
from muster.probe import (
    ProbeCache,
    ProbeReader,
    default_cache_folder,
    draw_probe_set,
    member_probabilities,
)
from muster.search.ranking import Ranking
from muster.search.score import score_base, score_ensembles
from muster.search.selection import ProbeSettings, Selection

SELECTION_METRICS: tuple[str, ...] = (*ENSEMBLE_METRICS, "base")
"""Metrics that an ensemble can be chosen by."""

LARGE_TARGETS = ("coco", "ade20k")
"""Targets of so many classes that 150 images would not show them all (A22 4.1)."""

TrainImages: TypeAlias = int | Literal["auto"] | None
Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


class SelectOptions(TypedDict, total=False):
    """Options of :func:`select`, for whoever passes them on; their meaning is described there."""

    size: int
    metric: str
    metrics: Sequence[str]
    train_images: TrainImages
    pixels_per_image: int
    image_size: int | None
    seed: int
    data_root: Path | None
    device: torch.device | str
    batch_size: int
    num_workers: int
    cache_dir: Path | None
    cache_gb: float
    progress: Progress | None


@dataclass(frozen=True)
class _Predictions:
    """What counting made of the members that work; keyed by name, in the order of the pool."""

    eeps: dict[str, Tensor]
    leeps: dict[str, float]
    tables: dict[str, Tensor]


def select(
    pool: Pool | Path | str,
    target: Dataset | str,
    *,
    size: int = 3,
    metric: str = DEFAULT_METRIC,
    metrics: Sequence[str] = SELECTION_METRICS,
    train_images: TrainImages = "auto",
    pixels_per_image: int = 1000,
    image_size: int | None = None,
    seed: int = 0,
    data_root: Path | None = None,
    device: torch.device | str = "auto",
    batch_size: int = 16,
    num_workers: int = 0,
    cache_dir: Path | None = None,
    cache_gb: float = 5.0,
    progress: Progress | None = None,
) -> Selection:
    """Choose the ensemble of pool members that should do best on a target after fine-tuning, without fine-tuning any.

    In a distributed run (an initialised process group) the images are split over the ranks, and every rank returns the
    same selection; only rank zero touches the cache.

    Args:
        pool: A pool, or its folder.
        target: A dataset, or what :func:`muster.data.open_dataset` opens.
        size: Members per ensemble.
        metric: What to choose by: ``soft_iou_eep``, ``iou_eep``, ``e_leep``, ``ms_leep`` or ``base``.
        metrics: What to rank by besides, for comparison. LEEP of every single member is always computed.
        train_images: Use a seeded choice of that many target training images. ``"auto"`` means 150, or 1000 for COCO
            and ADE20K; ``None`` means all.
        pixels_per_image: Probe pixels drawn from each image.
        image_size: Longer side at which members see the images, in pixels; it should be that of the fine-tuning. By
            default the median of the image sizes on the cards of the eligible members.
        seed: Of the choice of images and pixels.
        data_root: Where dataset folders are.
        device: Where members run; ``"auto"`` takes a GPU if there is one.
        batch_size: Most images at a time.
        num_workers: Processes that read images ahead.
        cache_dir: Where predictions are kept for the next time; by default ``$MUSTER_CACHE``, or else
            ``~/.cache/muster/probe``.
        cache_gb: Most that the cache may hold, in units of 10^9 bytes; 0 switches it off.
        progress: Told how far the work is.

    Returns:
        The chosen ensemble with all scores behind it.

    Raises:
        SelectionError: If fewer members than ``size`` remain, with the reasons, or the target has no labelled pixel.
        ConfigError: If an option is out of range or names nothing.
        PoolError: If the pool or a member is missing or damaged.
        DatasetError: If the target cannot be read.
    """
    names = _metric_names(metric, metrics)
    _require_positive(size=size, pixels_per_image=pixels_per_image, batch_size=batch_size, image_size=image_size)
    if seed < 0:
        raise ConfigError(f"seed: expected at least 0, but got {seed}.")
    runs_on = resolve_device(device)
    opened = pool if isinstance(pool, Pool) else Pool.open(pool)
    dataset = target if isinstance(target, Dataset) else open_dataset(target, data_root)
    dataset = replace(dataset, reference=_absolute(dataset.reference, data_root))
    eligible, excluded = opened.eligible_for(dataset.spec.name)
    _require_enough(len(eligible), size, excluded, opened, dataset)
    seen_at = image_size or usual_image_size(eligible)
    count = resolve_train_images(train_images, dataset.spec.name)
    split = cached(dataset.train.subset(count, seed))
    probe = draw_probe_set(split, pixels_per_image, seed)
    reader = ProbeReader(split, probe, channel_statistics(split), seen_at, runs_on, batch_size, num_workers)
    cache = ProbeCache(cache_dir or default_cache_folder(), cache_gb) if cache_gb > 0 else None
    predictions, broken = _predict(eligible, reader, cache, dataset.spec.num_classes, progress)
    excluded |= broken
    _require_enough(len(predictions.eeps), size, excluded, opened, dataset)
    working = [member for member in eligible if member.name in predictions.eeps]
    ranking = _rank(working, predictions, probe.labels, size, names, progress)
    settings = ProbeSettings(count, pixels_per_image, seen_at, seed)
    return _selection(opened, dataset, split, reader, metric, ranking, predictions, excluded, settings)


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


def _metric_names(metric: str, metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics to rank by, the one to choose by among them."""
    wanted = tuple(dict.fromkeys((*metrics, metric)))
    for name in wanted:
        if name not in SELECTION_METRICS:
            raise ConfigError(unknown_name("metric to select by", name, SELECTION_METRICS))
    return wanted


def _require_positive(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}: expected at least 1, but got {value}.")


def usual_image_size(members: Sequence[Member]) -> int:
    """Median of the image sizes that members were trained at: where a target is looked at by default.

    Args:
        members: At least one.

    Returns:
        Longer side, in pixels.
    """
    return statistics.median_low(member.card.image_size for member in members)


def resolve_train_images(wanted: TrainImages, target: str) -> int | None:
    """How many target training images an option means.

    Args:
        wanted: A number, ``"auto"``, or ``None`` for all.
        target: Name of the target dataset.

    Returns:
        The number, or ``None`` for all.

    Raises:
        ConfigError: If the number is not positive.
    """
    if wanted == "auto":
        return 1000 if target.casefold() in LARGE_TARGETS else 150
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


def _absolute(reference: str, data_root: Path | None) -> str:
    """A reference that opens the same dataset whatever the current folder is."""
    if reference.startswith(WORLD_PREFIX):
        return reference
    path = Path(reference).expanduser()
    tried = [path] if path.is_absolute() else [root / path for root in (data_root, Path.cwd()) if root is not None]
    found = next((candidate for candidate in tried if candidate.is_dir()), None)
    return reference if found is None else str(found.resolve())


def _predict(
    members: Sequence[Member],
    reader: ProbeReader,
    cache: ProbeCache | None,
    num_classes: int,
    progress: Progress | None,
) -> tuple[_Predictions, dict[str, str]]:
    """Turn every member into a target classifier; those that give no numbers are named instead.

    Only one member's source probabilities are in memory at a time.
    """
    predictions, broken = _Predictions({}, {}, {}), {}
    labels = reader.probe.labels
    for done, member in enumerate(members):
        if progress is not None:
            progress("probing members", done, len(members))
        try:
            said = member_probabilities(member, reader, cache)
        except UnfitMemberError as error:
            broken[member.name] = str(error)
            warnings.warn(f"Member {member.name!r} is left out: {error}", stacklevel=3)
            continue
        if not torch.isfinite(said).all():
            broken[member.name] = "its predictions on the target's images are not finite (NaN)"
            warnings.warn(f"Member {member.name!r} is left out: {broken[member.name]}.", stacklevel=3)
            continue
        predictions.eeps[member.name] = eep(said, labels, num_classes)
        predictions.leeps[member.name] = ms_leep([predictions.eeps[member.name]], labels)
        predictions.tables[member.name] = class_given_source(said, labels, num_classes)
    if progress is not None:
        progress("probing members", len(members), len(members))
    return predictions, broken


def _rank(
    members: Sequence[Member],
    predictions: _Predictions,
    labels: Tensor,
    size: int,
    metrics: Sequence[str],
    progress: Progress | None,
) -> Ranking:
    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("scoring ensembles", done, total)

    counted = [name for name in metrics if name in ENSEMBLE_METRICS]
    # BASE alone needs the list of candidates too, and the cheapest metric gives it.
    eeps = list(predictions.eeps.values())
    ranking = score_ensembles(eeps, labels, size, counted or ["ms_leep"], report)
    if "base" in metrics:
        cards = [member.card for member in members]
        ranking = ranking.with_scores(
            "base",
            score_base(
                [card.test_miou for card in cards],
                [card.train_images for card in cards],
                [len(card.classes) for card in cards],
                ranking.members,
            ),
        )
    return Ranking(ranking.members, {name: ranking.scores[name] for name in metrics})


def _selection(
    pool: Pool,
    target: Dataset,
    split: Split,
    reader: ProbeReader,
    metric: str,
    ranking: Ranking,
    predictions: _Predictions,
    excluded: dict[str, str],
    settings: ProbeSettings,
) -> Selection:
    names = tuple(predictions.eeps)

    def names_of(row: int) -> tuple[str, ...]:
        return tuple(names[int(index)] for index in ranking.members[row])

    order, scores = ranking.order(metric), ranking.scores[metric]
    chosen = names_of(int(order[0]))
    ious = class_ious if metric == "iou_eep" else soft_class_ious
    predicted = ious([predictions.eeps[name] for name in chosen], reader.probe.labels)
    return Selection(
        target=target.spec.name,
        target_reference=target.reference,
        classes=target.spec.classes,
        train_images=split.identifiers,
        void_images=reader.probe.void_images,
        mean=reader.statistics.mean,
        std=reader.statistics.std,
        image_size=reader.image_size,
        pool=str(pool.folder.resolve()),
        size=ranking.members.shape[1],
        metric=metric,
        members=chosen,
        score=float(scores[order[0]]),
        lead=float(scores[order[0]] - scores[order[1]]) if len(order) > 1 else None,
        class_ious=tuple(None if np.isnan(value) else float(value) for value in predicted),
        choices={name: names_of(int(ranking.order(name)[0])) for name in ranking.scores},
        # The first of equals: members are in the order of their names.
        single_best=max(names, key=predictions.leeps.__getitem__),
        member_scores=dict(predictions.leeps),
        excluded=excluded,
        probe=settings,
        versions=software_versions(),
        ranking=ranking,
        tables={name: predictions.tables[name] for name in chosen},
    )
