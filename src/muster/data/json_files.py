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
    try:
        with open_regular(path) as file:
            content = json.loads(file.read())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys with values, but got {type(content).__name__}.")
    return content
