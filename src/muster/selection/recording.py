"""What a selection writes down: the choice, the scores behind it, and the options that it looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from muster.data import Dataset, Split, content_prefixes
from muster.machine import device_label
from muster.metrics import class_ious, soft_class_ious
from muster.metrics.ties import first_best
from muster.pool import Pool, software_versions
from muster.probe import ProbeReader
from muster.scoring.prediction_store import PredictionStore
from muster.selection.hard_subsets import hardness_names
from muster.selection.member_scoring import Request, ScoredMembers
from muster.selection.record import Selection
from muster.selection.record_parts import ProbeRecord
from muster.selection.reference import Reference
from muster.selection.reopening import portable_reference
from muster.selection.search_runner import Found
from muster.selection.settings import SelectionSettings
from muster.tasks.task import Task, task_of


@dataclass(frozen=True)
class LookedAt:
    """What was chosen from, and for what.

    Attributes:
        pool: The pool.
        target: The dataset.
        split: Its training images that were looked at.
        reader: Knows the probe set.
        settings: How that was made.
        data_root: Where dataset folders are.
    """

    pool: Pool
    target: Dataset
    split: Split
    reader: ProbeReader
    settings: ProbeRecord
    data_root: Path | None


def selection_of(
    looked_at: LookedAt,
    store: PredictionStore,
    scored: ScoredMembers,
    request: Request,
    found: Found,
    excluded: dict[str, str],
    scores_alone: dict[str, float],
) -> Selection:
    """The selection that follows from scores: the best candidate, and what lies behind it.

    Args:
        looked_at: What was chosen from, and for what.
        store: What members say.
        scored: Scores of single members.
        request: Which metrics.
        found: The candidates.
        excluded: Members that are no candidates, with the reason.
        scores_alone: What each candidate's member scores as an ensemble of one.

    Returns:
        The selection; what does not follow from these is as it is by default.
    """
    names, ranking, metric = tuple(scored.leeps), found.ranking, request.chosen_by.name
    reader, target = looked_at.reader, looked_at.target
    reference, data_root = portable_reference(target.reference, looked_at.data_root)

    def names_of(row: int) -> tuple[str, ...]:
        return tuple(names[int(index)] for index in ranking.members[row])

    order, scores = ranking.order(metric), ranking.scores[metric]
    chosen = names_of(int(order[0]))
    eeps = [store.predictions(int(index)) for index in ranking.members[order[0]]]
    predicted = _class_results(eeps, reader.probe.labels, task_of(looked_at.split.spec), request)
    return Selection(
        target=target.spec.name,
        target_reference=reference,
        classes=looked_at.split.spec.classes,
        task=target.spec.task,
        train_images=looked_at.split.identifiers,
        void_images=reader.probe.void_images,
        mean=reader.preprocessing.statistics.mean,
        std=reader.preprocessing.statistics.std,
        image_size=reader.preprocessing.known_size.setting,
        pool=str(looked_at.pool.folder.resolve()),
        size=ranking.members.shape[1],
        metric=metric,
        members=chosen,
        score=float(scores[order[0]]),
        margin=max(float(scores[order[0]] - scores[order[1]]), 0.0) if len(order) > 1 else None,  # a tie may round down
        class_ious=predicted,
        choices={name: names_of(int(ranking.order(name)[0])) for name in ranking.scores},
        hardness_models=dict(scored.hardness_models),
        # The first of equals: members are in the order of their names.
        single_best=names[first_best(np.array([scored.leeps[name] for name in names]))],
        member_scores=dict(scored.leeps),
        scores_alone=scores_alone,
        excluded=excluded,
        probe=looked_at.settings,
        versions=software_versions(),
        search=found.status,
        fraction=ranking.fraction,
        single_scores=dict(scored.single_scores),
        dropped=dict(scored.dropped),
        sizes=found.sizes,
        sizes_end=found.sizes_end,
        least_gain=found.least_gain,
        interrupted=found.interrupted,
        cost_unit=found.cost_unit,
        data_root=data_root,
        train_contents=content_prefixes(looked_at.split),
        checksums={name: looked_at.pool[name].card.checksum for name in names},
        preprocessings={name: own for name in names if (own := looked_at.pool[name].card.preprocessing)},
        device=device_label(reader.device) if reader.elsewhere is None else reader.elsewhere.label,
        precision=reader.precision,
        ranking=ranking,
        on_images={name: scored.on_images[name] for name in chosen},
        hard_views=scored.hard_views,
        seconds={**{name: sum(each) for name, each in scored.seconds.items()}, **scored.hard_seconds},
    )


def recorded_options(
    options: SelectionSettings, idle: Mapping[str, str], reference: Reference | None
) -> dict[str, Any]:
    """Options as a record keeps them: those without effect are left out.

    Args:
        options: All.
        idle: See :func:`muster.selection.idle_options.idle_options`.
        reference: The model of the target that metrics compared with, if any.

    Returns:
        Fields of :class:`muster.selection.record.SelectionRecord`.
    """
    return {
        "hard_fraction": None if "hard_fraction" in idle else options.hard_fraction,
        "hardness_model": hardness_names(options.hardness_model),
        "l_max": None if "l_max" in idle else options.l_max,
        "reference": "" if reference is None else reference.recorded,
        "max_parameters": options.max_parameters,
        "max_inference_seconds": options.max_inference_seconds,
        "resamples": options.resamples,
        "foresee_heads": options.foresee_heads,
    }


def _class_results(eeps: Sequence[Tensor], labels: Tensor, task: Task, request: Request) -> tuple[float | None, ...]:
    """What the chosen members promise of each class; ``None`` for one that no probe unit has."""
    known = task.expected_class_results(eeps, labels)
    if known is not None:
        return known
    ious = class_ious if request.chosen_by.metric.name == "iou_eep" else soft_class_ious
    return tuple(None if np.isnan(value) else float(value) for value in ious(eeps, labels))
