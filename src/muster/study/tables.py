"""The tidy tables of a study: what every measure, table and figure is made from, and nothing else is.

A *cell* is a target, a regime and a seed of the subset of its training images. Seeds and names of members are the keys
by which tables go together; the members of an ensemble are their names between spaces, in ascending order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from muster.arrays import NumpyArray
from muster.data.spec import FIRST_TASK
from muster.errors import ConfigError
from muster.files import atomic_write
from muster.tasks.task import TASKS, Task

CELL = ("target", "regime", "subset_seed")
RESULT = (*CELL, "finetuning_seed")
PROBE = (*CELL, "probe_seed")

PRE_TRAINING, MULTI_SOURCE, SINGLE_SOURCE = "pre-training", "multi-source", "single-source"
"""Kinds of members: never trained to segment, trained on several datasets, on one."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "members": (
        *("member", "pool", "kind", "dataset", "domain", "architecture", "pretraining", "parameters", "depth"),
        *("train_images", "num_classes", "test_result", "task"),
    ),
    "targets": ("target", "domain", "num_classes", "train_images", "test_images", "task"),
    "cells": (*CELL, "train_images", "validation_images", "image_size", "pixels_per_image", "probe_images"),
    "finetuned": (
        *RESULT,
        *("member", "result", "validation_result", "validation_loss", "learning_rate", "steps", "seconds", "device"),
        *("error", "same_images"),
    ),
    "ensembles": (*RESULT, "size", "members", "result", "validation_loss", "validation_result", "error"),
    "scores": (*PROBE, "predictor", "metric", "size", "members", "score"),
    "heads": (*RESULT, "members", "plain_mean", "learned_head", "seconds", "kept"),
    "equal_cost": (*RESULT, "members", "member", "image_size", "steps", "result", "seconds"),
    "costs": (*PROBE, "predictor", "step", "metric", "size", "seconds"),
    "sweeps": (*PROBE, "setting", "value", "name", "predictor", "metric", "size", "members", "score"),
    "distances": ("target", "source", "assignment", "distance", "member", "kind"),
    "image_map": ("dataset", "domain", "image", "x", "y"),
    "hard_bins": (*PROBE, "wrapper", "source", "model", "predictor", "member", "bin", "accuracy"),
    "hard_bounds": (*PROBE, "wrapper", "source", "model", "member", "lower", "leep", "upper"),
    "hard_map": (*PROBE, "wrapper", "source", "model", "x", "y", "label", "is_hard"),
    "hard_images": (*PROBE, "wrapper", "source", "model", "extreme", "rank", "image", "jpeg"),
}
"""The columns of each table, see docs/studies.md."""

HARD_TABLES = ("hard_bins", "hard_bounds", "hard_map", "hard_images")
"""Tables about hard samples, of the first seed of the probe and the first predictor."""

LATER: dict[str, dict[str, str | int | float]] = {
    "costs": {"metric": "", "size": 0},
    "cells": {"pixels_per_image": 0, "probe_images": 0},
    "sweeps": {"name": ""},
    "heads": {"kept": 1},
    "targets": {"task": FIRST_TASK},
    "members": {"task": ""},
    "finetuned": {"error": float("nan"), "same_images": 0},
    "ensembles": {"error": float("nan")},
}
"""Columns that tables of older studies lack, and what stands there then."""

EARLIER_NAMES = {"miou": "result", "validation_miou": "validation_result", "test_miou": "test_result"}
"""What columns were called when all studies were of segmentation, and are called now."""

ALL_SCORES, ONE_METRIC, HARD_SUBSETS = "scores", "metric", "hard subsets"
"""Steps of the table ``costs``: all metrics of a predictor together, from the images on; one metric alone, warm, from
what the members make of the images; what is hard, for all sources, likewise (``metric`` is the wrapper)."""


@dataclass(frozen=True, eq=False)
class StudyTables:
    """All tables of a study; one that nothing is known for yet has its columns and no rows.

    Attributes:
        members: One row a member of the pools.
        targets: One row a target.
        cells: One row a cell.
        finetuned: One row a fine-tuned member: what it reached alone, how long it took; ``error`` is the error beside
            the result, such as the RMSE of depths (NaN where the target's task has none), and ``same_images`` is 1
            where the member saw images of the target in training, for another task.
        ensembles: One row an ensemble of fine-tuned members: the result of the mean of their predictions, by the task
            of the target, and the error beside it.
        scores: One row a score; larger is better. Metrics of single members have rows of size 1 only: an ensemble's
            score is the sum of its members'.
        heads: One row an ensemble with a learned head; ``kept`` is 0 where the plain mean stayed, as no head did better
            on held-out training images.
        equal_cost: One row a single model that was given the cost of an ensemble.
        costs: One row a step of choosing, or a metric (with candidates of one size), and how long it took.
        sweeps: One row a score with another setting of the probe; columns as of scores, and ``name``, what a ``value``
            that is a place in a list stands for.
        distances: One row a target, another dataset and a way to assign images to images; ``member`` is the network
            whose features they are of. Studies from before have none.
        image_map: One row an image of each dataset, and its place on a plane. Likewise.
        hard_bins: One row a member and a part of the samples, from the hardest on: how many its predictions name
            rightly. ``wrapper`` says which samples are hard, ``model`` is the member that says so for the ``source``.
            These and the next ones are there if a metric looks at hard subsets; studies from before have none.
        hard_bounds: One row a member: LEEP on the hard samples between its bounds.
        hard_map: One row a sample: its place on a plane, its class, and whether it is hard.
        hard_images: One row an image among the easiest and the hardest: a small copy of it as a JPEG file.
    """

    members: pd.DataFrame
    targets: pd.DataFrame
    cells: pd.DataFrame
    finetuned: pd.DataFrame
    ensembles: pd.DataFrame
    scores: pd.DataFrame
    heads: pd.DataFrame
    equal_cost: pd.DataFrame
    costs: pd.DataFrame
    sweeps: pd.DataFrame
    distances: pd.DataFrame
    image_map: pd.DataFrame
    hard_bins: pd.DataFrame
    hard_bounds: pd.DataFrame
    hard_map: pd.DataFrame
    hard_images: pd.DataFrame

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the targets, each once.

        Raises:
            ConfigError: If the study has no target, or a task is not known here.
        """
        if self.targets.empty:
            raise ConfigError("The table 'targets' of a study has no row, so its task is not known.")
        return tuple(TASKS[str(name)] for name in self.targets["task"].unique())

    def task_of(self, target: str) -> Task:
        """The task of one target."""
        return TASKS[str(self.targets.set_index("target")["task"][target])]

    @property
    def result(self) -> str:
        """What results are called; of several tasks, that of each."""
        names = [task.result for task in self.tasks]
        return names[0] if len(names) == 1 else f"result ({', '.join(names)})"

    @staticmethod
    def of(**tables: pd.DataFrame) -> StudyTables:
        """Tables by name; those that are left out are empty.

        Raises:
            ConfigError: If a table lacks a column.
        """
        return StudyTables(**{name: _complete(name, tables.get(name)) for name in COLUMNS})

    def write(self, folder: Path) -> None:
        """Write them as Parquet, each whole or not at all.

        Args:
            folder: Created if it is missing.
        """
        for field in fields(self):
            with atomic_write(folder / f"{field.name}.parquet") as partial:
                getattr(self, field.name).to_parquet(partial, index=False, compression="zstd")

    @staticmethod
    def read(folder: Path) -> StudyTables:
        """Read tables back, from Parquet or CSV.

        Args:
            folder: Where; of a study, or its folder ``tables``.

        Raises:
            ConfigError: If it has none, or a table cannot be read or lacks a column.
        """
        inner = folder / "tables" if (folder / "tables").is_dir() else folder
        if not any((inner / f"ensembles.{ending}").exists() for ending in ("parquet", "csv")):
            raise ConfigError(f"{folder} holds no tables of a study (ensembles.parquet). Give the folder of a study.")
        return StudyTables.of(**{name: found for name in COLUMNS if (found := _read(inner, name)) is not None})


def _read(folder: Path, name: str) -> pd.DataFrame | None:
    try:
        if (path := folder / f"{name}.parquet").is_file():
            return renamed(pd.read_parquet(path))
        if (path := folder / f"{name}.csv").is_file():
            return renamed(pd.read_csv(path, keep_default_na=False, na_values=[""]))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a table: {error}.") from error
    return None


def renamed(table: pd.DataFrame) -> pd.DataFrame:
    """A table of any age with the names that columns have now."""
    return table.rename(columns=EARLIER_NAMES)


def _complete(name: str, table: pd.DataFrame | None) -> pd.DataFrame:
    columns = list(COLUMNS[name])
    if table is None or (table.empty and not len(table.columns)):
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    later = LATER.get(name, {})
    if missing := [column for column in columns if column not in table and column not in later]:
        raise ConfigError(f"The table {name!r} of a study lacks the column(s) {', '.join(missing)}.")
    return _with_later(table, later)[columns].reset_index(drop=True)


def _with_later(table: pd.DataFrame, later: Mapping[str, str | int | float]) -> pd.DataFrame:
    """With the columns that it lacks, or that some of the tables that it was put together from lack."""
    filled = {}
    for column, value in later.items():
        given = table[column].astype(object) if column in table else pd.Series(value, table.index, dtype=object)
        filled[column] = given.where(given.notna(), value).astype(type(value))
    return table.assign(**filled)


def joined_names(names: Sequence[str], rows: Int[NumpyArray, "candidates size"]) -> list[str]:
    """The members of candidates as tables have them: their names between spaces.

    Args:
        names: Of all members.
        rows: Places of the members of each candidate.
    """
    known = np.array(names, dtype=object)
    return [" ".join(row) for row in known[rows]]


def with_keys(table: pd.DataFrame, keys: Mapping[str, str | int]) -> pd.DataFrame:
    """A table whose first columns say what it is about.

    Args:
        table: Any.
        keys: By column, the same for all rows.
    """
    return table.assign(**keys)[[*keys, *table.columns]].reset_index(drop=True)
