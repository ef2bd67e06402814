"""Read the JSON files in which datasets are described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from muster.errors import DatasetError
from muster.user_files import open_regular


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        DatasetError: If it is missing, no regular file, no JSON, or holds something else.
    """
    content = _read(path)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys with values, but got {type(content).__name__}.")
    return content


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file that holds a list of objects.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        DatasetError: As :func:`read_json`.
    """
    content = _read(path)
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise DatasetError(f"{path}: expected a list of entries with keys, but got {type(content).__name__}.")
    return content


def _read(path: Path) -> Any:
    try:
        with open_regular(path) as file:
            content = json.loads(file.read())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}.") from error
    return content
