"""What the jobs of a study have in common: a folder, mostly a cell, and a result that is there as a whole or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from muster.files import atomic_folder, to_builtin_types, write_yaml
from muster.study.tables import renamed
from muster.training.finished import Finished, read_finished

RECORD = "done.yaml"


@dataclass(frozen=True)
class StudyJob(ABC):
    """Something to do in a study.

    Attributes:
        folder: Where the result goes.
    """

    folder: Path

    @property
    def work(self) -> Path:
        """Where it works until the result is there."""
        return self.folder.with_name(f"{self.folder.name}.work")

    @abstractmethod
    def description(self) -> str:
        """A digest of everything that the result depends on."""

    def is_done(self) -> bool:
        """Whether its result is there, of the same description."""
        return read_finished(self.folder / RECORD, Finished, self.description()) is not None

    def write_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Keep what was found.

        Args:
            tables: By name.
        """
        with atomic_folder(self.folder) as partial:
            for name, table in tables.items():
                table.to_parquet(partial / f"{name}.parquet", index=False, compression="zstd")
            write_yaml(partial / RECORD, to_builtin_types(asdict(Finished(self.description()))))


@dataclass(frozen=True)
class CellJob(StudyJob):
    """Something to do on a cell.

    Attributes:
        cell: The file that says what the cell is.
    """

    cell: Path


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One of the tables of a job.

    Args:
        folder: The job's.
        name: Of the table.

    Returns:
        The table; an empty one without columns if the job is not done.
    """
    path = folder / f"{name}.parquet"
    return renamed(pd.read_parquet(path)) if path.is_file() else pd.DataFrame()
