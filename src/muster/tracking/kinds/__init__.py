"""One file for each kind of logger; see :mod:`muster.tracking.kinds.kind`."""

from __future__ import annotations

from muster.tracking.kinds.kind import KINDS, PROJECT, Chart, Content, LoggerKind, Picture, Rows, Run

__all__ = ["KINDS", "PROJECT", "Chart", "Content", "LoggerKind", "Picture", "Rows", "Run"]
