"""How well predictors agree with the fine-tuned mIoU of ensembles.

A predictor turns a member into a classifier of the target's classes (see :mod:`muster.selection.predictors`). Here each
is put below each ensemble metric, and all ensembles that a study fine-tuned and evaluated are scored with it: what it
would have chosen, and how its scores agree with the results.

Axis names: ``pixels`` the probe pixels, ``classes`` the target's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import pandas as pd
from torch import Tensor

from muster.errors import SelectionError
from muster.machine import resolve_device
from muster.markdown import markdown_table
from muster.metrics import (
    ENSEMBLE_METRICS,
    METRICS,
    calibrated_eep,
    cross_validated_eep,
    eep,
    kendall,
    linear_probe,
    pearson,
    weighted_kendall,
)
from muster.pool import Member
from muster.probe import ProbeReader, member_reading
from muster.scoring import Ranking, score_ensembles
from muster.scoring.prediction_writer import PredictionWriter
from muster.selection.metric_inputs import member_inputs, target_inputs
from muster.selection.run import probe_reader
from muster.selection.settings import ProbeSettings
from muster.study.studied import StudiedCandidates

Predict: TypeAlias = Callable[[Mapping[str, Any], int], Tensor]
"""From ``probs``, ``features``, ``labels`` and ``groups`` of a member, and the number of classes, to predictions."""


def _by_image(function: Callable[..., Tensor], source: str = "probs", **options: Any) -> Predict:
    """A predictor that looks at images other than those it was made from."""
    return lambda values, classes: function(values[source], values["labels"], values["groups"], classes, **options)


PREDICTORS: dict[str, Predict] = {
    "eep": lambda values, classes: eep(values["probs"], values["labels"], classes),
    "eep cross-validated": _by_image(cross_validated_eep),
    "eep calibrated (prediction)": _by_image(calibrated_eep, sharpened="prediction"),
    "eep calibrated (source)": _by_image(calibrated_eep, sharpened="source"),
    "eep calibrated (prediction) cross-validated": _by_image(
        calibrated_eep, sharpened="prediction", cross_validated=True
    ),
    "eep calibrated (source) cross-validated": _by_image(calibrated_eep, sharpened="source", cross_validated=True),
    "linear_probe": _by_image(linear_probe, "features"),
}
"""All predictors, in the order in which tables show them."""

_NEEDS = frozenset({"probs", "features", "labels", "groups"})


@dataclass(frozen=True)
class Agreement:
    """How one predictor, below one metric, agrees with the fine-tuned mIoU.

    Attributes:
        target: Name of the target.
        predictor: One of :data:`PREDICTORS`.
        metric: One of :data:`muster.metrics.ENSEMBLE_METRICS`.
        weighted_kendall: Over all ensembles; NaN if the scores are all alike, as for the next two.
        kendall: Likewise.
        pearson: Likewise.
        rank: Place of the chosen ensemble by fine-tuned mIoU, 1 for the best.
        chosen: Its members' names, between spaces.
        finetuned_miou: Its mIoU after fine-tuning.
        best: mIoU of the best ensemble.
        mean: Mean mIoU of all ensembles.
        ensembles: How many there are.
        seconds: That the predictor took for a member, median over the members; reading the images is not in it.
    """

    target: str
    predictor: str
    metric: str
    weighted_kendall: float
    kendall: float
    pearson: float
    rank: int
    chosen: str
    finetuned_miou: float
    best: float
    mean: float
    ensembles: int
    seconds: float


@dataclass(frozen=True)
class TargetResult:
    """What was found out about one target.

    Attributes:
        rows: For each predictor and metric.
        members: How many members the ensembles are made of.
        size: Members of one ensemble.
        differences: For each metric of the study, the largest difference between its scores and those of EEP here.
    """

    rows: tuple[Agreement, ...]
    members: int
    size: int
    differences: dict[str, float]


def compare_predictors(
    studied: StudiedCandidates, settings: ProbeSettings, progress: Callable[[str], None] | None = None
) -> TargetResult:
    """Score all ensembles of a study with every predictor and ensemble metric.

    Args:
        studied: The ensembles.
        settings: How members look at the target.
        progress: Told what is being done.

    Returns:
        How the scores agree with the fine-tuned mIoU.

    Raises:
        SelectionError: If a member cannot be run on the target's images, or a predictor cannot be made of it.
    """
    say = progress or (lambda _: None)
    device, classes = resolve_device(settings.device), studied.dataset.spec.num_classes
    _, reader = probe_reader(studied.dataset, studied.eligible, settings, device)
    labels, count = reader.probe.labels, len(studied.members)
    seconds: dict[str, list[float]] = {name: [] for name in PREDICTORS}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(PredictionWriter(labels, classes, count, settings.memory_gb / len(PREDICTORS)))
            for name in PREDICTORS
        }
        for done, values in enumerate(_readings(studied.members, reader, say)):
            for name, predict in PREDICTORS.items():
                member = studied.members[done].name
                say(f"member {done + 1} of {count}, {member}: {name}")
                begin = time.perf_counter()
                try:
                    predictions = predict(values, classes)
                except ValueError as error:
                    raise SelectionError(f"Member {member!r}, predictor {name!r}: {error}") from error
                seconds[name].append(time.perf_counter() - begin)
                writers[name].add(predictions)
        rankings = {}
        for name, writer in writers.items():
            say(f"scoring ensembles: {name}")
            store = writer.store()
            ranking = score_ensembles(store, store.labels, studied.size, ENSEMBLE_METRICS)
            rankings[name] = _in_order_of(ranking, studied.rows)
    return _compared(studied, rankings, {name: statistics.median(taken) for name, taken in seconds.items()})


def _readings(members: Sequence[Member], reader: ProbeReader, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Read one member after the other: what predictors are made from."""
    shared = target_inputs(reader.probe, len(reader.probe.sizes), None)
    for done, member in enumerate(members):
        say(f"member {done + 1} of {len(members)}, {member.name}: looking at {len(reader.probe.images)} images")
        reading = member_reading(member, reader, stages=False)
        values = member_inputs(member, reading, shared, _NEEDS).values
        yield {name: values[name] for name in _NEEDS}


def _in_order_of(ranking: Ranking, rows: Sequence[tuple[int, ...]]) -> Ranking:
    """The scores of some candidates, in the order of ``rows``."""
    places = {tuple(row): place for place, row in enumerate(ranking.members.tolist())}
    wanted = [places[row] for row in rows]
    return Ranking(ranking.members[wanted], {name: values[wanted] for name, values in ranking.scores.items()})


def _compared(
    studied: StudiedCandidates, rankings: Mapping[str, Ranking], seconds: Mapping[str, float]
) -> TargetResult:
    """Put all rows of a target together."""
    rows = tuple(
        _agreement(studied, predictor, metric, ranking, seconds[predictor])
        for predictor, ranking in rankings.items()
        for metric in ranking.scores
    )
    counted = rankings["eep"].scores
    differences = {name: float(abs(counted[name] - values).max()) for name, values in studied.scores.items()}
    return TargetResult(rows, len(studied.members), studied.size, differences)


def _agreement(studied: StudiedCandidates, predictor: str, metric: str, ranking: Ranking, seconds: float) -> Agreement:
    mious, scores = studied.mious, ranking.scores[metric]
    chosen = int(ranking.order(metric, [member.name for member in studied.members])[0])
    return Agreement(
        target=studied.dataset.spec.name,
        predictor=predictor,
        metric=metric,
        weighted_kendall=weighted_kendall(scores, mious),
        kendall=kendall(scores, mious),
        pearson=pearson(scores, mious),
        rank=1 + int((mious > mious[chosen]).sum()),
        chosen=" ".join(studied.members[place].name for place in studied.rows[chosen]),
        finetuned_miou=float(mious[chosen]),
        best=float(mious.max()),
        mean=float(mious.mean()),
        ensembles=len(mious),
        seconds=seconds,
    )


def predictors_as_markdown(results: Sequence[TargetResult]) -> str:
    """A table for every target, and one of the agreement averaged over the targets.

    Args:
        results: At least one.

    Returns:
        Markdown.
    """
    parts = [line for result in results for line in [*_target_as_markdown(result), ""]]
    if len(results) > 1:
        parts += [*_average_as_markdown(results), ""]
    return "\n".join(parts)


def _target_as_markdown(result: TargetResult) -> list[str]:
    first = result.rows[0]
    cells = {
        (row.predictor, row.metric): f"{row.weighted_kendall:.2f} ({row.finetuned_miou:.3f}, {row.rank})"
        for row in result.rows
    }
    seconds = {row.predictor: f"{row.seconds:.2f}" for row in result.rows}
    rows = [[name, *(cells[name, metric] for metric in ENSEMBLE_METRICS), seconds[name]] for name in PREDICTORS]
    same = ", ".join(f"{METRICS[name].title} {value:.1g}" for name, value in result.differences.items())
    summary = (
        f"All {first.ensembles} ensembles of {result.size} out of {result.members} members: the best reached "
        f"{first.best:.3f}, the mean is {first.mean:.3f}. Weighted Kendall tau between scores and fine-tuned mIoU; in "
        "brackets the mIoU of the chosen ensemble, and its rank."
    )
    headings = ["predictor", *(METRICS[metric].title for metric in ENSEMBLE_METRICS), "seconds a member"]
    check = ["", f"Largest difference of EEP's scores from those of the study: {same}."] if same else []
    return [f"## {first.target}", "", summary, "", *markdown_table(headings, rows), *check]


def _average_as_markdown(results: Sequence[TargetResult]) -> list[str]:
    table = pd.DataFrame([asdict(row) for result in results for row in result.rows])
    # A target on which a metric ranks nothing leaves the average undefined.
    means = table.groupby(["predictor", "metric"])["weighted_kendall"].agg(lambda taus: taus.mean(skipna=False))
    rows = [[name, *(f"{means[name, metric]:.2f}" for metric in ENSEMBLE_METRICS)] for name in PREDICTORS]
    return [
        "## On average",
        "",
        f"Weighted Kendall tau, mean over {len(results)} targets.",
        "",
        *markdown_table(["predictor", *(METRICS[metric].title for metric in ENSEMBLE_METRICS)], rows),
    ]
