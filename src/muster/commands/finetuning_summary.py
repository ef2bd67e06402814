"""A fine-tuning on the terminal: its mIoU, its cost, and what to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from muster.commands.program import is_console, to_type
from muster.remote import named
from muster.report.tables import cost_label, count_label, result_names
from muster.report.wording.confirmation import confirmation_sentence
from muster.report.wording.equal_cost import equal_cost_sentence
from muster.report.wording.finetuning import (
    combined_subject,
    cost_sentence,
    difference_sentence,
    head_sentence,
    interval_sentence,
    interval_text,
    measured_text,
    result_label,
    resumed_text,
)
from muster.training.results import FinetuneResult


def print_finetuning(result: FinetuneResult, folder: Path, console: Console) -> None:
    """Print the results of a fine-tuning.

    Args:
        result: The results.
        folder: Where it was written.
        console: Where to print, as :func:`muster.commands.terminal.make_console` makes it.
    """
    console.print(f"{result.words.title} on {result.test_images} test {result.words.holds} of {result.target}:")
    console.print(_result_table(result))
    if told := difference_sentence(result):
        console.print(f"\n{combined_subject(result)} reaches {told}")
    sentences = (
        head_sentence,
        equal_cost_sentence,
        cost_sentence,
        interval_sentence,
        measured_text,
        resumed_text,
        confirmation_sentence,
    )
    for told in (sentence(result) for sentence in sentences):
        if told:
            console.print(told)
    console.print(f"\nReport: {folder / 'report.html'}")
    console.print(f"Next: {predict_command(folder, result.words.holds)}")


def predict_command(folder: Path, holds: str = "images") -> str:
    """What to type next, with an ensemble for images or for texts."""
    what = f"FOLDER_OF_{holds.upper()}"
    finetune = f"{to_type('finetune')} --predict {what}"
    predict = f"{to_type('predict')} --images {what}" if is_console() else finetune
    return f"{predict} --ensemble {shlex.quote(str(named(folder)))}"


def _result_table(result: FinetuneResult) -> Table:
    """Costs stand beside every mIoU, so that one model is not compared with three unnoticed."""
    table = Table(box=None, pad_edge=False)
    table.add_column("what", overflow="fold")
    for heading in (
        result.words.result,
        f"{100 * result.interval_level:.0f} % interval",
        *([result.words.error] if result.errors else []),
        "models",
        "parameters",
        result.words.a_sample,
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in result_names(result):
        cost = result.costs.get(name)
        costs = ("", "", "") if cost is None else (
            str(cost.models), count_label(cost.parameters), cost_label(cost.seconds_per_image, "seconds")
        )  # fmt: skip
        interval = interval_text(result.result_intervals.get(name))
        error = [f"{result.errors[name]:.3f}" if name in result.errors else ""] if result.errors else []
        table.add_row(Text(result_label(result, name)), f"{result.results[name]:.3f}", interval, *error, *costs)
    return table
