"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; cells stand in it as they are.

    Args:
        headings: Of the columns.
        rows: As many cells each.

    Example:
        >>> markdown_table(["member", "mIoU"], [["a", "0.5"]])
        ['| member | mIoU |', '| --- | --- |', '| a | 0.5 |']
    """
    return [f"| {' | '.join(cells)} |" for cells in [headings, ["---"] * len(headings), *rows]]
