"""Tracking: where a run writes its course. A tracker is a copy, never the record.

Settings are here; all else is loaded when it is first asked for, since it imports Lightning, which takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from muster.tracking.settings import ALWAYS, LOGS, TrackingSettings, copy_tracked

if TYPE_CHECKING:
    from muster.tracking.kinds import KINDS, Chart, Content, LoggerKind, Run
    from muster.tracking.loggers import close_loggers, make_loggers, send, tracked

__all__ = [
    "ALWAYS",
    "KINDS",
    "LOGS",
    "Chart",
    "Content",
    "LoggerKind",
    "Run",
    "TrackingSettings",
    "close_loggers",
    "copy_tracked",
    "make_loggers",
    "send",
    "tracked",
]

_OF_KINDS = frozenset({"KINDS", "Chart", "Content", "LoggerKind", "Run"})


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'muster.tracking' has no attribute {name!r}")
    return getattr(import_module(f"muster.tracking.{'kinds' if name in _OF_KINDS else 'loggers'}"), name)
