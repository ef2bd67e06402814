"""What some benchmarks need of the machine: without it they are skipped, and say why."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_VARIABLE = "MUSTER_BENCH_DIR"
"""Names the folder for what is written; the system's folder for temporary files if it is not set."""

_ROOM = 1.45
"""Free space that must be there, over what is written."""


class MissingRequirementError(Exception):
    """A benchmark cannot run here. The message says why."""


@contextmanager
def scratch_folder(gigabytes: float) -> Iterator[Path]:
    """An empty folder that is removed afterwards.

    Args:
        gigabytes: That will be written.

    Yields:
        The folder.

    Raises:
        MissingRequirementError: If there is too little space for it.
    """
    parent = Path(os.environ.get(FOLDER_VARIABLE) or tempfile.gettempdir())
    if not parent.is_dir():
        raise MissingRequirementError(f"{FOLDER_VARIABLE} names {parent}, which is no folder")
    free = shutil.disk_usage(parent).free / 1e9
    if free < _ROOM * gigabytes:
        raise MissingRequirementError(
            f"{parent} has {free:.1f} GB free, but {_ROOM * gigabytes:.1f} GB are needed; "
            f"name another folder with {FOLDER_VARIABLE}"
        )
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir=parent) as folder:
        yield Path(folder)
