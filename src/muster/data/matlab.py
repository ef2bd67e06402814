"""MATLAB files of the older kind (up to version 7), which hold arrays and text and nothing that is run.

Axis names: ``h`` and ``w`` are the rows and columns of one mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from muster.data.mask_values import HIGHEST
from muster.data.orientation import Pixels
from muster.errors import DatasetError
from muster.user_files import open_regular

MATLAB_SUFFIX = ".mat"


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


def read_matlab_mask(path: Path, variable: str = "") -> Pixels:
    """Read a mask that is a variable of a file.

    Args:
        path: The file.
        variable: Its name, with dots for the fields of a structure (``GTcls.Segmentation``); by default the only
            variable that could be one.

    Returns:
        uint8 or uint16 ``[h, w]``, whatever numbers the file holds.

    Raises:
        DatasetError: If there is no such variable, several could be meant, or it is not a table of whole numbers from 0
            to 65535.
    """
    content = {name: value for name, value in read_matlab(path).items() if not name.startswith("__")}
    if variable:
        return _checked(path, variable, _field(path, variable, content))
    tables = [name for name, value in content.items() if np.ndim(value) == 2]
    if len(tables) != 1:
        raise DatasetError(
            f"{path}: expected one variable of rows and columns, but it holds {', '.join(tables) or 'none'}. Name the "
            "mask in dataset.yaml: 'mask_variable: NAME', or NAME.FIELD for a field of a structure."
        )
    return _checked(path, tables[0], content[tables[0]])


def _field(path: Path, variable: str, content: dict[str, Any]) -> Any:
    first, *fields = variable.split(".")
    if first not in content:
        raise DatasetError(f"{path}: expected the variable {first}, but it holds {', '.join(content) or 'nothing'}.")
    value = content[first]
    for field in fields:
        names = getattr(getattr(value, "dtype", None), "names", None) or ()
        if field not in names:
            raise DatasetError(f"{path}: {variable}: expected the field {field}, but got {', '.join(names) or 'none'}.")
        value = value[field].item() if value[field].dtype == object else value[field]
    return value


def _checked(path: Path, variable: str, value: Any) -> Pixels:
    table = np.asarray(value)
    kind = table.dtype.kind
    if table.ndim != 2 or kind not in "uif" or not table.size:
        raise DatasetError(
            f"{path}: expected {variable} to be a table of whole numbers, but it is {table.dtype} of shape "
            f"{table.shape}."
        )
    if (kind == "f" and (table != np.floor(table)).any()) or not 0 <= table.min() <= table.max() <= HIGHEST:
        raise DatasetError(
            f"{path}: expected {variable} to hold whole numbers from 0 to {HIGHEST}, but it holds numbers from "
            f"{table.min()} to {table.max()}."
        )
    return np.ascontiguousarray(table, np.uint8 if table.dtype == np.uint8 else np.uint16)
