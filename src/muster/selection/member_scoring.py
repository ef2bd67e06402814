"""What every member turns into: a classifier of the target's classes, and its scores by metrics of single members.

Axis names: ``members`` are those that can be candidates, ``pixels`` the probe pixels, ``images`` those that they lie
in, ``classes`` the target's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from torch import Tensor

from muster.arrays import NumpyArray
from muster.errors import SelectionError, UnfitMemberError
from muster.metrics import (
    MetricSpec,
    depth_correction,
    hard_images_to_pixels,
    standardised_sum,
)
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.metrics.eep import class_given_source
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, Reading, member_probabilities
from muster.selection.guessing import Honest, honest_scores
from muster.selection.hard_subsets import HardEep, HardnessModel, HardSubsets, hardness_models
from muster.selection.hard_views import HardView, HardViews
from muster.selection.image_predictions import ImagePredictor, TranslatedClasses
from muster.selection.metric_inputs import Inputs, UnknownError, member_inputs, target_inputs
from muster.selection.predictors import Predictor, leep_of
from muster.selection.sound_reading import sound_reading

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""

Score: TypeAlias = float | tuple[float, ...]


@dataclass(frozen=True)
class Request:
    """What is to be found out.

    Attributes:
        specs: All metrics, of whatever kind.
        chosen_by: The one to choose by: a member without a score is no candidate, and that no member has one is an
            error. Another metric that lacks a member's score is left out, with a warning.
        hard_fraction: Which part of the probe set HASTE looks at, 0..1.
        l_max: Layers that add 1 to a score with ``+l``.
        hardness_model: The model that decides which part that is, see
            :func:`muster.selection.hard_subsets.hardness_models`.
        hard_eep: Whether an ensemble's EEPs are counted anew on the union of its hard subsets (HASTE eq. 5).
        easy_share: Share of the samples that are not hard which are looked at as well, at random (HASTE A.5).
        easy_seed: Which ones.
        shows_hard: Whether what there is to show of hard subsets is collected.
    """

    specs: tuple[MetricSpec, ...]
    chosen_by: MetricSpec
    hard_fraction: float
    l_max: float = DEFAULT_L_MAX
    hardness_model: HardnessModel = ()
    hard_eep: HardEep = "recount"
    easy_share: float = 0.0
    easy_seed: int = 0
    shows_hard: bool = False

    @property
    def needs(self) -> frozenset[str]:
        """All that some metric asks for."""
        return frozenset().union(*(spec.needs for spec in self.specs))

    @property
    def has_hard_ensembles(self) -> bool:
        """Whether an ensemble metric looks at hard subsets."""
        return any(spec.is_of_predictions and spec.hard is not None for spec in self.specs)

    @property
    def counts_anew(self) -> bool:
        """Whether EEPs are counted anew on unions of hard subsets, if they are counted at all."""
        return self.has_hard_ensembles and self.hard_eep == "recount"


@dataclass(eq=False)
class ScoredMembers:
    """What was found out about the members that work, in the order of the pool.

    Attributes:
        members: Those that work.
        leeps: LEEP of each, of what the predictor makes of it: MS-LEEP is a sum of these.
        honest: How each does on images that its predictor was not made from.
        on_images: What makes target predictions of each on whole images.
        columns: For each metric of single members, by its name: one score a member, larger is better. Only metrics that
            have a score for every member.
        single_scores: The same by member, also of metrics that lack something of some members.
        hard: For each hard subset that ensembles ask for, by :attr:`muster.metrics.MetricSpec.hard_subset`: bool
            ``[members, pixels]``.
        hardness_models: By wrapper and source dataset, the member that is the hardness model, where that was asked for.
        source_probabilities: Looks up a member's predictions of its own classes, by its place; ``None`` where
            predictions stay the same on every part of the probe set.
        broken: Members that give no numbers, with the reason.
        compared: For each metric that compares candidates by what is known of their members (OSBORN), by its name:
            what :attr:`muster.metrics.Combination.of_member` returned of each.
        dropped: Metrics that could not be computed, with the reason.
        shared: What all members have in common, see :func:`muster.selection.metric_inputs.target_inputs`.
        seconds: For each metric, the time of each member that it was computed for, without making its predictions.
        hard_seconds: By wrapper, the time to find what is hard for all sources.
        hard_views: What there is to show of hard subsets, if that is collected.
        shown_seconds: The time to collect it, which no score needs.
    """

    members: list[Member] = field(default_factory=list)
    leeps: dict[str, float] = field(default_factory=dict)
    honest: dict[str, Honest] = field(default_factory=dict)
    on_images: dict[str, ImagePredictor] = field(default_factory=dict)
    columns: dict[str, NumpyArray] = field(default_factory=dict)
    single_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    hard: dict[str, NumpyArray] = field(default_factory=dict)
    hardness_models: dict[str, dict[str, str]] = field(default_factory=dict)
    source_probabilities: Callable[[int], Tensor] | None = None
    compared: dict[str, list[Any]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    hard_seconds: dict[str, float] = field(default_factory=dict)
    hard_views: tuple[HardView, ...] = ()
    shown_seconds: float = 0.0


def score_members(
    members: Sequence[Member],
    reader: ProbeReader,
    cache: ProbeCache | None,
    request: Request,
    predictor: Predictor,
    keep: Callable[[Tensor], object],
    reference: Float[Tensor, "images dimensions"] | None = None,
    progress: Progress | None = None,
    unfit: Mapping[str, str] = MappingProxyType({}),
) -> ScoredMembers:
    """Look at every member once; those that give no numbers are named instead.

    Only one member's readings are in memory at a time. With metrics on hard subsets the hardness model of a source is
    looked at twice if it is not the first of its members.

    Args:
        members: The candidates, in the order of the pool.
        reader: Knows the probe set and the images.
        cache: Where predictions are kept, if anywhere.
        request: Which metrics.
        predictor: What turns a member into a classifier of the target's classes.
        keep: Takes each working member's predictions, ``[pixels, classes]``.
        reference: Features of a model trained on the target, for metrics that compare with one.
        progress: Told how far the work is.
        unfit: Members that are known to give no numbers, with the reason.

    Returns:
        All but the predictions.

    Raises:
        ConfigError: If ``request.hardness_model`` names nothing.
        SelectionError: If the metric to choose by cannot be computed for any member.
        PoolError: If the weights of a member are missing or damaged.
    """
    shared = target_inputs(reader.probe, len(reader.probe.sizes), reference, reader.device)
    scored = ScoredMembers(shared=shared)
    if predictor.name == "eep" and request.counts_anew:
        scored.source_probabilities = lambda place: member_probabilities(scored.members[place], reader, cache)
    work = _Work(request, scored, members, reader, cache, predictor)
    for done, member in enumerate(members):
        if progress is not None:
            progress("probing members", done, len(members))
        if member.name in unfit:
            scored.broken[member.name] = unfit[member.name]
            continue
        try:
            predictions = work.look_at(member)
        except UnfitMemberError as error:
            scored.broken[member.name] = str(error)
        else:
            keep(predictions)
    if progress is not None:
        progress("probing members", len(members), len(members))
    work.finish()
    for name, reason in scored.broken.items():
        warnings.warn(f"Member {name!r} is left out: {reason}", stacklevel=3)
    return scored


class _Work:
    """Scores of single members as they come in."""

    def __init__(
        self,
        request: Request,
        scored: ScoredMembers,
        members: Sequence[Member],
        reader: ProbeReader,
        cache: ProbeCache | None,
        predictor: Predictor,
    ) -> None:
        self.request, self.scored, self.reader, self.cache, self.predictor = request, scored, reader, cache, predictor
        # The one to choose by comes first: a member that has no score by it is not worth the others.
        asked = (request.chosen_by, *(m for m in request.specs if m.name != request.chosen_by.name))
        self.asked = [m for m in asked if not m.is_plain_ensemble]
        self.raw: dict[str, dict[str, Score]] = {m.name: {} for m in self.asked if m.kind == "member"}
        self.unknown: dict[str, dict[str, str]] = {}
        self.masks: dict[str, list[NumpyArray]] = {}
        self.unscored: list[str] = []
        models = hardness_models(members, request.hardness_model)
        self.hard = HardSubsets(
            request.specs,
            request.hard_fraction,
            models,
            self._read_hardness_model,
            (request.easy_share, request.easy_seed),
        )
        self.views = HardViews(self.hard, request.hard_fraction, reader.probe) if request.shows_hard else None

    def look_at(self, member: Member) -> Float[Tensor, "pixels classes"]:
        """Compute all that is wanted of one member.

        Returns:
            Its predictions.

        Raises:
            UnfitMemberError: If it gives no numbers; then nothing was noted.
        """
        predictor = self.predictor
        kept = predictor.kept(member, self.reader, self.cache)
        reading = self._read(member, self.request.needs | (set() if kept is not None else predictor.needs))
        inputs = member_inputs(member, reading, self.scored.shared, self.request.needs)
        labels = inputs.values["labels"]
        made = predictor.predict(inputs, member, self.reader, self.cache) if kept is None else kept
        predictions = made.predictions
        inputs = inputs.with_prediction(predictions)
        found = self._scores(member, inputs)
        self._note(member, found)
        if self.views is not None:
            begin = time.perf_counter()
            self.views.note(member, inputs.on_host.values)
            self.scored.shown_seconds += time.perf_counter() - begin
        self.scored.leeps[member.name] = leep_of(predictions, labels)
        self.scored.honest[member.name] = honest_scores(inputs, predictor)
        self.scored.on_images[member.name] = made.on_images or TranslatedClasses(
            class_given_source(reading.probabilities, labels, predictor.num_classes).cpu()
        )
        return predictions

    def finish(self) -> None:
        """Turn what came in into columns, larger being better."""
        chosen_by = self.request.chosen_by
        if self.unscored and not self.scored.members:
            raise _cannot_choose(chosen_by, self.unscored[0])
        for spec in self.asked:
            if spec.kind != "member" or spec.name in self.scored.dropped or not self.scored.members:
                continue
            try:
                column = self._column(spec)
            except ValueError as error:
                if spec.name == chosen_by.name:
                    raise _cannot_choose(spec, str(error)) from error
                self._drop(spec, str(error))
                continue
            self.scored.single_scores[spec.name] = column
            if spec.name in self.unknown:
                self._tell_unknown(spec)
            else:
                self.scored.columns[spec.name] = np.array(list(column.values()))
        self.scored.hard |= {subset: np.stack(masks) for subset, masks in self.masks.items()}
        self.scored.hardness_models |= self.hard.models
        self.scored.hard_seconds |= self.hard.seconds
        self.scored.hard_views = () if self.views is None else self.views.views()

    def _read(self, member: Member, needs: frozenset[str] | set[str]) -> Reading:
        return sound_reading(member, self.reader, self.cache, needs, self.predictor.name)

    def _read_hardness_model(self, member: Member) -> Inputs:
        reading = self._read(member, self.request.needs)
        return member_inputs(member, reading, self.scored.shared, self.request.needs).on_host

    def _scores(self, member: Member, inputs: Inputs) -> dict[str, Any]:
        """A score for each metric, or what candidates are compared by, or which pixels are hard; others are dropped."""
        found: dict[str, Any] = {}
        if any(spec.metric.name != "leep" for spec in self.asked):
            _ = inputs.on_host  # now, or the first metric that looks at it would seem to take the time of the copy
        for spec in self.asked:
            if spec.name in self.scored.dropped:
                continue
            begin = time.perf_counter()
            try:
                found[spec.name] = self._score(spec, member, inputs)
                self.scored.seconds.setdefault(spec.name, []).append(time.perf_counter() - begin)
            except ValueError as error:
                is_unknown = isinstance(error, UnknownError)
                reason = f"it cannot be computed for member {member.name!r}: {error}{'.' if is_unknown else ''}"
                if spec.name == self.request.chosen_by.name:
                    self.unscored.append(reason)
                    raise UnfitMemberError(f"it has no score by {spec.name}, which is chosen by: {error}") from error
                if is_unknown and spec.kind == "member":
                    self.unknown.setdefault(spec.name, {})[member.name] = str(error)
                else:
                    self._drop(spec, reason)
        return found

    def _score(self, spec: MetricSpec, member: Member, inputs: Inputs) -> Any:
        hard = None if spec.hard is None else self.hard.of(spec, member, inputs.on_host)
        if spec.is_of_predictions:
            assert hard is not None  # others are scored together, later
            return self._mask(spec, hard, inputs)
        score = inputs.score(spec, hard)
        if spec.metric.combination is None and not np.isfinite(score).all():
            raise ValueError(f"its score is {score}.")
        return score

    def _note(self, member: Member, found: Mapping[str, Any]) -> None:
        """Add a member that works, all of it at once."""
        self.scored.members.append(member)
        for name in self.raw.keys() & found.keys():
            self.raw[name][member.name] = found[name]
        asked = {spec.name: spec for spec in self.asked}
        masks = {asked[name].hard_subset: found[name] for name in found if asked[name].is_of_predictions}
        for subset, mask in masks.items():
            self.masks.setdefault(subset, []).append(mask)
        for name in found:
            if asked[name].metric.combination is not None:
                self.scored.compared.setdefault(name, []).append(found[name])

    def _column(self, spec: MetricSpec) -> dict[str, float]:
        """A score for each member that has one."""
        known = self.raw[spec.name]
        if not known:
            raise ValueError(f"it has no score for {self._lacking(spec)}.")
        parts = np.array(list(known.values()), dtype=np.float64)
        # A metric of two parts in different units is their sum, each in units of its standard deviation over the
        # members.
        column = standardised_sum(*parts.T) if parts.ndim == 2 else parts
        column = column if spec.metric.larger_is_better else -column
        if spec.with_depth:
            depths = [member.card.depth for member in self.scored.members if member.name in known]
            column = np.asarray(depth_correction(column, depths, self.request.l_max))
        return dict(zip(known, column.tolist(), strict=True))

    def _tell_unknown(self, spec: MetricSpec) -> None:
        """Members without a score are left out of the metric, and candidates with them cannot be ranked by it."""
        reason = (
            f"it has no score for {self._lacking(spec)}. It compares the other members, one by one, and no candidates."
        )
        self.scored.dropped[spec.name] = reason
        warnings.warn(f"Metric {spec.name!r}: {reason}", stacklevel=5)

    def _lacking(self, spec: MetricSpec) -> str:
        """Members without a score, with what is not known of them."""
        names: dict[str, list[str]] = {}
        for name, why in self.unknown[spec.name].items():
            names.setdefault(why, []).append(name)
        return "; ".join(f"{', '.join(each)} ({why})" for why, each in names.items())

    def _drop(self, spec: MetricSpec, reason: str) -> None:
        self.scored.dropped[spec.name] = reason
        warnings.warn(f"Metric {spec.name!r} is left out: {reason}", stacklevel=5)

    def _mask(self, spec: MetricSpec, hardest: Tensor, inputs: Inputs) -> NumpyArray:
        is_image = spec.hard == "images"
        values = inputs.on_host.values
        pixels = hard_images_to_pixels(hardest, values["groups"]) if is_image else hardest
        mask = np.zeros(len(values["labels"]), dtype=bool)
        mask[pixels.numpy()] = True
        return mask


def _cannot_choose(spec: MetricSpec, reason: str) -> SelectionError:
    return SelectionError(f"Metric {spec.name!r} cannot be chosen by: {reason} Choose by another metric.")
