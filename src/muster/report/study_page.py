"""A page of figures and tables of a study that answers to the mouse: one file, which asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from muster.report.page import write_page
from muster.report.study_style import StudyFigure
from muster.report.tables import Table

_PIXELS_PER_INCH = 158
"""So that a figure of the width of a page fills ours, and all letters have one size."""


@dataclass(frozen=True)
class PagePart:
    """One section of a page.

    Attributes:
        title: Its heading.
        text: What it says first; plain words.
        figures: What it shows.
        tables: Below the figures, by caption; cells as text (:func:`muster.report.study_tables.frame_table`).
    """

    title: str
    text: str = ""
    figures: Sequence[StudyFigure] = ()
    tables: Mapping[str, Table] | None = None


def write_study_page(path: Path, title: str, lead: str, parts: Sequence[PagePart], footer: str = "muster") -> Path:
    """Write a page of several sections.

    Args:
        path: The file to write.
        title: Its heading.
        lead: What to know first; plain words.
        parts: Its sections.
        footer: Below everything, e.g. the version.

    Returns:
        ``path``.

    Raises:
        OutputError: If there is a file that is no such page, or the page cannot be written.
    """
    sections = [
        {
            "title": part.title,
            "text": part.text,
            "figures": [shown(figure) for figure in part.figures],
            "tables": [(caption, table.columns, _texts(table)) for caption, table in (part.tables or {}).items()],
        }
        for part in parts
    ]
    context = {"title": title, "lead": lead, "sections": sections, "footer": footer}
    return write_page("study.html", path, context)


def write_figure_page(path: Path, figure: StudyFigure, footer: str = "muster") -> Path:
    """Write a page of one figure, to be sent to somebody or put in a tracker.

    Args:
        path: The file to write.
        figure: What it shows.
        footer: As for :func:`write_study_page`.

    Returns:
        ``path``.

    Raises:
        OutputError: As :func:`write_study_page`.
    """
    return write_study_page(path, figure.title, "", [PagePart("", figures=[figure])], footer)


def write_figures(folder: Path, figures: Sequence[StudyFigure], footer: str = "muster") -> list[Path]:
    """Write each figure as SVG, PNG and a page of its own.

    Args:
        folder: Where; made if missing.
        figures: With different names.
        footer: As for :func:`write_study_page`.

    Returns:
        All files.

    Raises:
        ValueError: If two figures have one name.
        OutputError: As :func:`write_study_page`.
    """
    names = [figure.name for figure in figures]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Expected figures of different names, but got {', '.join(twice)} more than once.")
    files = []
    for figure in figures:
        files += figure.write(folder)
        files.append(write_figure_page(folder / f"{figure.name}.html", figure, footer))
    return files


def shown(figure: StudyFigure) -> dict[str, object]:
    """A figure as templates draw it."""
    # The SVG is ours; names within it were escaped when it was written.
    drawn = {"title": figure.title, "caption": figure.caption, "svg": Markup(figure.svg)}  # noqa: S704
    return {**drawn, "width": round(_PIXELS_PER_INCH * figure.width)}


def _texts(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in table.rows]
