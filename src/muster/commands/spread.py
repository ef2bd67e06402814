"""Settings whose options a command takes by their own names: ``--size``, where a group would make ``--choice.size``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")

_MARK = "options without a group"

Spread: TypeAlias = Annotated[Settings, _MARK]
"""How a command marks such a parameter: ``settings: Spread[SelectionSettings]``. Any other dataclass is a group."""


def spread_parameters(function: Callable[..., Any]) -> dict[str, type[Any]]:
    """The parameters of a command that are marked so.

    Args:
        function: The command.

    Returns:
        By name of the parameter, the class of the settings.
    """
    hints = get_type_hints(function, include_extras=True)
    marked = {name: hint for name, hint in hints.items() if get_origin(hint) is Annotated}
    return {name: get_args(hint)[0] for name, hint in marked.items() if _MARK in get_args(hint)[1:]}
