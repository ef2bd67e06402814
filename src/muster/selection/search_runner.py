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

from muster.arrays import NumpyArray
from muster.cancel import Cancelled, CancelToken
from muster.errors import ConfigError
from muster.metrics import MetricSpec, ensemble_metrics
from muster.metrics.ties import best_first_order
from muster.probe import ProbeReader
from muster.probe.timing import inference_seconds
from muster.ranks import from_rank_zero
from muster.scoring.cpu.workers import Report
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.ranking import Ranking
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.racing import MOST_BYTES, bytes_needed, racing
from muster.search.result import SearchResult, SearchStatus, Strategy
from muster.search.size import (
    NothingFitsError,
    propose_size,
    require_compares_sizes,
    require_within_budget,
)
from muster.selection.candidate_scoring import rank_all, rank_listed, with_other_scores
from muster.selection.member_scoring import Progress, Request, ScoredMembers
from muster.selection.record_parts import SizesEnd, SizeStep

SearchName: TypeAlias = Literal["auto", "exhaustive", "greedy", "beam", "racing"]

AUTO: Literal["auto"] = "auto"

MOST_LISTED = 500_000
"""Candidates up to which ``auto`` scores all: minutes for 150 000 pixels and 23 classes on two cores."""

MOST_SCORED = 20_000_000
"""Candidates that ``exhaustive`` takes at most: their scores in 23 classes are 11 GB."""

TOP_K = 10
"""Candidates listed of a metric that needs no search."""

LARGEST_AUTO_SIZE = 5
"""Members up to which ``size: auto`` looks; Agostinelli et al. (CVPR 2022, appendix C) go as far."""

_METHODS: dict[Strategy, Callable[..., SearchResult]] = {"greedy": greedy, "beam": beam, "racing": racing}


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
        status: How they were looked for, and how far the best can be from the best there is.
        sizes: The best of each size, if the size was to be proposed.
        sizes_end: Why no larger size was looked at, likewise.
        least_gain: What a member had to add to be worth its cost, likewise.
        cost_unit: What they cost: ``parameters``, or ``seconds`` for an image.
        interrupted: Whether the work was cancelled before everything was computed.
    """

    ranking: Ranking
    status: SearchStatus
    sizes: tuple[SizeStep, ...] = ()
    sizes_end: SizesEnd | None = None
    least_gain: float | None = None
    cost_unit: str = "parameters"
    interrupted: bool = False


def require_searchable(
    chosen_by: MetricSpec,
    size: int | Literal["auto"],
    search: SearchName,
    budget: Budget,
    num_members: int,
    num_classes: int,
) -> None:
    """Refuse what :func:`find` could not do, before anything is computed.

    Args:
        chosen_by: The metric to choose by.
        size: Members per ensemble, or ``"auto"``.
        search: How to look.
        budget: What an ensemble may cost.
        num_members: How many members can be candidates.
        num_classes: Target classes.

    Raises:
        ConfigError: If a budget is not positive, the metric does not compare sizes and the size is ``"auto"``, or the
            search cannot look for it, would take too much, or could miss what keeps within the budget.
    """
    for option in ("max_parameters", "max_inference_seconds"):
        most = getattr(budget, option)
        if most is not None and not 0 < most < math.inf:
            raise ConfigError(f"{option}: expected a positive number, but got {most}.")
    if size == AUTO:
        require_compares_sizes(chosen_by.name)
    for members in _auto_sizes(num_members) if size == AUTO else (size,):
        _require_method(chosen_by, members, search, budget, num_members, num_classes)


def _require_method(
    chosen_by: MetricSpec, size: int, search: SearchName, budget: Budget, num_members: int, num_classes: int
) -> None:
    count, method = math.comb(num_members, size), _method(chosen_by, search, num_members, size)
    if search not in (AUTO, "exhaustive") and not chosen_by.is_plain_ensemble:
        raise ConfigError(
            f"search: {search!r} can choose by {', '.join(ensemble_metrics())} only, not by {chosen_by.name!r}. "
            "Use 'auto' or 'exhaustive'."
        )
    if method != "exhaustive" and budget.is_limited:
        raise ConfigError(
            f"search: {method!r} does not look at all {count:,} ensembles of {size}, and could miss those that keep "
            "within the budget. Exhaustive search honours budgets: use 'exhaustive', or drop the budget."
        )
    if method == "racing" and bytes_needed(count, num_classes, size) > MOST_BYTES:
        raise ConfigError(f"search: {count:,} ensembles of {size} are too many for 'racing'. Use 'greedy' or 'beam'.")
    if method == "exhaustive" and count > (MOST_SCORED if search == method else MOST_LISTED):
        raise ConfigError(f"search: {count:,} ensembles of {size} are too many to score all. {_way_out(chosen_by)}")


def _way_out(chosen_by: MetricSpec) -> str:
    if chosen_by.is_plain_ensemble:
        return "Use 'greedy' or 'beam', without a budget; or choose a smaller size."
    if chosen_by.kind == "member":
        return "Use 'auto', which finds the best of a sum over members without listing them; or choose a smaller size."
    metrics = ", ".join(ensemble_metrics())
    return f"Choose a smaller size, or choose by {metrics} with 'greedy' or 'beam'. 'exhaustive' takes {MOST_SCORED:,}."


def _method(chosen_by: MetricSpec, search: SearchName, num_members: int, size: int) -> Strategy:
    if search != AUTO:
        return search
    if math.comb(num_members, size) <= MOST_LISTED:
        return "exhaustive"
    if chosen_by.is_plain_ensemble:
        return "beam"
    return "greedy" if chosen_by.kind == "member" else "exhaustive"


def _auto_sizes(num_members: int) -> range:
    return range(1, min(LARGEST_AUTO_SIZE, num_members) + 1)


def find(
    store: PredictionStore,
    scored: ScoredMembers,
    request: Request,
    size: int | Literal["auto"],
    search: SearchName,
    budget: Budget,
    reader: ProbeReader,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Found:
    """Look for the best ensembles.

    Args:
        store: The predictions of each member.
        scored: What else is known of the members.
        request: The metrics, and which one to choose by.
        size: Members per ensemble, or ``"auto"``.
        search: How to look.
        budget: What an ensemble may cost.
        reader: Knows the image size and the device, for measured times.
        progress: Told how far the work is.
        cancel: Asked whether to go on.

    Returns:
        What was found; see :attr:`Found.interrupted`.

    Raises:
        ConfigError: As :func:`require_searchable`.
        SelectionError: If nothing fits the budget.
        Cancelled: If the work was cancelled before anything usable was found.
    """
    require_searchable(request.chosen_by, size, search, budget, store.num_members, store.num_classes)
    token = cancel or CancelToken()
    finder = _Finder(store, scored, request, search, budget, reader, progress, token)
    with token.awaited():
        return finder.find_size() if size == AUTO else finder.find(size)


@dataclass(frozen=True, eq=False)
class _Finder:
    store: PredictionStore
    scored: ScoredMembers
    request: Request
    search: SearchName
    budget: Budget
    reader: ProbeReader
    progress: Progress | None
    cancel: CancelToken

    def find(self, size: int, specs: Sequence[MetricSpec] | None = None) -> Found:
        wanted = self.request.specs if specs is None else specs
        asked = [spec for spec in wanted if spec.name not in self.scored.dropped]
        strategy = _method(self.request.chosen_by, self.search, self.store.num_members, size)
        if strategy == "exhaustive":
            ranking, status = self._all(asked, size)
        else:
            sums = self.request.chosen_by.kind == "member"
            rows, status = self._best_sums(strategy, size) if sums else self._search(strategy, size)
            report = self._report("scoring hard subsets")
            ranking = rank_listed(np.array(sorted(rows)), self.store, self.scored, asked, report, self.cancel)
        if self.request.chosen_by.name not in ranking.scores:
            raise Cancelled
        stopped = status.completeness == "interrupted" or len(ranking.scores) < len(asked)
        return Found(ranking, status, interrupted=stopped)

    def _all(self, asked: Sequence[MetricSpec], size: int) -> tuple[Ranking, SearchStatus]:
        """Every candidate that is allowed."""
        reports = self._report("scoring ensembles"), self._report("scoring hard subsets")
        ranking = rank_all(self.store, self.scored, asked, size, *reports, self.cancel)
        allowed = self._within_budget(ranking)
        whole, scores = ranking.fraction == 1, allowed.scores.get(self.request.chosen_by.name)
        status = SearchStatus(
            "exhaustive",
            candidates=len(allowed),
            evaluated=len(ranking),
            optimality="proven" if whole else "unknown",
            bound=float(scores.max()) if whole and scores is not None else None,
            completeness="complete" if whole else "interrupted",
            fraction=ranking.fraction,
        )
        return allowed, status

    def _search(self, strategy: Strategy, size: int) -> tuple[list[tuple[int, ...]], SearchStatus]:
        """The best sets that a search found."""
        found = _METHODS[strategy](
            self.store,
            size,
            self.request.chosen_by.name,
            progress=self._report(f"{strategy} search"),
            cancel=self.cancel,
        )
        if not found.top_k:
            raise Cancelled
        return [members for members, _ in found.top_k], found.status

    def _best_sums(self, strategy: Strategy, size: int) -> tuple[list[tuple[int, ...]], SearchStatus]:
        """The members of largest score, and sets that differ from them in one."""
        column = self.scored.columns[self.request.chosen_by.name]
        order = best_first_order(column).tolist()
        best, next_best = order[:size], order[size : size + TOP_K - 1]
        rows = [tuple(sorted(best))]
        rows += [tuple(sorted((*best[:out], *best[out + 1 :], other))) for other in next_best for out in range(size)]
        count, score = math.comb(self.store.num_members, size), float(column[best].sum())
        return rows, SearchStatus(strategy, count, len(rows), "proven", score)

    def find_size(self) -> Found:
        """Propose a size from the best ensemble of each that was scored in full."""
        chosen_by, names = self.request.chosen_by, [member.name for member in self.scored.members]
        of_size, end = self._each_size()
        firsts = [int(found.ranking.order(chosen_by.name)[0]) for found in of_size]
        best = [found.ranking.members[first].tolist() for found, first in zip(of_size, firsts, strict=True)]
        scores = [float(f.ranking.scores[chosen_by.name][first]) for f, first in zip(of_size, firsts, strict=True)]
        timed = self.budget.max_inference_seconds is not None
        costs = self._seconds if timed else self._parameters
        proposal = propose_size(best, scores, costs, chosen_by.name, "inference seconds" if timed else "parameters")
        steps = tuple(
            SizeStep(row.size, tuple(names[index] for index in row.members), row.score, row.cost)
            for row in proposal.rows
        )
        return replace(
            self._with_all_metrics(of_size[proposal.size - 1], proposal.size),
            sizes=steps,
            sizes_end=end,
            least_gain=proposal.least_gain,
            cost_unit="seconds" if timed else "parameters",
        )

    def _each_size(self) -> tuple[list[Found], SizesEnd]:
        """What was found of 1, 2, ... members by the metric to choose by, in full, and why of no more."""
        of_size: list[Found] = []
        for size in _auto_sizes(self.store.num_members):
            try:
                found = self._in_full(size, [self.request.chosen_by])
            except NothingFitsError:
                if not of_size:
                    raise
                return of_size, "budget"
            if found is None and not of_size:
                raise Cancelled
            if found is None:
                return [replace(smaller, interrupted=True) for smaller in of_size], "interrupted"
            of_size.append(found)
        return of_size, "largest"

    def _with_all_metrics(self, found: Found, size: int) -> Found:
        """The same size with the metrics that are shown for comparison; if cancelled, those that take no time."""
        whole = None if found.interrupted else self._in_full(size)
        if whole is not None:
            return whole
        ranking = with_other_scores(found.ranking, self.store, self.scored, self.request.specs, cancel=self.cancel)
        return replace(found, ranking=ranking, interrupted=True)

    def _in_full(self, size: int, specs: Sequence[MetricSpec] | None = None) -> Found | None:
        """What is found of one size; ``None`` if that was cancelled."""
        try:
            found = self.find(size, specs)
        except Cancelled:
            return None
        return None if found.interrupted else found

    def _within_budget(self, ranking: Ranking) -> Ranking:
        if not self.budget.is_limited:
            return ranking
        fits = require_within_budget(
            ranking.members,
            [member.name for member in self.scored.members],
            self._parameters,
            self.budget.max_parameters,
            None if self.budget.max_inference_seconds is None else self._seconds,
            self.budget.max_inference_seconds,
        )
        return ranking.only(fits)

    @cached_property
    def _parameters(self) -> Float[NumpyArray, " members"]:
        return np.array([member.card.parameters for member in self.scored.members], dtype=np.float64)

    @cached_property
    def _seconds(self) -> Float[NumpyArray, " members"]:
        """ScoredMembers by rank zero, for all to choose alike."""
        device, report = self.reader.device, self._report("timing members")
        seconds = []
        for done, member in enumerate(self.scored.members):
            self.cancel.check()
            # Of square images, so that time does not depend on which image comes first.
            size = self.reader.preprocessing.seen_by(member.card.preprocessing).known_size
            seconds.append(inference_seconds(member.load_model(device), size.of_a_square, device))
            if report is not None:
                report(done + 1, len(self.scored.members))
        return from_rank_zero(torch.tensor(seconds, dtype=torch.float64), device).numpy()

    def _report(self, what: str) -> Report | None:
        progress = self.progress
        return None if progress is None else lambda done, total: progress(what, done, total)
