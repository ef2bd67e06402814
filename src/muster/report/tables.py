"""The tables of both reports, as they are shown in HTML and sent to a tracker."""

from __future__ import annotations

import math
from dataclasses import dataclass

from muster.metrics import parse_metric
from muster.pool import Pool, holds_of, result_of
from muster.selection.record import Selection
from muster.selection.record_parts import ForeseenHeads
from muster.training.results import EQUAL_COST, LEARNED_HEAD, PLAIN_MEAN, Confirmation, FinetuneResult

Cell = str | int | float | None

SELECTION_FREQUENCY = "best in resamples"
"""Heading of the share of the bootstrap samples in which a candidate is best."""

NOTHING = "\N{EN DASH}"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Table:
    """Columns and rows of plain values.

    Attributes:
        columns: Headings.
        rows: One value per column; ``None`` where there is nothing to say.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]


def metric_label(metric: str) -> str:
    """A metric's name for people; the name itself where there is no other."""
    try:
        return parse_metric(metric).title
    except ValueError:  # of a selection that another version made
        return metric


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: a true minus sign, and a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def count_label(count: int) -> str:
    """A large count for people, e.g. ``1.2 M``."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:.0f} {unit}"
    return str(count)


def cost_label(cost: float, unit: str) -> str:
    """A cost for people: ``40 ms`` or ``1.6 s`` if the unit is seconds, else a count of parameters like ``1.2 M``."""
    if unit != "seconds":
        return count_label(round(cost))
    milliseconds = float(f"{1000 * cost:.3g}")
    return f"{cost:,.1f} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def date_text(date: str) -> str:
    """An ISO 8601 date of a record for people: ``2026-01-31 12:00 UTC``; empty where there is none."""
    return f"{date[:16].replace('T', ' ')} UTC" if date else ""


def candidate_table(selection: Selection, count: int = 20) -> Table:
    """The best candidates with the scores of all metrics, best first."""
    ranking, names = selection.ranking, selection.member_names
    order = ranking.order(selection.metric)[:count]
    metrics = [selection.metric, *(metric for metric in ranking.scores if metric != selection.metric)]
    selection_frequency = best_in_resamples(selection)
    rows: list[tuple[Cell, ...]] = [
        (
            place,
            " + ".join(sorted(names[i] for i in ranking.members[row])),
            *(float(ranking.scores[metric][row]) for metric in metrics),
            *([selection_frequency.get(place)] if selection_frequency else []),
        )
        for place, row in enumerate(order.tolist(), start=1)
    ]
    return Table(
        ("rank", "members", *map(metric_label, metrics), *([SELECTION_FREQUENCY] if selection_frequency else [])), rows
    )


def best_in_resamples(selection: Selection) -> dict[int, float]:
    """The selection frequency of the top-k, by rank from 1; empty if there are no bootstrap samples."""
    if selection.bootstrap_confidence is None:
        return {}
    return dict(enumerate(selection.bootstrap_confidence.selection_frequency, start=1))


def member_table(selection: Selection, pool: Pool) -> Table:
    """Every eligible member with its LEEP and what its card says, best first."""
    rows: list[tuple[Cell, ...]] = []
    for name in sorted(selection.member_scores, key=lambda name: (-selection.member_scores[name], name)):
        card = pool[name].card
        rows.append(
            (
                name,
                "yes" if name in selection.members else "",
                selection.member_scores[name],
                card.dataset,
                card.domain,
                card.architecture,
                card.test_result,
                card.majority_result,
                card.parameters,
                card.train_images,
            )
        )
    reached = result_of(member.card for member in pool)
    columns = ("member", "chosen", "LEEP", "source", "domain", "architecture", f"source {reached}",
               f"majority {reached}", "parameters", f"training {holds_of(member.card for member in pool)}")  # fmt: skip
    return Table(columns, rows)


def single_score_table(selection: Selection) -> Table:
    """Scores of every eligible member by every metric of single members, costs negated; LEEP first, by which it is."""
    columns = {"leep": selection.member_scores, **selection.single_scores}
    rows: list[tuple[Cell, ...]] = [
        (name, *(scores.get(name) for scores in columns.values()))
        for name in sorted(selection.member_scores, key=lambda name: (-selection.member_scores[name], name))
    ]
    return Table(("member", *map(metric_label, columns)), rows)


def predicted_class_table(selection: Selection) -> Table:
    """Predicted IoU of each target class; ``None`` for a class that no probe pixel has."""
    return Table(
        ("class", f"predicted {selection.words.class_result}"),
        list(zip(selection.classes, selection.class_ious, strict=True)),
    )


def foreseen_table(foreseen: ForeseenHeads) -> Table:
    """Scores of the leading candidates without and with a head; ``None`` for a penalty where none did better."""
    rows: list[tuple[Cell, ...]] = [
        (place, " + ".join(names), plain, learned, penalty)
        for place, (names, plain, learned, penalty) in enumerate(
            zip(foreseen.candidates, foreseen.plain, foreseen.with_head, foreseen.penalties, strict=True), start=1
        )
    ]
    return Table(("rank by metric", "members", "plain mean", "with a head", "penalty of the head"), rows)


def selection_tables(selection: Selection, pool: Pool) -> dict[str, Table]:
    """All tables of a selection, by name."""
    tables = {
        "candidates": candidate_table(selection, 100),
        "members": member_table(selection, pool),
        "predicted_classes": predicted_class_table(selection),
        "members_by_metric": single_score_table(selection),
    }
    if selection.foreseen_heads is not None:
        tables["foreseen_heads"] = foreseen_table(selection.foreseen_heads)
    return tables


def shown_name(result: FinetuneResult, name: str) -> str:
    """What tables and figures call a result: an ensemble without a learned head is the plain mean of its members."""
    if name == LEARNED_HEAD and result.words.finds_objects:
        return result.members[0]  # a network by itself
    return PLAIN_MEAN if name == LEARNED_HEAD and not result.head_kept else name


def result_names(result: FinetuneResult) -> list[str]:
    """Everything that reached a result, in the order in which reports show it; the mean of a single member is that."""
    singles = [name for name in result.results if name not in (PLAIN_MEAN, LEARNED_HEAD, EQUAL_COST)]
    rest = [name for name in singles if name not in (*result.members, result.single_best)]
    outside = [result.single_best] if result.single_best not in result.members else []
    mean = [PLAIN_MEAN] if len(result.members) > 1 and result.head_kept else []  # without a head they are the same
    if result.words.finds_objects:  # there are no heads: a result is that of one network
        return [name for name in (*outside, *result.members, *rest) if name in result.results]
    known = [LEARNED_HEAD, *mean, EQUAL_COST, *outside, *result.members, *rest]
    return [name for name in known if name in result.results]


def result_table(result: FinetuneResult) -> Table:
    """What the ensemble, its members and the baseline reached, with intervals and costs; ``None`` where unknown."""
    rows: list[tuple[Cell, ...]] = []
    for name in result_names(result):
        low, high = result.result_intervals.get(name, (None, None))
        difference, cost = result.differences_to_single_best.get(name), result.costs.get(name)
        beyond = (None, None, None) if difference is None else (difference.result, difference.low, difference.high)
        paid = (None, None, None) if cost is None else (cost.models, cost.parameters, cost.seconds_per_image)
        baseline = "B1" if name == result.single_best else ""
        error = [result.errors.get(name)] if result.errors else []
        rows.append((shown_name(result, name), result.results[name], low, high, *error, baseline, *beyond, *paid))
    errors = [result.words.error] if result.errors else []
    columns = ("who", result.words.result, "low", "high", *errors, "baseline", "minus B1", "minus B1, low",
               "minus B1, high", "models", "parameters", f"seconds per {result.words.sample}")  # fmt: skip
    return Table(columns, rows)


def class_table(result: FinetuneResult) -> Table:
    """IoU of each class under everything that reached a result, beside its share of the pixels; the mean is last."""
    names = result_names(result)
    total = max(sum(result.class_pixels), 1)
    rows: list[tuple[Cell, ...]] = []
    for index, label in enumerate(result.scored_classes):
        predicted = result.predicted_class_ious[index] if result.predicted_class_ious else None
        reached = (result.class_ious[name][index] for name in names)
        rows.append((label, result.class_pixels[index] / total, predicted, *reached))
    expected = [iou for iou in result.predicted_class_ious or () if iou is not None]
    mean = sum(expected) / len(expected) if expected else None
    shown = [shown_name(result, name) for name in names]
    rows.append(("mean", None, mean, *(result.results[name] for name in names)))
    return Table(("class", f"share of {result.words.unit}s", "predicted", *shown), rows)


def confirmation_table(confirmation: Confirmation, result: str = "mIoU") -> Table:
    """Held-out result of each candidate that was confirmed after each round; ``None`` where it was left out by then."""
    candidates = confirmation.rounds[0].candidates
    reached = [dict(zip(each.candidates, each.results, strict=True)) for each in confirmation.rounds]
    rows: list[tuple[Cell, ...]] = [
        (
            place,
            " + ".join(candidate),
            *(results.get(candidate) for results in reached),
            "chosen" if candidate == confirmation.chosen else "",
        )
        for place, candidate in enumerate(candidates, start=1)
    ]
    steps = (f"held-out {result}, {each.steps:,} steps" for each in confirmation.rounds)
    return Table(("rank by metric", "members", *steps, "choice"), rows)


def finetuning_tables(result: FinetuneResult) -> dict[str, Table]:
    """All tables of a fine-tuning, by name."""
    words = result.words
    tables = {words.key: result_table(result), f"class_{words.class_result.lower()}": class_table(result)}
    if result.confirmation is not None:
        tables["confirmation"] = confirmation_table(result.confirmation, result.words.result)
    return tables
