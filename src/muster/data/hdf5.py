"""MATLAB files of version 7.3, which are HDF5 files: opened once a process and read piece by piece."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from muster.errors import DatasetError
from muster.extras import needs_extra
from muster.user_files import require_regular


@lru_cache(maxsize=4)
def open_hdf5(path: Path) -> Any:
    """Open a file; loader processes are started anew or open it themselves.

    Args:
        path: The file.

    Returns:
        Its variables by their names, as ``h5py.File`` has them. MATLAB stores columns before rows.

    Raises:
        DatasetError: If it is no such file, or h5py is missing.
    """
    h5py = needs_extra("h5py", "matlab", f"{path} is read by h5py", DatasetError)
    try:
        require_regular(path)
        return h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} is no MATLAB file of version 7.3: {error}. Is the download complete?") from error
