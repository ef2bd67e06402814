"""Search: which candidate ensembles there are, how each scores, which order that gives, and what was chosen.

:func:`muster.select` is in :mod:`muster.search.choose`, which this package does not import: scoring arrays should not
cost the import of model libraries.
"""

from __future__ import annotations

from muster.search.beam import beam
from muster.search.confidence import bootstrap_leaders
from muster.search.greedy import greedy
from muster.search.panel import Panel, PanelWriter
from muster.search.racing import racing
from muster.search.ranking import Ranking
from muster.search.result import SearchInterrupted, SearchResult
from muster.search.score import ScoringInterrupted, list_candidates, score_ensembles
from muster.search.selection import ProbeSettings, Selection, SelectionRecord

__all__ = [
    "Panel",
    "PanelWriter",
    "ProbeSettings",
    "Ranking",
    "ScoringInterrupted",
    "SearchInterrupted",
    "SearchResult",
    "Selection",
    "SelectionRecord",
    "beam",
    "bootstrap_leaders",
    "greedy",
    "list_candidates",
    "racing",
    "score_ensembles",
]
