"""Candidates of a study with their results, cut out of its tidy tables, and the scores that they have.

A *cell* is a target with a regime and a subset seed. Everything here is about one cell and one ensemble size at a time.

Axis names: ``candidates``, ``size`` members of one candidate, ``seeds`` of fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray
from muster.errors import some_names
from muster.study.tables import CELL

Cell: TypeAlias = tuple[str, str, int]

MEAN = "mean"
"""What stands in place of a fine-tuning seed where results are the mean over seeds."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """All ensembles of one size that were evaluated in one cell, in the order of their members.

    Attributes:
        cell: Target, regime and subset seed.
        names: Every member that occurs, ascending.
        rows: For each candidate, ascending places among ``names``.
        seeds: Of fine-tuning, ascending.
        results: What the plain mean reaches after fine-tuning; NaN where a candidate was not evaluated with a seed.
        losses: Mean negative log probability on the validation images, likewise.
    """

    cell: Cell
    names: tuple[str, ...]
    rows: Int[NumpyArray, "candidates size"]
    seeds: tuple[int, ...]
    results: Float[NumpyArray, "candidates seeds"]
    losses: Float[NumpyArray, "candidates seeds"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Members of one candidate."""
        return int(self.rows.shape[1])

    @property
    def key(self) -> dict[str, object]:
        """The columns that name the cell and the size."""
        return {**dict(zip(CELL, self.cell, strict=True)), "size": self.size}

    def texts(self) -> list[str]:
        """The members of each candidate as tables have them: names between spaces."""
        names = np.array(self.names, dtype=object)
        return [" ".join(row) for row in names[self.rows].tolist()]

    def text(self, candidate: int) -> str:
        """The members of one candidate, likewise."""
        return " ".join(self.names[place] for place in self.rows[candidate])

    def full_seeds(self) -> Bool[NumpyArray, " seeds"]:
        """The seeds with the most candidates: where a second run covers a part of the pool, the first one alone.

        A mean over seeds that not all candidates have would compare numbers of different noise.
        """
        counts = np.isfinite(self.results).sum(axis=0)
        full: NumpyArray = counts == counts.max()
        return full

    def mean_results(self) -> Float[NumpyArray, " candidates"]:
        """Mean over :meth:`full_seeds`; NaN for a candidate that lacks one of them."""
        mean: NumpyArray = self.results[:, self.full_seeds()].mean(axis=1)
        return mean

    def named_results(self) -> dict[str, Float[NumpyArray, " candidates"]]:
        """The results by name: :data:`MEAN` over seeds, and each seed alone."""
        alone = {str(seed): self.results[:, place] for place, seed in enumerate(self.seeds)}
        return {MEAN: self.mean_results(), **alone}

    def only(self, kept: Bool[NumpyArray, " candidates"]) -> Candidates:
        """A part of the candidates; ``names`` stay."""
        return replace(self, rows=self.rows[kept], results=self.results[kept], losses=self.losses[kept])


@dataclass(frozen=True, eq=False)
class ScoreColumn:
    """What one metric says of the candidates of a cell with one probe seed.

    Attributes:
        probe_seed: Which probe set.
        predictor: Which predictor; empty where the metric uses none.
        metric: Which metric.
        values: Larger is better; NaN for a candidate without a score.
    """

    probe_seed: int
    predictor: str
    metric: str
    values: Float[NumpyArray, " candidates"]


def candidates_of(ensembles: pd.DataFrame) -> list[Candidates]:
    """Part the table of ensembles by cell and size.

    Args:
        ensembles: A study's table of this name.

    Returns:
        In the order of cells and sizes.

    Raises:
        ValueError: If a candidate occurs twice with one seed, or its members are not different names in order.
    """
    key = [*CELL, "size"]
    return [_candidates(values, table) for values, table in ensembles.groupby(key, sort=True)]


def _candidates(values: Sequence[object], table: pd.DataFrame) -> Candidates:
    target, regime, subset_seed, size = values
    cell = (str(target), str(regime), int(str(subset_seed)))
    require_once(table, ["finetuning_seed", "members"], f"ensembles of {cell}")
    texts = pd.Index(table["members"].unique())
    members = [str(text).split(" ") for text in texts]
    if wrong := [row for row in members if len(row) != size or sorted(set(row)) != row]:
        raise ValueError(f"Expected {size} different members in order in ensembles of {cell}, but got {wrong[0]}.")
    names = sorted({name for row in members for name in row})
    place = {name: index for index, name in enumerate(names)}
    rows = np.array([[place[name] for name in row] for row in members], dtype=np.int64)
    order = np.lexsort(rows.T[::-1])
    seeds = sorted(int(seed) for seed in table["finetuning_seed"].unique())
    wide = table.pivot(index="members", columns="finetuning_seed", values=["result", "validation_loss"])
    wide = wide.reindex(texts[order])
    results, losses = (wide[name][seeds].to_numpy(dtype=np.float64) for name in ("result", "validation_loss"))
    return Candidates(cell, tuple(names), rows[order], tuple(seeds), results, losses)


def require_once(table: pd.DataFrame, key: Sequence[str], what: str) -> None:
    """Refuse rows that say two things of one thing.

    Args:
        table: Any.
        key: Columns that name what a row is about.
        what: What to call the rows in a message.

    Raises:
        ValueError: If two rows have the same key.
    """
    twice = table[table.duplicated(list(key))]
    if len(twice):
        told = ", ".join(f"{name} {twice.iloc[0][name]!r}" for name in key)
        raise ValueError(f"Expected one row for each of {', '.join(key)} in {what}, but {told} has more.")


class Scores:
    """The table of scores, ready to be read for any candidates."""

    def __init__(self, scores: pd.DataFrame) -> None:
        """Part the table by cell.

        Args:
            scores: A study's table of this name.
        """
        scores = scores.assign(predictor=scores["predictor"].fillna(""))
        largest = scores.groupby(["predictor", "metric"], sort=False)["size"].max()
        # A score of single members has rows of size 1 everywhere; an ensemble's is their sum.
        self._summed = {key for key, size in largest.items() if size == 1}
        self._cells = dict(list(scores.groupby(list(CELL), sort=False)))

    def columns(self, candidates: Candidates) -> Iterator[ScoreColumn]:
        """What every metric says of some candidates.

        Args:
            candidates: Of one cell and size.

        Yields:
            By predictor, metric and probe seed, ascending; metrics without a score for any candidate are left out.

        Raises:
            ValueError: If a score is there twice.
        """
        table = self._cells.get(candidates.cell)
        if table is None:
            return
        require_once(table, ["probe_seed", "predictor", "metric", "members"], f"scores of {candidates.cell}")
        texts = pd.Index(candidates.texts())
        for (predictor, metric, probe_seed), rows in table.groupby(["predictor", "metric", "probe_seed"], sort=True):
            if (predictor, metric) in self._summed:
                values = _read(rows, pd.Index(candidates.names))[candidates.rows].sum(axis=1)
            else:
                values = _read(rows, texts)
            if np.isfinite(values).any():
                yield ScoreColumn(int(str(probe_seed)), str(predictor), str(metric), values)


def _read(rows: pd.DataFrame, texts: pd.Index) -> NumpyArray:
    """Scores of the named candidates, NaN where there is none."""
    places = texts.get_indexer(pd.Index(rows["members"]))
    values = np.full(len(texts), np.nan)
    known = places >= 0
    scores = rows["score"].to_numpy(dtype=np.float64)
    values[places[known]] = np.where(np.isfinite(scores), scores, np.nan)[known]
    return values


def facts_of(members: pd.DataFrame, names: Sequence[str], column: str) -> pd.Series:
    """What the table of members says of some members.

    Args:
        members: A study's table of this name.
        names: Members.
        column: Which fact.

    Returns:
        In the order of ``names``.

    Raises:
        ValueError: If a member is not in the table, or is there twice.
    """
    require_once(members, ["member"], "the table of members")
    known = members.set_index("member")[column]
    if missing := [name for name in names if name not in known.index]:
        raise ValueError(f"Expected all members in the table of members, but it lacks {some_names(missing)}.")
    return known.loc[list(names)]


def without_pool(table: pd.DataFrame, members: pd.DataFrame, pool: str | None) -> pd.DataFrame:
    """Leave out the candidates with members of one pool.

    Args:
        table: With a column ``members``.
        members: A study's table of members.
        pool: Its name, e.g. that of the large pool, whose members are no candidates; ``None`` leaves out nothing.

    Returns:
        The other rows.

    Raises:
        ValueError: If there is no such pool.
    """
    if pool is None:
        return table
    if pool not in set(members["pool"]):
        raise ValueError(f"Expected one of the pools {', '.join(sorted(set(members['pool'])))}, but got {pool!r}.")
    barred = set(members.loc[members["pool"] == pool, "member"])
    texts = pd.Series(table["members"].unique())
    kept = {text for text in texts if barred.isdisjoint(str(text).split(" "))}
    return table[table["members"].isin(kept)]
