"""How well the members of pools do on their own sources, side by side, from their cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from muster.errors import ConfigError
from muster.files import write_text
from muster.markdown import markdown_table
from muster.pool import Card, Member, Pool
from muster.report.tables import count_label

COLUMNS = (
    "member",
    "dataset",
    "architecture",
    "pretraining",
    "image_size",
    "train_images",
    "test_images",
    "parameters",
    "training_seconds",
    "majority_result",
    "test_result",
)
"""What is kept of a card, by its own names; ``member`` is its name."""

BEGIN, END = "<!-- table of sources -->", "<!-- end of the table of sources -->"
"""What the tables stand between on a page."""

_KEY = ["architecture", "pretraining"]


def sources_of(members: Iterable[Member]) -> pd.DataFrame:
    """One row a member that says how well it does on its source.

    Args:
        members: Those of one or more pools.

    Returns:
        The columns :data:`COLUMNS`; members whose cards know no source mIoU are left out.
    """
    cards = [member.card for member in members if member.card.test_result is not None]
    return pd.DataFrame([_row(card) for card in cards], columns=list(COLUMNS))


def _row(card: Card) -> dict[str, object]:
    return {"member": card.name, **{name: getattr(card, name) for name in COLUMNS[1:]}}


def read_sources(path: Path) -> pd.DataFrame:
    """Read a table that :func:`sources_of` made and somebody kept as CSV.

    Args:
        path: The file.

    Returns:
        The table.

    Raises:
        ConfigError: If it cannot be read or lacks a column.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in COLUMNS[4:]})
    except (OSError, ValueError) as error:
        raise ConfigError(f"--beside: cannot read {path} as a table: {error}.") from error
    table = table.rename(columns=Card.EARLIER_NAMES)
    if missing := [name for name in COLUMNS if name not in table]:
        raise ConfigError(f"--beside: {path} lacks the column(s) {', '.join(missing)}.")
    return table[list(COLUMNS)]


def members_of(pools: Sequence[Path]) -> list[Member]:
    """All members of some pools, also of pools that are still being trained.

    Args:
        pools: Their folders.

    Returns:
        Pool by pool.

    Raises:
        PoolError: If one is no pool.
    """
    return [member for pool in pools for member in Pool.open(pool)]


def sources_as_markdown(table: pd.DataFrame) -> str:
    """Source test mIoU of each network on each dataset, and what each network is.

    Args:
        table: From :func:`sources_of`.

    Returns:
        Two tables in Markdown. In the first the best of a row is bold; a member that is not there is an empty cell.

    Raises:
        ConfigError: If two rows are of one network on one dataset.
    """
    twice = table[table.duplicated(["dataset", *_KEY], keep=False)]
    if len(twice):
        raise ConfigError(f"More than one member is of the same dataset and network: {', '.join(twice['member'])}.")
    networks = table[_KEY].drop_duplicates().itertuples(index=False, name=None)
    names = {key: _network_name(*key) for key in networks}
    wide = table.pivot(index="dataset", columns=_KEY, values="test_result").reindex(table["dataset"].unique())
    majority = dict(zip(table["dataset"], table["majority_result"], strict=True))
    rows = []
    for dataset, row in wide.iterrows():
        best = row.max()
        cells = [_score(row.get(key), best) for key in names]
        rows.append([str(dataset), f"{majority[str(dataset)]:.3f}", *cells])
    shared = wide.dropna()
    if len(shared) > 1:
        means = shared.mean()
        cells = [_score(means[key], means.max()) for key in names]
        label = "mean of all" if len(shared) == len(wide) else f"mean of the {len(shared)} that all have"
        rows.append([label, "", *cells])
    first = markdown_table(["dataset", "majority class", *names.values()], rows)
    return "\n".join([*first, "", *_networks(table, names)]) + "\n"


def _networks(table: pd.DataFrame, names: dict[tuple[str, str], str]) -> list[str]:
    """What each network is and what it cost."""
    rows = []
    for (architecture, pretraining), name in names.items():
        own = table[(table["architecture"] == architecture) & (table["pretraining"] == pretraining)]
        seconds = own["training_seconds"].median()
        sizes = ", ".join(map(str, dict.fromkeys(own["image_size"])))
        cost = "" if pd.isna(seconds) else f"{seconds:.0f}"
        rows.append([name, str(len(own)), count_label(int(own["parameters"].median())), sizes, cost])
    return markdown_table(["network", "members", "parameters", "image size", "seconds of training, median"], rows)


def _network_name(architecture: str, pretraining: str) -> str:
    return architecture if pretraining == "none" else f"{architecture}, {Path(pretraining).stem}"


def _score(value: float | None, best: float) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def put_on_page(page: Path, tables: str) -> None:
    """Replace what stands between the marks on a page.

    Args:
        page: A Markdown file with a line :data:`BEGIN` and a line :data:`END`.
        tables: What to put there.

    Raises:
        ConfigError: If the page cannot be read or has not both marks, once each and in this order.
        OutputError: If it cannot be written.
    """
    try:
        text = page.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--page: cannot read {page}: {error}.") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ConfigError(f"--page: expected one line {BEGIN!r} and below it one {END!r} in {page}.")
    write_text(page, f"{before}{BEGIN}\n\n{tables}\n{END}{after}")
