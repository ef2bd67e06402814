"""The command ``muster study sources``: how well the members of pools do on their own sources."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from muster.commands.terminal import make_console
from muster.errors import ConfigError
from muster.files import write_table
from muster.study.sources import members_of, put_on_page, read_sources, sources_as_markdown, sources_of


def sources(
    pools: tuple[Path, ...], beside: tuple[Path, ...] = (), table: Path | None = None, page: Path | None = None
) -> int:
    """Show the source test mIoU of each network on each dataset, from the cards of pools.

    Nothing is computed: each card says what its member reached. A pool that is still being trained has fewer rows.

    Args:
        pools: Folders of pools.
        beside: Tables that this command kept of other pools, shown in front.
        table: Keep the rows of these pools as a CSV file.
        page: Put the tables on this Markdown page, between its marks, instead of printing them.

    Returns:
        0.
    """
    if not pools:
        raise ConfigError("--pools: expected at least one.")
    rows = sources_of(members_of(pools))
    earlier = [read_sources(path) for path in beside]
    if table is not None:
        write_table(table, rows)
    tables = sources_as_markdown(pd.concat([*earlier, rows], ignore_index=True))
    console = make_console()
    if page is None:
        console.print(tables, markup=False, soft_wrap=True)
    else:
        put_on_page(page, tables)
        console.print(f"{len(rows)} members on {page}.")
    return 0
