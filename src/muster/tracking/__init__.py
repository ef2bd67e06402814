"""Tracking: where a fit writes its course. A tracker is a copy, never the record."""

from __future__ import annotations

from muster.tracking.loggers import LoggerKind, TrackingSettings, close_loggers, make_logger, tracking_mode

__all__ = ["LoggerKind", "TrackingSettings", "close_loggers", "make_logger", "tracking_mode"]
