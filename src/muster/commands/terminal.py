"""Where commands print: names and messages can do nothing to the terminal, and tables keep their numbers whole.

Whatever is printed goes through a console of :func:`make_console`. It needs no options for texts that users gave.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from muster.launch import only_helps

WIDTH_OF_FILES = 140
"""Columns of what is not a terminal: a log should not break names in two."""

_LEAST_OF_TEXT = 12
"""Columns that names need in a table; with less, a table becomes a list."""

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of writing
    "\u2028\u2029\ufeff"  # other ends of lines
    "\ud800-\udfff]"  # bytes of a file's name that are no text
)


def visible(text: str) -> str:
    """The same text with an escape in place of each character that would change how the rest is shown.

    Args:
        text: A name or message, whoever wrote it.

    Returns:
        Text that a terminal shows as it is. Line feeds stay.
    """
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The same as :func:`visible`, on one line: a name cannot begin a line that looks like ours."""
    return " ".join(visible(line.strip(" \t\r")) for line in text.strip().split("\n")).expandtabs(4)


class _CarefulConsole(Console):
    """A console that shows control characters instead of obeying them, and fits tables to its width."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's; a text is shown as it is, without markup."""
        shown = [self._fitted(each) if isinstance(each, Table) else each for each in objects]
        if any(isinstance(each, str) for each in shown):
            options = {"soft_wrap": True} | options
        super().print(*shown, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, with :func:`visible` text, so that its width is known when it is laid out."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's, with :func:`visible` text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def _fitted(self, table: Table) -> RenderableType:
        """The table with names folded where they must be; as a list where even its numbers do not fit."""
        for column in table.columns:
            column.no_wrap = _is_of_numbers(column)
            column.overflow = "fold"
        room = self.width - 2 * (len(table.columns) - 1)
        if sum(map(_least_width, table.columns)) <= room:
            return table
        return "\n".join(_as_list(table))


def _is_of_numbers(column: Column) -> bool:
    return column.justify == "right"


def _cells(column: Column) -> list[str]:
    return [str(column.header), *map(str, column.cells)]


def _least_width(column: Column) -> int:
    heading, *_ = lengths = [cell_len(cell) for cell in _cells(column)]
    return max(lengths) if _is_of_numbers(column) else max(heading, min(max(lengths), _LEAST_OF_TEXT))


def _as_list(table: Table) -> Iterator[str]:
    """One cell a line, with its heading, and an empty line between rows."""
    if table.title:
        yield str(table.title)
    headings, *rows = zip(*map(_cells, table.columns), strict=True)
    for place, row in enumerate(rows):
        if place:
            yield ""
        yield from (f"{heading}: {one_line(cell)}" for heading, cell in zip(headings, row, strict=True) if cell)


def make_console(quiet: bool = False, stderr: bool = False) -> Console:
    """A console that is as wide as the terminal, and wide enough for the tables anywhere else.

    Args:
        quiet: Print nothing, as in the processes that only help.
        stderr: Print to standard error.

    Returns:
        The console.
    """
    options: dict[str, Any] = {"quiet": quiet, "stderr": stderr, "markup": False, "emoji": False, "highlight": False}
    console = _CarefulConsole(**options)
    return console if console.is_terminal else _CarefulConsole(**options, width=WIDTH_OF_FILES)


def print_error(text: str) -> None:
    """Say on standard error, on one line, why a command stops."""
    make_console(stderr=True).print(one_line(text))


@contextmanager
def our_warnings() -> Iterator[None]:
    """Show what muster warns of once, in its own words; whatever else warns is shown as before."""
    told = set[str]()
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            text = one_line(str(message))
            if not _is_raised_by_us():
                before(message, category, filename, lineno, file, line)
            elif text not in told and not only_helps():
                told.add(text)
                print_error(f"warning: {text}")

        warnings.showwarning = show
        yield


def _is_raised_by_us() -> bool:
    """Whether the function that warns is muster's, wherever it points with ``stacklevel``."""
    modules = list(_calling_modules())
    machinery = {"warnings", "_py_warnings"}
    first = next((place for place, name in enumerate(modules) if name in machinery), 0)
    raised_in = next((name for name in modules[first:] if name not in machinery), "")
    return raised_in.partition(".")[0] in {"muster", "callbacks", "benchmarks"}


def _calling_modules() -> Iterator[str]:
    """Names of the modules of the functions under way, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
