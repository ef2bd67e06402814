"""A selection on the terminal: who was chosen and why, who came next, and what to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from muster.metrics import METRICS
from muster.pool import Pool
from muster.search.selection import Selection

RUNNERS_UP = 5


def print_selection(selection: Selection, pool: Pool, folder: Path, console: Console, chosen_size: bool) -> None:
    """Print a selection.

    Args:
        selection: What was chosen.
        pool: What it was chosen from.
        folder: Where it was written.
        console: Where to print.
        chosen_size: Whether muster chose the image size, and should say so.
    """
    _say(console, _probe_line(selection, chosen_size))
    if selection.void_images:
        _say(console, f"All void, and of no use: {', '.join(selection.void_images)}.")
    _say(console, f"The chosen {selection.size} of {len(selection.member_names)}, by {_title(selection.metric)}:")
    console.print(_members_table(selection, pool))
    _say(console, _score_line(selection))
    _say(console, "Predicted IoU by class: " + _classes(selection) + "\n")
    _say(console, "The chosen ensemble and the runners-up:")
    console.print(_ranking_table(selection))
    _say(console, "\nWhat each metric would choose:")
    console.print(_choices_table(selection))
    for name, reason in selection.excluded.items():
        _say(console, f"Left out: {name} ({reason}).")
    _say(console, f"\nReport: {folder / 'report.html'}")
    _say(console, f"Next: {finetune_command(folder)}")


def finetune_command(folder: Path) -> str:
    """What to type next."""
    return f"python finetune.py --selection {shlex.quote(str(folder))}"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _probe_line(selection: Selection, chosen_size: bool) -> str:
    images = len(selection.train_images)
    pixels = (images - len(selection.void_images)) * selection.probe.pixels_per_image
    why = " (the median of the members' cards)" if chosen_size else ""
    return (
        f"{selection.target}: {pixels:,} probe pixels of {images} training images, seen at "
        f"{selection.image_size} pixels{why}.\n"
    )


def _table(*headings: str) -> Table:
    # Without a title of rich's own, which it would wrap at the width of the table.
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        text = heading in {"member", "members", "source", "architecture", "metric"}
        table.add_column(heading, justify="left" if text else "right", overflow="fold")
    return table


def _members_table(selection: Selection, pool: Pool) -> Table:
    table = _table("member", "source", "architecture", "source mIoU", "LEEP on target")
    for name in selection.members:
        card = pool[name].card
        leep = f"{selection.member_scores[name]:.3f}"
        table.add_row(name, card.dataset, card.architecture, f"{card.test_miou:.3f}", leep)
    return table


def _score_line(selection: Selection) -> str:
    score = f"{_title(selection.metric)} {_number(selection.score)}"
    if selection.lead is None:
        return f"\n{score}; there is no other ensemble of this size."
    return f"\n{score}, {_number(selection.lead)} ahead of the next ensemble out of {len(selection.ranking):,}."


def _classes(selection: Selection) -> str:
    shown = zip(selection.classes, selection.class_ious, strict=True)
    return ", ".join(f"{name} {'(no pixel)' if iou is None else f'{iou:.2f}'}" for name, iou in shown)


def _ranking_table(selection: Selection) -> Table:
    metrics = tuple(selection.ranking.scores)
    table = _table("rank", "members", *map(_title, metrics))
    for place, row in enumerate(selection.ranking.order(selection.metric)[: RUNNERS_UP + 1].tolist()):
        scores = (_number(float(selection.ranking.scores[metric][row])) for metric in metrics)
        table.add_row(str(place + 1), ", ".join(selection.names_of(row)), *scores)
    return table


def _choices_table(selection: Selection) -> Table:
    table = _table("metric", "members")
    for metric, names in selection.choices.items():
        table.add_row(_title(metric), ", ".join(names))
    table.add_row("LEEP, single", selection.single_best)
    return table


def _title(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else metric


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"  # BASE counts images times classes
