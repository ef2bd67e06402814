"""How a choice came about, in words: what it was chosen from, by which search, of which size, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from muster.metrics import parse_metric
from muster.report.tables import metric_label, number
from muster.report.wording.warnings import SEARCH_INTERRUPTED
from muster.scoring.candidate_ties import tied_with_best
from muster.selection.record import Selection
from muster.selection.record_parts import BootstrapConfidence, SizeStep

_PREDICTORS = {"eep": "EEP", "linear_probe": "the linear probe"}
_COSTS = {"parameters": "parameters", "seconds": "inference time"}


def predictor_label(predictor: str) -> str:
    """What turned members into classifiers of the target's classes, to stand after "by": ``EEP``, ``the linear probe``.

    Args:
        predictor: Its name in options and records.

    Returns:
        Its name for people; the name itself where there is no other.
    """
    return _PREDICTORS.get(predictor, predictor)


def listed_label(selection: Selection) -> str:
    """What the listed candidates are, to stand in a sentence.

    Args:
        selection: The selection.

    Returns:
        For example ``all 364 candidates``, ``the 14 candidates within the limits``,
        ``the 10 leading candidates that beam search found`` or ``the only candidate of its size``.
    """
    count = len(selection.ranking)
    if not selection.search.lists_all:
        which, told = "leading candidates", f" that {selection.search.strategy} search found"
    elif count < math.comb(len(selection.member_names), selection.size):
        which, told = "candidates", " within the limits"
    elif count > 1:
        return f"all {count:,} candidates"
    else:
        told = " of its size"
    return f"the only candidate{told}" if count == 1 else f"the {count:,} {which}{told}"


def choice_sentence(selection: Selection) -> str:
    """What the chosen ensemble was compared with, by how much it is ahead, and what the search vouches for.

    Args:
        selection: The selection.

    Returns:
        Sentences for the top of a page.
    """
    metric, listed, score = metric_label(selection.metric), listed_label(selection), number(selection.score)
    if selection.margin is None:
        told = f"It is {listed}; {metric} gives it {score}."
    else:
        told = f"By {metric} the best of {listed}: {score}, {_ahead(selection, number(selection.margin, 4))}."
    return f"{told} {search_sentence(selection)}".rstrip()


def choice_line(selection: Selection, score: str, margin: str) -> str:
    """The same for a terminal, without what the search vouches for.

    Args:
        selection: The selection.
        score: Its score in figures.
        margin: Its margin over the next one, in figures.

    Returns:
        A sentence.
    """
    told, listed = f"{metric_label(selection.metric)} {score}", listed_label(selection)
    if selection.margin is None:
        return f"{told}: {listed}."
    return f"{told}: the best of {listed}, {_ahead(selection, margin)}."


def _ahead(selection: Selection, margin: str) -> str:
    """How the chosen ensemble compares with the next ones."""
    tied = int(tied_with_best(selection.ranking.scores[selection.metric]).sum()) - 1
    if not tied:
        return f"{margin} ahead of the next"
    others = "1 other" if tied == 1 else f"{tied:,} others"
    return f"level with {others}; these are the first by name"


def search_sentence(selection: Selection) -> str:
    """How far the chosen ensemble can be from the best one.

    Args:
        selection: The selection.

    Returns:
        Sentences; empty if every candidate was scored.
    """
    status = selection.search
    if status.lists_all:
        return ""
    bound = "" if status.bound is None else f" No ensemble of this size scores above {status.bound:.4f}."
    if status.completeness == "interrupted":
        known = "nothing is promised" if status.bound is None else "only a bound is known"
        return (
            f"The search was interrupted ({status.evaluated:,} sets were looked at): of how far these ensembles are "
            f"from the best {known}.{bound}"
        )
    if status.optimality == "proven":
        return _proof(selection) + bound
    return f"Not all ensembles were scored ({status.evaluated:,} sets were): {_distance(selection)}.{bound}"


def _proof(selection: Selection) -> str:
    """Why there is no better ensemble."""
    if _is_sum(selection.metric):
        others = " Of the others only those that differ in one member were scored." * (len(selection.ranking) > 1)
        return (
            f"The best ensemble of this size: {selection.metric} of an ensemble is the sum over its members, and these "
            f"have the largest.{others}"
        )
    if selection.search.strategy == "racing":
        count, units = selection.search.candidates, f"{selection.words.unit}s"
        return f"The best of the {count:,} candidates: all were scored on all {units}."
    return "The best ensemble of this size."


def _is_sum(metric: str) -> bool:
    spec = parse_metric(metric)
    return spec.kind == "member" or spec.name == "ms_leep"


def _distance(selection: Selection) -> str:
    """How far the chosen ensemble can be from the best one, where it need not be that."""
    status = selection.search
    if status.bound is not None:
        gap = max(0.0, status.bound - selection.score)
        return (
            f"at most {gap:.4f} below the {metric_label(selection.metric)} of the best {selection.size} of the "
            f"{len(selection.member_names)} members"
        )
    if status.confidence is None:
        return "nothing is promised of how far it is from the best"
    return (
        f"with confidence {status.confidence:g} (normal approximation) the best of the {status.candidates:,} "
        f"candidates on these {selection.words.unit}s: the other {status.dropped:,} fell too far behind on a random "
        f"part of them. Other {selection.words.holds} may differ"
    )


def interruption_line(selection: Selection) -> str:
    """What an interruption left undone, on one line of a terminal; empty if there was none."""
    if selection.fraction < 1:
        share = f"{100 * selection.fraction:.0f} % of the probe {selection.words.unit}s"
        return f"Interrupted: the scores rest on a random {share}."
    return f"{SEARCH_INTERRUPTED.title}. {SEARCH_INTERRUPTED.text}" if selection.interrupted else ""


def confidence_sentence(confidence: BootstrapConfidence | None, holds: str = "images") -> str:
    """How sure the choice is over bootstrap samples of the probe images, or texts.

    Args:
        confidence: The numbers.
        holds: What the target holds.

    Returns:
        A sentence; empty if nothing is known of it.
    """
    if confidence is None:
        return ""
    rivals, frequency = len(confidence.selection_frequency) - 1, confidence.selection_frequency
    often = frequency.index(max(frequency))
    against = "the one other candidate" if rivals == 1 else f"the best of {rivals} other candidates"
    rival = f" (candidate {often + 1} in {100 * frequency[often]:.0f} %)" if often else ""
    clear = "a clear lead" if confidence.low > 0 else f"other {holds} could have put another candidate first"
    return (
        f"The chosen ensemble is {'ahead of' if confidence.margin >= 0 else 'behind'} {against} by "
        f"{abs(confidence.margin):.2g}; over {confidence.resamples} resamples of the {confidence.images} probe "
        f"{holds}, {100 * confidence.level:g} % of its margins lie between {confidence.low:.2g} and "
        f"{confidence.high:.2g}, and it is best in {100 * frequency[0]:.0f} % of them{rival}: {clear}."
    )


def size_sentence(selection: Selection) -> str:
    """Why the ensemble has so many members, if muster chose that.

    Args:
        selection: The selection.

    Returns:
        Sentences; empty if the size was given.
    """
    if not selection.sizes or selection.least_gain is None:
        return ""
    chosen, larger = selection.sizes[selection.size - 1], selection.sizes[selection.size :]
    cost, parts = _COSTS.get(selection.cost_unit, selection.cost_unit), []
    first = selection.sizes[0]
    if chosen.size > 1:
        gain, times = _share(first, first, chosen), f"{chosen.cost / first.cost:.2g} times its {cost}"
        parts.append(f"they score {_percent(gain)} better than the best single member, at {times}.")
    if larger:
        parts.append(_rival(first, chosen, larger, selection.least_gain, cost))
    elif len(selection.sizes) > 1:
        parts.append("This is the largest size that was looked at; a larger one might still be worth its cost.")
    else:
        parts.append("no other size was looked at.")
    return f"{_members(chosen.size)}: {' '.join(parts)}{_why_no_larger(selection)}"


def _rival(first: SizeStep, chosen: SizeStep, larger: Sequence[SizeStep], least_gain: float, cost: str) -> str:
    """The larger size that comes nearest to being worth its cost."""
    price = least_gain * abs(first.score) / first.cost
    rival = max(larger, key=lambda step: step.score - price * step.cost)
    gain, more = _share(first, chosen, rival), (rival.cost - chosen.cost) / first.cost
    for_what = f"another {more:.2g} times its {cost}" if more > 0 else f"no more {cost}"
    asked = f", which should add {_percent(least_gain * more)}" if gain > 0 else ""
    return f"{_members(rival.size)} would {_effect(gain)} for {for_what}{asked}."


def _why_no_larger(selection: Selection) -> str:
    following = _members(len(selection.sizes) + 1).removesuffix(" members")
    if selection.sizes_end == "budget":
        return f" No ensemble of {following} keeps within the budget."
    if selection.sizes_end == "interrupted":
        return f" Ctrl-C came before all ensembles of {following} were scored."
    return ""


def _share(first: SizeStep, start: SizeStep, end: SizeStep) -> float:
    """What one size scores more than another, as a share of the best single member's score."""
    gain, whole = end.score - start.score, abs(first.score)
    return gain / whole if whole > 0 else math.copysign(math.inf, gain) if gain else 0.0


def _members(size: int) -> str:
    return "1 member" if size == 1 else f"{size} members"


def _effect(gain: float) -> str:
    """A gain or loss in words."""
    if gain == 0:
        return "add nothing"
    return f"{'add' if gain > 0 else 'lose'} {_percent(abs(gain))} of its score"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "infinitely"
