"""MATLAB files of the older kind (up to version 7), which hold arrays and text and nothing that is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from muster.errors import DatasetError
from muster.user_files import open_regular


def read_matlab(path: Path) -> dict[str, Any]:
    """The variables of a file.

    Args:
        path: The file.

    Returns:
        Arrays by their names, dimensions of length 1 left out.

    Raises:
        DatasetError: If it cannot be read, or is no such file.
    """
    from scipy.io import loadmat  # here, as every folder that is opened is shown to every layout
    from scipy.io.matlab import MatReadError

    try:
        with open_regular(path):  # it would wait for a pipe, for instance
            found: dict[str, Any] = loadmat(path, squeeze_me=True)
            return found
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}. Is the download complete?") from error
    except (ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise DatasetError(f"{path} is no MATLAB file of a version up to 7: {error}. Download it again.") from error


def column_of(path: Path, content: dict[str, Any], name: str) -> list[Any]:
    """A variable as a list, one item a row.

    Args:
        path: The file, for messages.
        content: What :func:`read_matlab` found in it.
        name: Of the variable.

    Raises:
        DatasetError: If there is none of that name.
    """
    if name not in content:
        there = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
        raise DatasetError(f"{path}: expected the variable {name}, but it holds {there}.")
    column: list[Any] = np.atleast_1d(content[name]).tolist()
    return column
