"""The report of a selection: which ensemble, why, and how far to trust the choice."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muster.arrays import NumpyArray
from muster.data import ImageSize
from muster.data.spec import Dataset
from muster.pool import Pool
from muster.remote import named
from muster.report.diagnostics import agreement, diagnose, label_entropy, occurrence, top_count
from muster.report.figures import BLUE, MARKERS, ORANGE, Mark, ranking_figure
from muster.report.hard_figures import HARD_FOR
from muster.report.hard_part import hard_figures
from muster.report.images import class_counts, selection_images, surveyed
from muster.report.page import Bar, Cell, Swatch, distinct_colours, heat, legend, strips, svg_address, write_page
from muster.report.palette import hex_colour
from muster.report.records import ReportImage
from muster.report.study_page import shown
from muster.report.tables import (
    NOTHING,
    best_in_resamples,
    candidate_table,
    cost_label,
    count_label,
    date_text,
    foreseen_table,
    metric_label,
    number,
    single_score_table,
)
from muster.report.texts import hard_texts, selection_texts, text_rows
from muster.report.wording import (
    ReportWarning,
    choice_sentence,
    confidence_sentence,
    foreseen_heads_sentence,
    hard_label,
    listed_label,
    no_better_than_guessing,
    predictor_label,
    prefilter_sentence,
    size_sentence,
    track_record_sentence,
    warning_of,
)
from muster.scoring.ranking import Ranking
from muster.selection.record import Selection
from muster.tasks.task import TASKS

SHOWN_CANDIDATES = 20
FIGURES = "figures"
_MARK_COLOURS = (ORANGE, BLUE, "#009e73", "#8a4f9e", "#c2448a", "#a67c00", "#56b4e9")


@dataclass(frozen=True)
class _MemberCard:
    name: str
    domain: str
    colour: str
    single_best: bool
    reached: float | None
    majority: float | None
    facts: list[tuple[str, str]]
    result: str


@dataclass(frozen=True)
class _Row:
    place: int
    members: tuple[str, ...]
    scores: tuple[float, ...]
    selection_frequency: str | None
    chosen: bool


@dataclass(frozen=True)
class _Choice:
    metric: str
    members: tuple[str, ...]
    rank: int
    chosen: bool


@dataclass(frozen=True)
class _RankedCandidates:
    """The order of all candidates under the chosen metric, and what follows from it."""

    order: NumpyArray
    place: dict[tuple[str, ...], int]
    often: dict[str, float]


def write_selection_report(
    selection: Selection,
    pool: Pool,
    target: Dataset,
    path: Path,
    command: str | None = None,
    report_images: Sequence[ReportImage] | None = None,
) -> Path:
    """Write one self-contained HTML page about a selection.

    The masks of up to 150 of the target's training images are read, to choose images and to know how predictable the
    labels are by themselves. Where metrics looked at hard subsets, figures of these go to the folder ``figures`` beside
    the page, as SVG and PNG.

    Args:
        selection: The choice and the ranking behind it.
        pool: The members' cards; its chosen members are run on the images.
        target: The target dataset.
        path: The file to write, usually ``report.html`` in the selection's folder.
        command: What to run next; by default ``finetune.py`` on the folder of ``path``.
        report_images: What to show; by default :func:`muster.report.selection_images` makes them.

    Returns:
        ``path``.
    """
    counts = class_counts(surveyed(selection, target), len(selection.classes))
    if report_images is None:
        report_images = selection_images(selection, pool, target, counts=counts)
    entropy = label_entropy(counts)
    figures = hard_figures(selection, target)
    for figure in figures:
        figure.write(path.parent / FIGURES)
    context = {
        "title": f"Selection for {selection.target}",
        "target": selection.target,
        "members": selection.members,
        "lead": choice_sentence(selection),
        "verdict": no_better_than_guessing(selection.guessing, selection.target, selection.words.holds),
        "bootstrap_confidence": confidence_sentence(selection.bootstrap_confidence, selection.words.holds),
        "track_record": track_record_sentence(selection),
        **_foreseen_context(selection),
        "warnings": _warnings(selection, entropy),
        "command": command or f"python finetune.py --selection {shlex.quote(str(named(path.parent)))}",
        "strips": strips(report_images, selection.classes if selection.words.is_pooled else ()),
        "texts": text_rows(selection_texts(selection, pool, target)),
        "hard_texts": hard_texts(selection, target, HARD_FOR),
        "samples": target.spec.holds,
        "swatches": legend(selection.classes),
        "predictor": predictor_label(selection.predictor),
        "class_result": selection.words.class_result,
        "unit": selection.words.unit,
        "a_sample": selection.words.a_sample,
        "has_void": selection.words.has_class_maps,
        "shown_by": _shown_by(selection),
        "is_fitted": selection.predictor == "linear_probe",
        "class_bars": _class_bars(selection),
        "metric": metric_label(selection.metric),
        "train_images": selection.train_images,
        "settings": _settings(selection, pool, entropy),
        "figures": [shown(figure) for figure in figures],
        "footer": f"muster {selection.versions.get('muster', '')}".strip(),
        **_ranking_context(selection, pool, entropy),
    }
    return write_page("selection.html", path, context)


def _foreseen_context(selection: Selection) -> dict[str, object]:
    """What the leading candidates score with a head."""
    told = selection.foreseen_heads
    if told is None:
        return {"foreseen": ""}
    table = foreseen_table(told)
    rows = [
        [number(value) if isinstance(value, float) else NOTHING if value is None else str(value) for value in row]
        for row in table.rows
    ]
    return {
        "foreseen": foreseen_heads_sentence(selection),
        "foreseen_columns": table.columns,
        "foreseen_rows": rows,
        "foreseen_chosen": [told.leader],
    }


def _shown_by(selection: Selection) -> str:
    """The predictors of the images; that of the scores, if nothing says otherwise."""
    names = dict.fromkeys(predictor.name for predictor in selection.on_images.values()) or [selection.predictor]
    return " and ".join(map(predictor_label, names))


def _warnings(selection: Selection, entropy: float) -> list[ReportWarning]:
    found = diagnose(
        selection.ranking,
        selection.metric,
        entropy,
        whole=selection.search.lists_all,
        search_interrupted=selection.interrupted,
    )
    return [warning_of(finding) for finding in found]


def _ranking_context(selection: Selection, pool: Pool, entropy: float) -> dict[str, object]:
    """Everything that comes from the ranking of all candidates."""
    ranking, names = selection.ranking, selection.member_names
    order = ranking.order(selection.metric)
    place = {tuple(sorted(selection.names_of(row))): rank for rank, row in enumerate(order.tolist(), start=1)}
    ranked = _RankedCandidates(order, place, occurrence(ranking, order, names))
    domains = distinct_colours([pool[name].card.domain for name in sorted(names)])
    marks, listed = _marks(selection, ranked), listed_label(selection)
    scores = ranking.scores[selection.metric][order]
    return {
        "listed": listed,
        "lists_all": selection.search.lists_all,
        "ranking_heading": _sentence([listed if len(order) == 1 else f"scores of {listed}"]),
        "cards": [_card(selection, pool, name, domains, ranked) for name in selection.members],
        "ranking_plot": svg_address(ranking_figure(scores, marks, metric_label(selection.metric))),
        "marks": marks,
        "candidates": candidate_table(selection, 1),
        "rows": _rows(selection, ranked),
        "top_count": top_count(len(order)),
        "domains": [Swatch(domain, colour) for domain, colour in domains.items()],
        "member_bars": _member_bars(selection, pool, domains, ranked, entropy),
        "excluded": list(selection.excluded.items()),
        "prefilter": prefilter_sentence(selection),
        "dropped": [(metric_label(name), reason) for name, reason in selection.dropped.items()],
        "single_scores": single_score_table(selection) if selection.single_scores else None,
        "sizes": _sizes(selection),
        "size_reason": size_sentence(selection),
        "choices": _choices(selection, ranked) if len(order) > 1 else [],
        "metrics": [metric_label(metric) for metric in ranking.scores],
        "agreement": _agreement_rows(ranking) if selection.search.lists_all else [],
    }


def _card(
    selection: Selection, pool: Pool, name: str, domains: dict[str, str], ranked: _RankedCandidates
) -> _MemberCard:
    card, scores = pool[name].card, selection.member_scores
    rank = 1 + sum(score > scores[name] for score in scores.values())
    facts = [
        ("source dataset", card.dataset or "not known"),
        ("source classes", str(len(card.classes))),
        ("architecture", card.architecture),
        ("pre-training", card.pretraining or "not known"),
        ("parameters", count_label(card.parameters)),
        (f"training {TASKS[card.task].holds}", "not known" if card.train_images is None else f"{card.train_images:,}"),
        ("LEEP on the target", f"{number(scores[name])}, {rank} of {len(scores)}"),
        (f"in the best {top_count(len(ranked.order))}", f"{100 * ranked.often[name]:.0f} %"),
    ]
    return _MemberCard(
        name, card.domain, domains[card.domain], name == selection.single_best, card.test_result, card.majority_result,
        facts, TASKS[card.task].result,
    )  # fmt: skip


def _class_bars(selection: Selection) -> list[Bar]:
    bars = []
    for index, (label, iou) in enumerate(zip(selection.classes, selection.class_ious, strict=True)):
        note = f"not among the probe {selection.words.unit}s" if iou is None else ""
        bars.append(Bar(label, iou, number(iou), hex_colour(index), note=note))
    known = [iou for iou in selection.class_ious if iou is not None]
    if known:
        mean = sum(known) / len(known)
        bars.append(Bar("mean", mean, number(mean), "#5b6675", strong=True))
    return bars


def _marks(selection: Selection, ranked: _RankedCandidates) -> list[Mark]:
    """The chosen candidate, what other metrics chose, and the best candidate with B1 in it; equal ones together."""
    reasons_of: dict[tuple[str, ...], list[str]] = {tuple(sorted(selection.members)): ["chosen"]}
    for metric, members in selection.choices.items():
        if metric != selection.metric:
            reasons_of.setdefault(tuple(sorted(members)), []).append(f"{metric_label(metric)}'s choice")
    with_best = next((members for members in ranked.place if selection.single_best in members), None)
    if with_best is not None:
        reasons_of.setdefault(with_best, []).append(f"the best with {selection.single_best} (B1) in it")
    scores = selection.ranking.scores[selection.metric]
    marks = []
    for position, (members, reasons) in enumerate(reasons_of.items()):
        rank = ranked.place[members]
        colour, marker = _MARK_COLOURS[position % len(_MARK_COLOURS)], MARKERS[position % len(MARKERS)]
        score = float(scores[ranked.order[rank - 1]])
        marks.append(Mark(rank, score, colour, marker, _sentence(reasons)))
    return marks


def _sentence(parts: Sequence[str]) -> str:
    text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return text[0].upper() + text[1:]


def _rows(selection: Selection, ranked: _RankedCandidates) -> list[_Row]:
    chosen = tuple(sorted(selection.members))
    metrics = [selection.metric, *(name for name in selection.ranking.scores if name != selection.metric)]
    rows, selection_frequency = [], best_in_resamples(selection)
    for place, row in enumerate(ranked.order[:SHOWN_CANDIDATES].tolist(), start=1):
        members = tuple(sorted(selection.names_of(row)))
        scores = tuple(float(selection.ranking.scores[metric][row]) for metric in metrics)
        share = (
            None
            if not selection_frequency
            else f"{100 * selection_frequency[place]:.0f} %"
            if place in selection_frequency
            else NOTHING
        )
        rows.append(_Row(place, members, scores, share, members == chosen))
    return rows


def _member_bars(
    selection: Selection, pool: Pool, domains: dict[str, str], ranked: _RankedCandidates, entropy: float
) -> list[tuple[Bar, float]]:
    scores = selection.member_scores
    guessing = math.exp(-entropy)
    # A little air, so that the longest bar does not look like a perfect one.
    longest = max(*(math.exp(score) for score in scores.values()), guessing) * 1.05
    bars = []
    for name in sorted(scores, key=lambda name: (-scores[name], name)):
        colour = domains[pool[name].card.domain]
        chosen = name in selection.members
        bar = Bar(
            name,
            math.exp(scores[name]) / longest,
            number(scores[name]),
            colour,
            strong=chosen,
            tag="chosen" if chosen else ("B1" if name == selection.single_best else ""),
            tick=guessing / longest,
        )
        bars.append((bar, ranked.often[name]))
    return bars


def _choices(selection: Selection, ranked: _RankedCandidates) -> list[_Choice]:
    chosen = tuple(sorted(selection.members))
    choices = []
    for metric, members in selection.choices.items():
        named = tuple(sorted(members))
        choices.append(_Choice(metric_label(metric), named, ranked.place[named], named == chosen))
    return choices


def _sizes(selection: Selection) -> list[tuple[int, str, str, str, bool]]:
    """Size, members, score and cost of the best ensemble of each size, and whether it is the chosen size."""
    return [
        (
            step.size,
            " + ".join(step.members),
            number(step.score, 4),
            cost_label(step.cost, selection.cost_unit),
            step.size == selection.size,
        )
        for step in selection.sizes
    ]


def _agreement_rows(ranking: Ranking) -> list[tuple[str, list[Cell]]]:
    if len(ranking.scores) < 2 or len(ranking) < 3:
        return []
    table = agreement(ranking)
    return [
        (metric_label(metric), [heat(float(value)) for value in row])
        for metric, row in zip(ranking.scores, table, strict=True)
    ]


def _settings(selection: Selection, pool: Pool, entropy: float) -> list[tuple[str, str]]:
    probe = selection.probe
    from_each = "" if selection.words.is_pooled else f", {probe.pixels_per_image:,} pixels from each"
    images = f"{len(selection.train_images):,} training {selection.words.holds}{from_each}"
    listed = "scored" if selection.search.lists_all else "kept"
    return [
        ("target", str(Path(selection.data_root) / selection.target_reference)),
        ("pool", f"{selection.pool} ({len(pool)} members, {len(selection.member_scores)} eligible)"),
        ("ensemble size", str(selection.size)),
        ("metric", metric_label(selection.metric)),
        (
            "predictor",
            f"{predictor_label(selection.predictor).removeprefix('the ')}; LEEP, MS-LEEP and B1 rest on it too",
        ),
        *([("hard subsets", hard_label(selection))] if selection.hardness_models else []),
        *([("layers that add 1", f"{selection.l_max:g}")] if selection.l_max is not None else []),
        *([("reference", selection.reference)] if selection.reference else []),
        ("search", f"{selection.search.strategy}, {len(selection.ranking):,} candidates {listed}"),
        ("probe set", images + (f"; {len(selection.void_images)} of them all void" if selection.void_images else "")),
        (f"{selection.words.sample} size", str(ImageSize.of(selection.image_size))),
        ("seed", str(probe.seed)),
        ("entropy of the labels", _entropy_label(selection, entropy)),
        *([("device", selection.device)] if selection.device else []),
        *([("date", date_text(selection.date))] if selection.date else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in selection.versions.items())),
    ]


def _entropy_label(selection: Selection, entropy: float) -> str:
    """Entropy of the images' labels, and of the labels on which members were compared with guessing."""
    guessing = selection.guessing
    if guessing is None:
        return number(entropy)
    explained = f"{100 * max(guessing.explained, 0):.0f} %"
    units = f"the probe {selection.words.unit}s"
    return f"{number(entropy)}; of the {number(-guessing.leep)} of {units} {guessing.best} explains {explained}"
