"""Experiments that compare what metrics predict with what fine-tuning reaches.

``settings`` and ``plan`` say what there is to do, ``steps`` in which order, ``fits``, ``evaluation``, ``scores`` and
``heads`` do it, ``run`` runs them. ``tables`` are what is known in the end; ``measures`` and ``papers`` read only them.
"""

from __future__ import annotations

from muster.study.settings import Regime, StudySettings
from muster.study.tables import StudyTables

__all__ = ["Regime", "StudySettings", "StudyTables"]
