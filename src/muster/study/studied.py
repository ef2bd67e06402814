"""Ensembles that a study fine-tuned and evaluated, opened to be scored again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from muster.arrays import NumpyArray
from muster.data import Dataset, open_dataset
from muster.errors import ConfigError
from muster.metrics import ENSEMBLE_METRICS
from muster.pool import Member, Pool
from muster.study.finetuned_candidates import FINETUNED_MIOU

ENSEMBLES = "ensembles.csv"
"""What a study calls the table of its ensembles: ``members`` (names between spaces), scores, and ``finetuned_miou``."""


@dataclass(frozen=True)
class StudiedTarget:
    """A target whose ensembles were fine-tuned and evaluated.

    Attributes:
        target: The dataset: worlds/NAME, or its folder.
        pool: Folder of the pool that the members are from.
        ensembles: Their fine-tuned mIoU: the study's ensembles.csv, or the folder that it is in.
    """

    target: str
    pool: Path
    ensembles: Path


@dataclass(frozen=True, eq=False)
class StudiedCandidates:
    """Ensembles of a study, and what was opened to score them again.

    Attributes:
        dataset: The target.
        eligible: All members of the pool that never saw it: what ``select.py`` would choose from.
        members: Those of the study, in the order of the pool.
        rows: For each ensemble, ascending places among ``members``.
        mious: For each ensemble, mIoU after fine-tuning.
        scores: For each ensemble metric that the study had, the scores that it wrote down.
    """

    dataset: Dataset
    eligible: tuple[Member, ...]
    members: tuple[Member, ...]
    rows: tuple[tuple[int, ...], ...]
    mious: NumpyArray
    scores: dict[str, NumpyArray]

    @property
    def size(self) -> int:
        """Members of one ensemble."""
        return len(self.rows[0])


def open_studied(studied: StudiedTarget, data_root: Path | None = None) -> StudiedCandidates:
    """Open all that is needed to score a study's ensembles again.

    Args:
        studied: Where it is.
        data_root: Folder below which the target is looked for.

    Returns:
        The ensembles with their members.

    Raises:
        ConfigError: If the table is missing, is none of a study, or names members that the pool has not or that saw
            the target.
        PoolError: If the pool is missing or damaged.
        DatasetError: If the target cannot be opened.
    """
    pool, dataset = Pool.open(studied.pool), open_dataset(studied.target, data_root)
    path = studied.ensembles / ENSEMBLES if studied.ensembles.is_dir() else studied.ensembles
    table = _read_table(path)
    names = [tuple(str(text).split()) for text in table["members"]]
    _require_ensembles(path, names)
    eligible, barred = pool.eligible_for(dataset)
    wanted = {name for row in names for name in row}
    if unknown := sorted(wanted - {member.name for member in pool}):
        raise ConfigError(
            f"{path} has ensembles with {', '.join(unknown)}, but the pool {pool.folder} has no such members. "
            "Name the pool that the study was made with."
        )
    if seen := sorted(wanted & set(barred)):
        raise ConfigError(
            f"{path} has ensembles with members that cannot be candidates: "
            f"{', '.join(f'{name} ({barred[name]})' for name in seen)}. Name the target that the study was made for."
        )
    members = tuple(member for member in eligible if member.name in wanted)
    places = {member.name: place for place, member in enumerate(members)}
    rows = tuple(tuple(sorted(places[name] for name in row)) for row in names)
    scores = {name: table[name].to_numpy(dtype="float64") for name in ENSEMBLE_METRICS if name in table}
    return StudiedCandidates(dataset, eligible, members, rows, table[FINETUNED_MIOU].to_numpy(dtype="float64"), scores)


def _read_table(path: Path) -> pd.DataFrame:
    """The file of a study, with numbers where there are to be some."""
    made_by = f"It is what muster study writes, with a column 'members' and a column {FINETUNED_MIOU!r}."
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist. {made_by}") from None
    except (OSError, ValueError) as problem:  # pandas' errors are of these kinds
        raise ConfigError(f"{path} cannot be read as a table: {problem}. {made_by}") from problem
    if missing := [name for name in ("members", FINETUNED_MIOU) if name not in table]:
        raise ConfigError(f"{path} has no column {' and none '.join(missing)}. {made_by}")
    for name in (FINETUNED_MIOU, *ENSEMBLE_METRICS):
        if name in table and not (table[name].dtype.kind in "if" and table[name].notna().all()):
            raise ConfigError(f"{path}: expected a number in every row of column {name!r}. {made_by}")
    return table


def _require_ensembles(path: Path, names: Sequence[tuple[str, ...]]) -> None:
    """At least two different ensembles of one size."""
    if len(names) < 2:
        raise ConfigError(f"{path}: expected at least 2 ensembles to compare, but got {len(names)}.")
    first = len(names[0])
    for row in names:
        if len(row) != first or len(set(row)) != first or not row:
            raise ConfigError(
                f"{path}: expected {first} different members in every row, as in the first, but got {' '.join(row)!r}."
            )
    if len({frozenset(row) for row in names}) < len(names):
        raise ConfigError(f"{path}: expected different ensembles, but some occur twice.")
