"""Tables of a study as they are printed: in Markdown, and for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from muster.markdown import markdown_table
from muster.report.tables import Cell, Table, metric_label, number

_WORDS = {"weighted_kendall": "weighted Kendall", "kendall": "Kendall", "pearson": "Pearson"}


def frame_table(frame: pd.DataFrame, digits: int | Mapping[str, int] = 2, index: bool = False) -> Table:
    """A frame as headings and printed cells.

    Args:
        frame: Columns may be pairs, as in A22's table 3: the second one is then written below the first.
        digits: Decimals of numbers that are not whole, for all columns or by column (2 for others).
        index: Whether the rows' names are a column too.

    Returns:
        All cells as text: whole numbers with separators, a dash where there is none.
    """
    shown = frame.reset_index() if index else frame
    columns = tuple(_heading(column) for column in shown.columns)
    cells = []
    for place, column in enumerate(shown.columns):
        decimals = digits if isinstance(digits, int) else digits.get(str(column), 2)
        cells.append([_text(value, decimals) for value in shown.iloc[:, place]])
    return Table(columns, [tuple(row) for row in zip(*cells, strict=True)])


def plain_table(frame: pd.DataFrame) -> Table:
    """A frame as it is, for programs: numbers with all digits, nothing where there is none."""
    rows = [tuple(_plain(value) for value in row) for row in frame.itertuples(index=False, name=None)]
    return Table(tuple(map(str, frame.columns)), rows)


def _plain(value: object) -> Cell:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(value)


def frame_lines(frame: pd.DataFrame, digits: int | Mapping[str, int] = 2, index: bool = False) -> list[str]:
    """A frame as a table in Markdown.

    Args:
        frame: As for :func:`frame_table`.
        digits: As for :func:`frame_table`.
        index: As for :func:`frame_table`.

    Returns:
        Its lines.
    """
    table = frame_table(frame, digits, index)
    return markdown_table(table.columns, [[str(cell) for cell in row] for row in table.rows])


def correlation_lines(table: pd.DataFrame, digits: int = 2) -> list[str]:
    """A22's table 3 in Markdown: one row a target and their average, the best metric of each correlation in bold.

    Args:
        table: See :func:`muster.study.papers.correlation_table`.
        digits: Decimals.

    Returns:
        Its lines.
    """
    columns = [(str(column[0]), str(column[1])) for column in table.columns]
    measures = list(dict.fromkeys(measure for measure, _ in columns))
    headings = ["", *(f"{_heading(measure)}: {metric_label(metric)}" for measure, metric in columns)]
    rows = []
    for name, row in table.iterrows():
        cells = []
        for measure in measures:
            values = [float(value) for value in row[measure]]
            cells += _bold_best([number(value, digits) for value in values], values)
        rows.append([str(name), *cells])
    return markdown_table(headings, rows)


def _bold_best(texts: Sequence[str], values: Sequence[float]) -> list[str]:
    """The largest value in bold, and all that are printed alike."""
    if np.isnan(values).all():
        return list(texts)
    best = texts[int(np.nanargmax(values))]
    return [f"**{text}**" if text == best else text for text in texts]


def _heading(column: object) -> str:
    if isinstance(column, tuple):
        return ": ".join(_heading(part) for part in column if part != "")
    text = str(column)
    return _WORDS.get(text, text.replace("_", " "))


def _text(value: object, digits: int) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):  # infinite: an interval without ends
        return number(None)
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}"
    if isinstance(value, (float, np.floating)):
        return number(float(value), digits)
    if isinstance(value, (tuple, list)):
        return ", ".join(_text(each, digits) for each in value)
    return str(value)
