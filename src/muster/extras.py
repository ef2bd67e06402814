"""Libraries that only some users need: imported where they are used, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from muster.errors import ConfigError


def needs_extra(module: str, extra: str) -> Any:
    """Import a library that an extra brings.

    Args:
        module: Its name.
        extra: What to install in square brackets, ``muster[extra]``.

    Returns:
        The module.

    Raises:
        ConfigError: If it is not installed.

    Example:
        >>> needs_extra("json", "none").loads("[1]")
        [1]
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f'{module} is needed here: pip install "muster[{extra}]" ({error}).') from error
