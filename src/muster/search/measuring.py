"""What every member turns into: a classifier of the target's classes, and its scores by metrics of single members.

Axis names: ``members`` are those that can be candidates, ``pixels`` the probe pixels, ``classes`` the target's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from muster.errors import SelectionError, UnfitMemberError
from muster.metrics import (
    Measure,
    depth_correction,
    hard_images_to_pixels,
    leep,
    osborn_of_member,
    standardised_sum,
)
from muster.metrics._arrays import NumpyArray
from muster.metrics._ensemble import first_argmax
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.metrics.eep import class_given_source
from muster.pool import Member
from muster.probe import ProbeCache, ProbeReader, Reading, member_probabilities, member_reading
from muster.search.inputs import NEED_READING, Inputs, member_inputs, target_inputs
from muster.search.predictors import Predictor

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""

HardKey: TypeAlias = str
"""``images`` or ``pixels``: by which kind of hardness a member's hard subset was found."""


@dataclass(frozen=True)
class Plan:
    """What is to be found out.

    Attributes:
        measures: All metrics, of whatever kind.
        chosen_by: The one to choose by; that it cannot be computed is an error, for the others a warning.
        hard_fraction: Which part of the probe set HASTE looks at, 0..1.
        l_max: Layers that add 1 to a score with ``+l``.
    """

    measures: tuple[Measure, ...]
    chosen_by: Measure
    hard_fraction: float
    l_max: float = DEFAULT_L_MAX

    @property
    def needs(self) -> frozenset[str]:
        """All that some metric asks for."""
        return frozenset().union(*(measure.needs for measure in self.measures))


@dataclass(eq=False)
class Measured:
    """What was found out about the members that work, in the order of the pool.

    Attributes:
        members: Those that work.
        leeps: LEEP of each, by counting whatever the predictor.
        tables: P(target class | source class) of each.
        columns: For each metric of single members, by its name: one score a member, larger is better.
        hard: For each kind of hardness that ensembles ask for, bool ``[members, pixels]``: the hard subsets.
        broken: Members that give no numbers, with the reason.
        osborn: If OSBORN is asked for: domain and task cost of each member, and the class that each predicts at
            each pixel.
        dropped: Metrics that could not be computed, with the reason.
        shared: What all members have in common, see :func:`muster.search.inputs.target_inputs`.
    """

    members: list[Member] = field(default_factory=list)
    leeps: dict[str, float] = field(default_factory=dict)
    tables: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, NumpyArray] = field(default_factory=dict)
    hard: dict[HardKey, NumpyArray] = field(default_factory=dict)
    osborn: list[tuple[tuple[float, float], NumpyArray]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)


def measure_members(
    members: Sequence[Member],
    reader: ProbeReader,
    cache: ProbeCache | None,
    plan: Plan,
    predictor: Predictor,
    keep: Callable[[Tensor], object],
    reference: Member | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Look at every member once; those that give no numbers are named instead.

    Only one member's readings are in memory at a time.

    Args:
        members: The candidates, in the order of the pool.
        reader: Knows the probe set and the images.
        cache: Where predictions are kept, if anywhere.
        plan: Which metrics.
        predictor: What turns a member into a classifier of the target's classes.
        keep: Takes each working member's predictions, ``[pixels, classes]``.
        reference: A model trained on the target, for metrics that compare with one.
        progress: Told how far the work is.

    Returns:
        All but the predictions.

    Raises:
        SelectionError: If the metric to choose by cannot be computed.
        PoolError: If the weights of a member are missing or damaged.
    """
    compared_with = None if reference is None else member_reading(reference, reader)
    measured = Measured(shared=target_inputs(reader.probe, len(reader.probe.sizes), compared_with))
    work = _Work(plan, measured)
    for done, member in enumerate(members):
        if progress is not None:
            progress("probing members", done, len(members))
        try:
            kept = predictor.kept(member, reader, cache)
            reading = _read(member, reader, cache, plan.needs | (set() if kept is not None else predictor.needs))
        except UnfitMemberError as error:
            measured.broken[member.name] = str(error)
            warnings.warn(f"Member {member.name!r} is left out: {error}", stacklevel=3)
            continue
        inputs = member_inputs(member, reading, measured.shared, plan.needs)
        said = predictor.predict(inputs, member, reader, cache) if kept is None else kept
        keep(said)
        measured.members.append(member)
        measured.leeps[member.name] = leep(reading.probabilities, reader.probe.labels)
        measured.tables[member.name] = class_given_source(
            reading.probabilities, reader.probe.labels, predictor.num_classes
        )
        work.score(member, inputs)
        work.compare(member, inputs, said)
    if progress is not None:
        progress("probing members", len(members), len(members))
    work.finish()
    return measured


def _read(member: Member, reader: ProbeReader, cache: ProbeCache | None, needs: frozenset[str]) -> Reading:
    """Run a member, or look up what it said; only as much as is needed."""
    if needs & NEED_READING:
        reading = member_reading(member, reader, cache, stages="target_layers" in needs)
    else:
        reading = Reading.of_probabilities(member_probabilities(member, reader, cache))
    if not all(torch.isfinite(values).all() for values in (reading.probabilities, reading.features)):
        raise UnfitMemberError("its predictions on the target's images are not finite (NaN)")
    return reading


class _Work:
    """Scores of single members as they come in."""

    def __init__(self, plan: Plan, measured: Measured) -> None:
        self.plan, self.measured = plan, measured
        self.scored = [m for m in plan.measures if m.kind == "member"]
        self.ensemble_kinds = {m.hard for m in plan.measures if m.kind == "ensemble" and m.hard is not None}
        self.raw: dict[str, list[float | tuple[float, ...]]] = {measure.name: [] for measure in self.scored}
        self.masks: dict[HardKey, list[NumpyArray]] = {kind: [] for kind in self.ensemble_kinds}
        self.hard_images: dict[str, Tensor] = {}

    def score(self, member: Member, inputs: Inputs) -> None:
        """Compute all scores of one member."""
        hard = self._hard_subsets(member, inputs)
        for kind in self.ensemble_kinds & hard.keys():
            self.masks[kind].append(self._mask(kind, hard[kind], inputs))
        for measure in self.scored:
            if measure.name in self.measured.dropped:
                continue
            try:
                score = inputs.score(measure, None if measure.hard is None else hard[measure.hard])
            except ValueError as error:
                self._drop(measure, f"it cannot be computed for member {member.name!r}: {error}")
            else:
                self.raw[measure.name].append(score)

    def compare(self, member: Member, inputs: Inputs, said: Tensor) -> None:
        """Work out OSBORN's terms of one member, if they are asked for."""
        asking = [m for m in self.plan.measures if m.kind == "candidate" and m.name not in self.measured.dropped]
        if not asking:
            return
        predicted = first_argmax(said)
        values = inputs.values
        try:
            costs = osborn_of_member(values["source_features"], values["source_labels"], values["features"], predicted)
        except ValueError as error:
            for measure in asking:
                self._drop(measure, f"it cannot be computed for member {member.name!r}: {error}")
        else:
            self.measured.osborn.append((costs, predicted.numpy()))

    def finish(self) -> None:
        """Turn what came in into columns, larger being better."""
        for measure in self.scored:
            if measure.name in self.measured.dropped or not self.measured.members:
                continue
            try:
                self.measured.columns[measure.name] = self._column(measure)
            except ValueError as error:
                self._drop(measure, str(error))
        self.measured.hard |= {kind: np.stack(masks) for kind, masks in self.masks.items() if masks}

    def _column(self, measure: Measure) -> NumpyArray:
        raw = self.raw[measure.name]
        parts = np.array(raw, dtype=np.float64)
        # A metric of two parts in different units is their sum, each in units of its spread over the members.
        column = standardised_sum(*parts.T) if parts.ndim == 2 else parts
        column = column if measure.metric.larger_is_better else -column
        if not np.isfinite(column).all():
            raise ValueError("it is not finite for every member")
        if not measure.with_depth:
            return column
        depths = [member.card.depth for member in self.measured.members]
        return np.asarray(depth_correction(column, depths, self.plan.l_max))

    def _drop(self, measure: Measure, reason: str) -> None:
        if measure == self.plan.chosen_by:
            raise SelectionError(f"Metric {measure.name!r} cannot be chosen by: {reason} Choose by another metric.")
        self.measured.dropped[measure.name] = reason
        warnings.warn(f"Metric {measure.name!r} is left out: {reason}", stacklevel=5)

    def _hard_subsets(self, member: Member, inputs: Inputs) -> dict[HardKey, Tensor]:
        """By kind; metrics whose hard subset cannot be found are dropped."""
        hard: dict[HardKey, Tensor] = {}
        for measure in self.plan.measures:
            if measure.hard is None or measure.hard in hard or measure.name in self.measured.dropped:
                continue
            try:
                hard[measure.hard] = self._hardest(member, inputs, measure)
            except ValueError as error:
                self._drop(measure, f"what is hard for member {member.name!r} cannot be found: {error}")
        return hard

    def _hardest(self, member: Member, inputs: Inputs, measure: Measure) -> Tensor:
        """The hard subset; images have one ranking per source dataset, that of its first member (by name)."""
        if measure.hard == "pixels":
            return inputs.hardest(measure, self.plan.hard_fraction)
        if member.card.dataset not in self.hard_images:
            self.hard_images[member.card.dataset] = inputs.hardest(measure, self.plan.hard_fraction)
        return self.hard_images[member.card.dataset]

    def _mask(self, kind: HardKey, hardest: Tensor, inputs: Inputs) -> NumpyArray:
        pixels = hard_images_to_pixels(hardest, inputs.values["groups"]) if kind == "images" else hardest
        mask = np.zeros(len(inputs.values["labels"]), dtype=bool)
        mask[pixels.numpy()] = True
        return mask
