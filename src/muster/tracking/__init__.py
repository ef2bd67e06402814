"""Tracking: where a run writes its course. A tracker is a copy, never the record."""

from __future__ import annotations

from muster.tracking.kinds import KINDS, Chart, Content, LoggerKind, Run
from muster.tracking.loggers import (
    ALWAYS,
    LOGS,
    TrackingSettings,
    close_loggers,
    copy_tracked,
    make_loggers,
    send,
    tracked,
)

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
