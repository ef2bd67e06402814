"""What leading candidates score with the head that fine-tuning would learn, before anything is fine-tuned.

The plain mean of unequal members can lose to the best of them where a head, with a weight and a bias for each member
and class, wins. So heads are fitted to what the members' predictors say of the probe units, in the same way as after
fine-tuning, and the metric is computed of what they predict on images that they were not fitted to.

Axis names: ``units`` the probe pixels, ``classes`` the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import number_within_groups
from muster.cancel import Cancelled, CancelToken
from muster.metrics import MetricSpec
from muster.metrics.accumulators import scores_of
from muster.metrics.ensemble_block import Members
from muster.probe import ProbeReader
from muster.scoring.metric_kinds import definition_of
from muster.scoring.prediction_store import PredictionStore
from muster.selection.member_scoring import Progress, Request, ScoredMembers
from muster.selection.record_parts import ForeseenHeads
from muster.selection.search_runner import Found
from muster.tasks.task import Task

UNITS_OF_AN_IMAGE = 200
"""Probe units of an image that are looked at: as many as a head is learned from after fine-tuning."""

_SMALLEST = 1e-6
"""Probabilities below this count as this: a weight multiplies their logarithms."""


def foresee_heads(
    found: Found,
    store: PredictionStore,
    scored: ScoredMembers,
    request: Request,
    reader: ProbeReader,
    task: Task,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> ForeseenHeads | None:
    """Score the leading candidates with heads.

    Args:
        found: All candidates that were scored.
        store: The members' predictions, each of an image that the predictor was not fitted on.
        scored: The members.
        request: The metric that was chosen by.
        reader: Knows the probe set.
        task: What results are, as the selection sees it.
        count: How many candidates; 0 for none.
        seed: Which images are left out together.
        progress: Told how far the work is.
        cancel: Asked whether to go on.

    Returns:
        ``None`` if it was not asked for, if it has no meaning (for metrics that are none of the members' mean
        prediction, and for a single image), or if it was cancelled.
    """
    spec = request.chosen_by
    if count == 0 or not can_foresee(spec) or len(reader.probe.images) < 2:
        return None
    ranking, cancel = found.ranking, cancel or CancelToken()
    rows = ranking.members[ranking.order(spec.name)[:count]].tolist()
    units = _Units.of(reader)
    names, scores = [member.name for member in scored.members], list[_Score]()
    try:
        with cancel.awaited():
            for done, row in enumerate(rows):
                cancel.check()
                predictions = [store.predictions(index)[units.chosen].float().cpu() for index in row]
                scores.append(units.score(predictions, spec, task, seed))
                if progress is not None:
                    progress("foreseeing heads", done + 1, len(rows))
    except Cancelled:  # the choice itself is made
        return None
    return ForeseenHeads(
        candidates=tuple(tuple(names[index] for index in row) for row in rows),
        plain=tuple(score.plain for score in scores),
        with_head=tuple(score.with_head for score in scores),
        penalties=tuple(score.penalty for score in scores),
        images=len(reader.probe.images),
        units=len(units.labels),
    )


def can_foresee(spec: MetricSpec) -> bool:
    """Whether a metric is one of the mean prediction of an ensemble, on the whole probe set."""
    return spec.is_plain_ensemble and not definition_of(spec.metric).sums_members


@dataclass(frozen=True)
class _Score:
    plain: float
    with_head: float
    penalty: float | None


@dataclass(frozen=True, eq=False)
class _Units:
    """The probe units that are looked at.

    Attributes:
        chosen: Their places.
        labels: Their classes.
        images: Which image each is of.
        numbers: How many units of its image come before.
    """

    chosen: Int[Tensor, " units"]
    labels: Int[Tensor, " units"]
    images: Int[Tensor, " units"]
    numbers: Int[Tensor, " units"]

    @staticmethod
    def of(reader: ProbeReader) -> _Units:
        """The first of each image."""
        images = reader.probe.image_of_pixel.cpu().long()
        numbers = torch.from_numpy(number_within_groups(images.numpy()))
        chosen = (numbers < UNITS_OF_AN_IMAGE).nonzero()[:, 0]
        return _Units(chosen, reader.probe.labels.cpu().long()[chosen], images[chosen], numbers[chosen])

    def score(
        self, predictions: Sequence[Float[Tensor, "units classes"]], spec: MetricSpec, task: Task, seed: int
    ) -> _Score:
        """One candidate, without and with a head: the penalty that makes the largest result decides, as it will."""
        from muster.training.finetuned_ensemble import EnsembleHead  # here, as few selections learn heads
        from muster.training.head import left_out_predictions
        from muster.training.head_units import HeadUnits, Reading
        from muster.training.settings import HeadSettings

        one = torch.ones(1, len(self.labels))
        readings = [Reading(each.clamp(min=_SMALLEST).log().T[None], one) for each in predictions]
        units = HeadUnits(readings, self.labels, self.images, self.numbers)
        head = EnsembleHead(len(readings), predictions[0].shape[1])
        choice, found = left_out_predictions(task, head, units, HeadSettings(), seed)
        plain, learned = (self._metric(found[penalty], spec) for penalty in (None, choice.penalty))
        return _Score(plain, learned, choice.penalty)

    def _metric(self, prediction: Float[Tensor, "classes units"], spec: MetricSpec) -> float:
        members = Members([prediction.T.contiguous()], self.labels, len(prediction))
        return float(spec.metric.ranked(scores_of(definition_of(spec.metric), members, torch.zeros(1, 1).long()))[0])
