"""Libraries that only some users need: imported where they are used, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from muster.errors import ConfigError, MusterError


def needs_extra(module: str, extra: str, why: str = "", error: type[MusterError] = ConfigError) -> Any:
    """Import a library that an extra brings.

    Args:
        module: Its name.
        extra: What to install in square brackets, ``muster[extra]``.
        why: What it is for, in place of its name alone.
        error: What is raised.

    Returns:
        The module.

    Raises:
        MusterError: If it is not installed; of the class that was named.

    Example:
        >>> needs_extra("json", "none").loads("[1]")
        [1]
    """
    try:
        return import_module(module)
    except ImportError as cause:
        told = why or f"{module} is needed here"
        raise error(f'{told}: pip install "muster[{extra}]" ({cause}).') from cause
