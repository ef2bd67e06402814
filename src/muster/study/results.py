"""What a job of a study found: tables in a folder of its own, there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from muster.files import atomic_folder, to_builtin_types, write_yaml
from muster.training.finished import Finished, read_finished

RECORD = "done.yaml"


def is_there(folder: Path, description: str) -> bool:
    """Whether a job's result is there, of the same description.

    Args:
        folder: The job's.
        description: Digest of everything that the result depends on.
    """
    return read_finished(folder / RECORD, Finished, description) is not None


def write_tables(folder: Path, description: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Keep a job's tables.

    Args:
        folder: The job's; replaced if it exists.
        description: Digest of everything that they depend on.
        tables: By name.
    """
    with atomic_folder(folder) as partial:
        for name, table in tables.items():
            table.to_parquet(partial / f"{name}.parquet", index=False, compression="zstd")
        write_yaml(partial / RECORD, to_builtin_types(asdict(Finished(description))))


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """One of the tables of a job.

    Args:
        folder: The job's.
        name: Of the table.

    Returns:
        The table; an empty one without columns if the job is not done.
    """
    path = folder / f"{name}.parquet"
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame()
