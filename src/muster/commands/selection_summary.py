"""A selection on the terminal: who was chosen and why, who came next, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from muster.commands.main import CONFIGS
from muster.commands.program import to_type
from muster.data import ImageSize
from muster.data.opening import is_built_in
from muster.pool import Pool, result_of
from muster.remote import named
from muster.report.tables import (
    SELECTION_FREQUENCY,
    candidate_table,
    cost_label,
    count_label,
    metric_label,
    number,
    single_score_table,
)
from muster.report.wording import (
    choice_line,
    confidence_sentence,
    foreseen_heads_sentence,
    hard_label,
    interruption_line,
    listed_label,
    no_better_than_guessing,
    predictor_label,
    prefilter_sentence,
    search_sentence,
    size_sentence,
    track_record_sentence,
)
from muster.selection.probing import known_image_sizes
from muster.selection.record import Selection
from muster.tasks.task import TASKS

RUNNERS_UP = 5
METRICS_BESIDE = 5
"""How many of them a table has room for beside the names of three members."""

METRICS_IN_A_ROW = 9
"""How many it has room for beside the name of one."""


def print_selection(selection: Selection, pool: Pool, folder: Path, console: Console, chosen_size: bool) -> None:
    """Print a selection.

    Args:
        selection: What was chosen.
        pool: What it was chosen from.
        folder: Where it was written.
        console: Where to print, as :func:`muster.commands.terminal.make_console` makes it.
        chosen_size: Whether muster chose the image size, and should say so.
    """
    verdict = no_better_than_guessing(selection.guessing, selection.target, selection.words.holds)
    if verdict:
        console.print(verdict + "\n")
    console.print(_probe_line(selection, pool, chosen_size))
    if selection.void_images:
        told = "Without a class" if selection.words.is_pooled else "All void"
        console.print(f"{told}, and of no use: {', '.join(selection.void_images)}.")
    console.print(_heading(selection, claims=not verdict))
    console.print(_members_table(selection, pool))
    margin = "" if selection.margin is None else _number(selection.margin)
    console.print("\n" + choice_line(selection, _number(selection.score), margin))
    for sentence in filter(None, (search_sentence(selection), interruption_line(selection))):
        console.print(sentence)
    predictor, result = predictor_label(selection.predictor), selection.words.class_result
    console.print(f"Predicted {result} by class, by {predictor}: {_classes(selection)}\n")
    if selection.bootstrap_confidence is not None:
        console.print(confidence_sentence(selection.bootstrap_confidence, selection.words.holds) + "\n")
    if selection.foreseen_heads is not None:
        console.print(foreseen_heads_sentence(selection) + "\n")
    console.print(track_record_sentence(selection) + "\n")
    if selection.sizes:
        console.print(size_sentence(selection))
        console.print(_sizes_table(selection))
        console.print("")
    _print_comparisons(selection, console)
    for note in _notes(selection):
        console.print(note)
    console.print(f"\nReport: {folder / 'report.html'}")
    console.print(f"{'To fine-tune them all the same' if verdict else 'Next'}: {finetune_command(folder, selection)}")


def _print_comparisons(selection: Selection, console: Console) -> None:
    console.print("The chosen ensemble and the runners-up:")
    console.print(_ranking_table(selection))
    if len(selection.ranking.scores) > METRICS_BESIDE:
        console.print("The other metrics' scores are in the report.")
    among = "" if selection.search.lists_all else f" of {listed_label(selection)}"
    console.print(f"\nWhat each metric would choose{among}:")
    console.print(_choices_table(selection))
    if selection.single_scores:
        console.print(
            f"\nEvery member alone, LEEP by {predictor_label(selection.predictor)} (larger is better; costs are shown "
            "negated):",
        )
        for table in _single_scores_tables(selection):
            console.print(table)


def _notes(selection: Selection) -> Iterator[str]:
    """How hard subsets were found, and what was left out."""
    if selection.hardness_models:
        yield hard_label(selection)
    if told := prefilter_sentence(selection):
        yield told
    for name, reason in selection.dropped.items():
        yield f"Metric left out: {metric_label(name)}: {reason.rstrip('.')}."
    for name, reason in selection.excluded.items():
        yield f"Left out: {name} ({reason})."


def _heading(selection: Selection, claims: bool) -> str:
    which = f"{selection.size} of {len(selection.member_names)}"
    metric = metric_label(selection.metric)
    return f"The chosen {which}, by {metric}:" if claims else f"The first {which} by {metric}, no recommendation:"


def finetune_command(folder: Path, selection: Selection) -> str:
    """What to type next.

    Args:
        folder: Where the selection lies.
        selection: Says for which target. Built-in datasets go with small networks, whose recipe is named.
    """
    recipe = ""
    if is_built_in(selection.target_reference):
        own, *options = TASKS[selection.task].built_in_recipe.split()
        path = (CONFIGS / "finetune" / own).resolve()
        here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        recipe = " ".join(["", "--config", shlex.quote(str(here)), *options])
    return f"{to_type('finetune')} --selection {shlex.quote(str(named(folder)))}{recipe}"


def _probe_line(selection: Selection, pool: Pool, chosen_size: bool) -> str:
    images = len(selection.train_images)
    pixels = (images - len(selection.void_images)) * selection.probe.pixels_per_image
    known = known_image_sizes([pool[name] for name in selection.member_names])
    source = "the median of the members' cards" if known else "no card says a size; --image_size gives another"
    why = f" ({source})" if chosen_size else ""
    of_pixels = "" if selection.words.is_pooled else f"{pixels:,} probe pixels of "
    return (
        f"{selection.target}: {of_pixels}{images} training {selection.words.holds}, seen at "
        f"{ImageSize.of(selection.image_size)}{why}.\n"
    )


def _table(*headings: str) -> Table:
    # Without a title of rich's own, which it would wrap at the width of the table.
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        text = heading in {"member", "members", "source", "architecture", "metric"}
        table.add_column(heading, justify="left" if text else "right", overflow="fold")
    return table


def _members_table(selection: Selection, pool: Pool) -> Table:
    table = _table(
        "member",
        "source",
        "architecture",
        "parameters",
        f"source {result_of(member.card for member in pool)}",
        "LEEP on target",
    )
    for name in selection.members:
        card = pool[name].card
        leep = f"{selection.member_scores[name]:.3f}"
        dataset = card.dataset or "not known"
        table.add_row(name, dataset, card.architecture, count_label(card.parameters), number(card.test_result), leep)
    return table


def _classes(selection: Selection) -> str:
    shown = zip(selection.classes, selection.class_ious, strict=True)
    return ", ".join(f"{name} {'(not looked at)' if iou is None else f'{iou:.2f}'}" for name, iou in shown)


def _ranking_table(selection: Selection) -> Table:
    """The leading candidates by what was chosen by and a few other metrics; the report has all."""
    shown = candidate_table(selection, RUNNERS_UP + 1)
    places = [
        place
        for place, name in enumerate(shown.columns)
        if 2 <= place < 2 + METRICS_BESIDE or name == SELECTION_FREQUENCY
    ]
    table = _table("rank", "members", *(shown.columns[place] for place in places))
    order = selection.ranking.order(selection.metric)
    for row, cells in zip(order.tolist(), shown.rows, strict=False):
        scores = (_cell(shown.columns[place], cells[place]) for place in places)
        table.add_row(str(cells[0]), ", ".join(selection.names_of(row)), *scores)
    return table


def _cell(heading: str, value: object) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{100 * value:.0f} %" if heading == SELECTION_FREQUENCY else _number(value)


def _single_scores_tables(selection: Selection) -> Iterator[Table]:
    """Below each other where there are many metrics: side by side they would be too narrow to read."""
    shown = single_score_table(selection)
    for first in range(1, len(shown.columns), METRICS_IN_A_ROW):
        places = (0, *range(first, min(first + METRICS_IN_A_ROW, len(shown.columns))))
        table = _table(*(shown.columns[place] for place in places))
        for row in shown.rows:
            table.add_row(*(_cell("", row[place]) for place in places))
        yield table


def _sizes_table(selection: Selection) -> Table:
    table = _table("size", "members", metric_label(selection.metric), "cost")
    for step in selection.sizes:
        cost = cost_label(step.cost, selection.cost_unit)
        table.add_row(str(step.size), ", ".join(step.members), _number(step.score), cost)
    return table


def _choices_table(selection: Selection) -> Table:
    table = _table("metric", "members")
    for metric, names in selection.choices.items():
        table.add_row(metric_label(metric), ", ".join(names))
    table.add_row(
        f"LEEP, single (B1, {predictor_label(selection.predictor).removeprefix('the ')})", selection.single_best
    )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"  # BASE counts images times classes
