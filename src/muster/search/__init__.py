"""Search: which candidate ensembles there are, how each scores, which order that gives, and what was chosen.

:func:`muster.select` is in :mod:`muster.search.choose`, which this package does not import: scoring arrays should not
cost the import of model libraries.
"""

from __future__ import annotations

from muster.search.ranking import Ranking
from muster.search.score import list_candidates, score_ensembles
from muster.search.selection import ProbeSettings, Selection, SelectionRecord

__all__ = [
    "ProbeSettings",
    "Ranking",
    "Selection",
    "SelectionRecord",
    "list_candidates",
    "score_ensembles",
]
