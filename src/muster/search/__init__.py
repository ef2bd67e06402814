"""Search: strategies that look for the best candidate ensembles without scoring all of them.

:func:`score_ensembles`, which does score all of them, is in :mod:`muster.scoring` and named here too, because this is
where people look for it.
"""

from __future__ import annotations

from muster.scoring import score_ensembles
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.racing import racing
from muster.search.result import SearchResult, SearchStatus

__all__ = ["SearchResult", "SearchStatus", "beam", "greedy", "racing", "score_ensembles"]
