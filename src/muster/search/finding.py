"""Which ensembles to look at, and of how many members: all of them, or those that a search finds; within a budget.

Axis names: ``members`` are those that can be candidates, ``candidates`` sets of them, ``size`` the members of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float

from muster.errors import ConfigError
from muster.metrics import Measure
from muster.metrics._arrays import NumpyArray
from muster.probe import ProbeReader
from muster.probe.ranks import from_rank_zero
from muster.probe.timing import inference_seconds
from muster.search.beam import beam
from muster.search.candidates import Report, rank_all, rank_listed
from muster.search.greedy import greedy
from muster.search.measuring import Measured, Plan, Progress
from muster.search.panel import Panel
from muster.search.racing import racing
from muster.search.ranking import Ranking
from muster.search.result import SEARCH_METRICS, SearchInterrupted, SearchResult
from muster.search.selection import SizeStep
from muster.search.size import propose_size, require_within_budget

SearchName: TypeAlias = Literal["auto", "exhaustive", "greedy", "beam", "racing"]

AUTO: Literal["auto"] = "auto"

MOST_LISTED = 500_000
"""Candidates up to which ``auto`` scores all: minutes for 150 000 pixels and 23 classes on two cores."""

LARGEST_AUTO_SIZE = 5
"""Members up to which ``size: auto`` looks; Agostinelli et al. (CVPR 2022, appendix C) go as far."""

_METHODS: dict[str, Callable[..., SearchResult]] = {"greedy": greedy, "beam": beam, "racing": racing}


@dataclass(frozen=True)
class Budget:
    """What an ensemble may cost.

    Attributes:
        max_parameters: Most parameters, all members together; ``None`` for no limit.
        max_inference_seconds: Most seconds for an image, one member after the other; ``None`` for no limit.
    """

    max_parameters: int | None = None
    max_inference_seconds: float | None = None

    @property
    def is_limited(self) -> bool:
        """Whether anything is limited."""
        return self.max_parameters is not None or self.max_inference_seconds is not None


@dataclass(frozen=True, eq=False)
class Found:
    """Candidates and how they were come by.

    Attributes:
        ranking: Their scores by all metrics.
        search: How they were looked for.
        guarantee: What that vouches for, in words; empty if all candidates were scored.
        sizes: The best of each size, if the size was to be proposed.
        size_reason: Why that size.
    """

    ranking: Ranking
    search: str
    guarantee: str = ""
    sizes: tuple[SizeStep, ...] = ()
    size_reason: str = ""


def find(
    panel: Panel,
    measured: Measured,
    plan: Plan,
    size: int | Literal["auto"],
    search: SearchName,
    budget: Budget,
    reader: ProbeReader,
    progress: Progress | None = None,
) -> Found:
    """Look for the best ensembles.

    Args:
        panel: What each member says.
        measured: What else is known of the members.
        plan: The metrics, and which one to choose by.
        size: Members per ensemble, or ``"auto"``.
        search: How to look.
        budget: What an ensemble may cost.
        reader: Knows the image size and the device, for measured times.
        progress: Told how far the work is.

    Returns:
        What was found.

    Raises:
        ConfigError: If the search cannot look for what the plan chooses by, or a budget is not positive.
        SelectionError: If nothing fits the budget.
        KeyboardInterrupt: On Ctrl-C before anything usable was found. Later, what was found is returned; see
            :attr:`Ranking.fraction`.
    """
    finder = _Finder(panel, measured, plan, search, budget, reader, progress)
    if size != AUTO:
        return finder.find(size)
    return finder.find_size()


@dataclass(frozen=True, eq=False)
class _Finder:
    panel: Panel
    measured: Measured
    plan: Plan
    search: SearchName
    budget: Budget
    reader: ProbeReader
    progress: Progress | None

    def find(self, size: int, measures: Sequence[Measure] | None = None) -> Found:
        wanted = self.plan.measures if measures is None else measures
        search = self._method(size)
        if search == "exhaustive":
            ranking, guarantee = (
                rank_all(self.panel, self.measured, wanted, size, self._report("scoring ensembles")),
                "",
            )
        else:
            found = self._search(search, size)
            rows = np.array(sorted(members for members, _ in found.leaders), dtype=np.int64)
            ranking, guarantee = rank_listed(rows, self.panel, self.measured, wanted), _in_words(found)
        return Found(self._within_budget(ranking), search, guarantee)

    def _search(self, search: str, size: int) -> SearchResult:
        try:
            return _METHODS[search](
                self.panel, size, self.plan.chosen_by.name, progress=self._report(f"{search} search")
            )
        except SearchInterrupted as interrupted:
            if interrupted.result is None:
                raise
            return interrupted.result

    def find_size(self) -> Found:
        """Propose a size from the best ensemble of each."""
        chosen_by = self.plan.chosen_by
        largest = min(LARGEST_AUTO_SIZE, self.panel.num_members)
        best, scores = [], []
        for size in range(1, largest + 1):
            ranking = self.find(size, [chosen_by]).ranking
            first = int(ranking.order(chosen_by.name)[0])
            best.append(ranking.members[first].tolist())
            scores.append(float(ranking.scores[chosen_by.name][first]))
        timed = self.budget.max_inference_seconds is not None
        costs = self._seconds if timed else self._parameters
        proposal = propose_size(
            best, scores, costs, chosen_by.metric.name, "inference seconds" if timed else "parameters"
        )
        names = [member.name for member in self.measured.members]
        steps = tuple(
            SizeStep(row.size, tuple(names[index] for index in row.members), row.score, row.cost)
            for row in proposal.rows
        )
        return replace(self.find(proposal.size), sizes=steps, size_reason=proposal.reason)

    def _method(self, size: int) -> str:
        metric, count = self.plan.chosen_by, math.comb(self.panel.num_members, size)
        if self.search == AUTO:
            return "beam" if count > MOST_LISTED and metric.name in SEARCH_METRICS else "exhaustive"
        if self.search != "exhaustive" and metric.name not in SEARCH_METRICS:
            raise ConfigError(
                f"search: {self.search!r} can choose by {', '.join(SEARCH_METRICS)} only, not by {metric.name!r}. "
                "Use 'exhaustive'."
            )
        return self.search

    def _within_budget(self, ranking: Ranking) -> Ranking:
        if not self.budget.is_limited:
            return ranking
        fits = require_within_budget(
            ranking.members,
            [member.name for member in self.measured.members],
            self._parameters,
            self.budget.max_parameters,
            None if self.budget.max_inference_seconds is None else self._seconds,
            self.budget.max_inference_seconds,
        )
        return ranking.only(fits)

    @cached_property
    def _parameters(self) -> Float[NumpyArray, " members"]:
        return np.array([member.card.parameters for member in self.measured.members], dtype=np.float64)

    @cached_property
    def _seconds(self) -> Float[NumpyArray, " members"]:
        """Measured by rank zero, for all to choose alike."""
        device, size, report = self.reader.device, self.reader.image_size, self._report("timing members")
        seconds = []
        for done, member in enumerate(self.measured.members):
            seconds.append(inference_seconds(member.load_model(device), size, device))
            if report is not None:
                report(done + 1, len(self.measured.members))
        return from_rank_zero(torch.tensor(seconds, dtype=torch.float64), device).numpy()

    def _report(self, what: str) -> Report | None:
        progress = self.progress
        return None if progress is None else lambda done, total: progress(what, done, total)


def _in_words(found: SearchResult) -> str:
    bound = "" if found.bound is None else f" No ensemble of this size scores above {found.bound:.4f}."
    guarantee = "nothing is promised of how far it is from the best" if found.guarantee == "none" else found.guarantee
    return f"Not all ensembles were scored ({found.evaluated:,} sets were): {guarantee}.{bound}"
