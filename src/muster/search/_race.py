"""A race of candidates: they are scored on a growing part of the pixels, and dropped when they are too far behind.

Axis names: ``candidates`` are sets of ``size`` members.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from muster.metrics.ties import largest_tie
from muster.scoring.cpu.candidate_subset import CandidateSubset
from muster.scoring.cpu.extension import MemberSet
from muster.scoring.cpu.workers import Steps
from muster.scoring.prediction_store import PredictionStore
from muster.search._grow import TOP_K
from muster.search.result import SearchResult, SearchStatus, best_first, result_of

_LEAST_PIXELS = 30
"""Pixels of each class that must have been seen before anything is dropped: of fewer, a share is no normal variable."""


class Race:
    """Candidates on the pixels seen so far."""

    def __init__(self, store: PredictionStore, metric: str, subset: CandidateSubset, confidence: float) -> None:
        """No pixel is seen yet; the best candidate stays with this confidence, which is explained at ``racing``."""
        self._store, self._metric, self._subset, self._confidence = store, metric, subset, confidence
        self._started = len(subset.seen.candidates)
        self._looks = _looks(len(store.chunks))
        self._counts = np.zeros(store.num_classes, dtype=np.int64)
        self._needed = np.minimum(np.bincount(store.labels, minlength=store.num_classes), _LEAST_PIXELS)

    @property
    def pixels(self) -> int:
        """How many pixels have been seen."""
        return self._subset.seen.pixels

    def run(self, steps: Steps) -> None:
        """See all pixels."""
        for number, chunk in enumerate(self._store.chunks, start=1):
            self._subset.add(chunk)
            self._counts += np.bincount(self._store.labels[chunk], minlength=self._store.num_classes)
            if number in self._looks and (self._counts >= self._needed).all():
                self._drop(chunk)
            steps.step()

    def _drop(self, newest: slice) -> None:
        """Drop what is too far behind; the newest chunk shows how much pixels differ."""
        scores = self._subset.scores()
        best = int(scores.argmax())
        of_pixel = self._subset.variance(newest, best)
        unseen = 1.0 - self.pixels / self._store.num_pixels
        errors = np.sqrt(of_pixel / self.pixels * unseen)
        tests = max(1, (self._started - 1) * len(self._looks))
        allowed = float(norm.isf((1.0 - self._confidence) / tests)) * errors + largest_tie(scores)
        behind = scores[best] - scores > allowed
        behind[best] = False
        self._subset.keep(~behind)

    def result(self) -> SearchResult:
        """What the race has come to."""
        sets: list[MemberSet] = [tuple(row) for row in self._subset.seen.candidates.tolist()]
        top_k = best_first(dict(zip(sets, self._subset.scores().tolist(), strict=True)), TOP_K)
        left, whole = len(sets), self.pixels == self._store.num_pixels
        status = SearchStatus(
            "racing",
            candidates=self._started,
            evaluated=self._started,
            bound=top_k[0][1] if whole and left == self._started else None,
            dropped=self._started - left,
            confidence=self._confidence,
            completeness="complete" if whole else "interrupted",
            fraction=self.pixels / self._store.num_pixels,
        )
        return result_of(self._metric, top_k, status)


def _looks(num_chunks: int) -> frozenset[int]:
    """After how many chunks candidates may be dropped: 1, 2, 4, ..., but not after all of them."""
    return frozenset(2**k for k in range(num_chunks.bit_length()) if 2**k < num_chunks)
