"""Libraries whose import takes long, imported when they are first used: most commands and workers go without them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Late:
    """Stands for a module until one of its names is asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._module), name)

    def __repr__(self) -> str:
        return f"<{self._module}, imported at the first use>"


def late(module: str) -> Any:
    """A module that is imported at the first use of one of its names.

    It is for libraries that the type checker knows nothing of anyway, and that only some users of a module need.

    Args:
        module: Its name.

    Returns:
        Something with the module's names.

    Example:
        >>> late("json").loads("[1]")
        [1]
    """
    return _Late(module)
