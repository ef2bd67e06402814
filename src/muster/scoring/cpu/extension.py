"""Scores of sets with one more member, of every member at once: the step that greedy search and beam search repeat.

Axis names: ``bases`` are the sets that are extended, ``members`` those of the store, ``candidates`` sets of one size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray
from muster.metrics.ties import largest_tie
from muster.scoring.cpu.compiling import kernels
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.prediction_store import PredictionStore
from muster.search.result import best_first

MemberSet = tuple[int, ...]
"""Indices of members, ascending."""

_READ_BYTES = 2**20
"""Most that is read of one member at a time: it should stay in the second-fastest cache until it is used."""

_MEMBERS_AT_ONCE = 32
"""Members that a thread takes on before it looks for more to do."""


class Extensions(ABC):
    """Scores every set that extends a given one by a member.

    Attributes:
        num_members: Members there are.
        evaluated: Sets scored so far.
    """

    num_members: int
    evaluated: int

    @abstractmethod
    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """Scores of each base with each member, -inf where the member is in the base already.

        Args:
            bases: Sets, all of one size, which may be 0.

        Returns:
            float64. The sums over members that they rest on are rounded as if the new member came last, so a score may
            differ from the metric's by rounding.
        """


class IouExtensions(Extensions):
    """IoU-EEP and SoftIoU-EEP: each call reads the predictions of all members once, a part of a chunk at a time."""

    def __init__(self, store: PredictionStore, metric: str, workers: Workers, steps: Steps) -> None:
        """``steps`` is told of every part; there are :func:`count_parts` of them in each call."""
        self.num_members, self.evaluated = store.num_members, 0
        self._store, self._soft, self._workers, self._steps = store, metric == "soft_iou_eep", workers, steps
        self._backwards = False
        self._extend = kernels(store.dtype, "transpose", "add_extensions").add_extensions

    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """See :meth:`Extensions.scores`."""
        store = self._store
        totals = np.zeros((store.num_members, len(bases), 2, store.num_classes))
        parts = list(parts_of(store))
        # What was read last may still be in the system's memory if a store on disk is too large for all of it to be.
        for part in reversed(parts) if self._backwards else parts:
            self._add(part, bases, totals)
            self._steps.step()
        self._backwards = not self._backwards
        scores = mean_ious(totals, np.bincount(store.labels, minlength=store.num_classes) > 0).T
        self.evaluated += scores.size - _forbid_repeats(scores, bases)
        return scores

    def _add(self, part: slice, bases: Sequence[MemberSet], totals: NumpyArray) -> None:
        store, labels, size = self._store, self._store.labels[part], len(bases[0]) + 1
        sums, truths = self._sums(part, bases)

        def extend(members: range) -> None:
            said = np.empty((len(labels), store.num_classes), dtype=store.dtype)
            for member in members:
                read_member(store, member, part, said)
                self._extend(said, labels, sums, truths, size, self._soft, totals[member])

        self._workers.each(extend, self._workers.ranges(store.num_members, _MEMBERS_AT_ONCE))

    def _sums(self, part: slice, bases: Sequence[MemberSet]) -> tuple[NumpyArray, NumpyArray]:
        """Of each base's members, in ascending order: of all classes ``[bases, classes, pixels]``, of the true one."""
        store, labels = self._store, self._store.labels[part]
        used = sorted({member for base in bases for member in base})
        said = turned_block(store, np.array(used, dtype=np.int64), part, self._workers)
        place = {member: said[row] for row, member in enumerate(used)}
        sums = np.zeros((len(bases), store.num_classes, len(labels)), dtype=store.dtype)
        truths = np.zeros((len(bases), len(labels)))
        rows = np.arange(len(labels))
        for base, total, truth in zip(bases, sums, truths, strict=True):
            for member in base:
                total += place[member]
                truth += place[member][labels, rows]
        return sums, truths


class LogExtensions(Extensions):
    """E-LEEP, from what members give to the true classes alone."""

    def __init__(self, store: PredictionStore, size: int, workers: Workers, steps: Steps) -> None:
        """``size`` is that of the sets searched for; ``steps`` is told of every call of :meth:`scores`."""
        self.num_members, self.evaluated = store.num_members, 0
        self.truths = store.truths()
        self.offset = size * float(np.finfo(store.dtype).smallest_normal)
        self._together, self._sum_logs = factors_of(store.dtype), kernels(store.dtype, "sum_logs").sum_logs
        self._workers, self._steps = workers, steps

    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """See :meth:`Extensions.scores`; the logs' argument is not clamped but has a tiny constant added."""
        everyone = np.arange(self.num_members)
        scores = np.stack([self.log_sums(base, everyone) for base in bases]) - math.log(len(bases[0]) + 1)
        self.evaluated -= _forbid_repeats(scores, bases)
        self._steps.step()
        return scores

    def log_sums(self, base: MemberSet, members: Int[NumpyArray, " some"]) -> Float[NumpyArray, " some"]:
        """Mean over pixels of log(offset + sum over a base and one of the members).

        Args:
            base: The set that is extended.
            members: By which.

        Returns:
            float64, one number for each of ``members``.
        """
        total = self.truths[list(base)].sum(axis=0, dtype=np.float64)
        sums = np.empty(len(members))

        def add(some: range) -> None:
            part = slice(some.start, some.stop)
            self._sum_logs(self.truths, total, members[part], self.offset, self._together, sums[part])

        self._workers.each(add, self._workers.ranges(len(members), _MEMBERS_AT_ONCE))
        self.evaluated += len(members)
        mean: NumpyArray = sums / len(total)
        return mean


def extensions_of(store: PredictionStore, metric: str, size: int, workers: Workers, steps: Steps) -> Extensions:
    """What scores extensions by a metric; MS-LEEP needs none.

    Args:
        store: What members say.
        metric: ``e_leep``, ``iou_eep`` or ``soft_iou_eep``.
        size: Of the sets searched for.
        workers: Threads to run on.
        steps: Told of progress.

    Returns:
        The scorer.
    """
    if metric == "e_leep":
        return LogExtensions(store, size, workers, steps)
    return IouExtensions(store, metric, workers, steps)


def grow(extensions: Extensions, size: int, width: int) -> Iterator[dict[MemberSet, float]]:
    """Build sets member by member, keeping the best few of every size.

    Args:
        extensions: Scores them.
        size: Where to stop.
        width: How many sets of a size are extended.

    Yields:
        For sizes 1 to ``size``: the best extensions of what was kept, at least ``width`` of them if there are as many,
        best first, equal scores in lexicographic order.
    """
    bases: list[MemberSet] = [()]
    for _ in range(size):
        found = best_extensions(bases, extensions.scores(bases), max(width, LEADERS))
        yield found
        bases = list(found)[:width]


LEADERS = 10
"""Best sets that a search reports."""


def best_extensions(
    bases: Sequence[MemberSet], scores: Float[NumpyArray, "bases members"], count: int
) -> dict[MemberSet, float]:
    """The best of the sets that were scored.

    Args:
        bases: What was extended.
        scores: Of each base with each member; -inf for none.
        count: How many sets to return at most.

    Returns:
        Best first, equal scores in lexicographic order. A set that arises from several bases counts once.
    """
    flat = scores.ravel()
    # A set can come from as many bases as it has members; equals of the last must not be cut off at random.
    needed = min(count * (len(bases[0]) + 1), flat.size)
    least = np.partition(flat, flat.size - needed)[flat.size - needed]
    found: dict[MemberSet, float] = {}
    for place in np.flatnonzero((flat >= least - largest_tie(flat)) & (flat > -np.inf)):
        base, member = divmod(int(place), scores.shape[1])
        members = tuple(sorted((*bases[base], member)))
        found[members] = max(float(flat[place]), found.get(members, -np.inf))
    return dict(best_first(found, count))


def mean_ious(
    totals: Float[NumpyArray, "... 2 classes"], present: Bool[NumpyArray, " classes"]
) -> Float[NumpyArray, "..."]:  # noqa: UP037 (older jaxtyping wants text)
    """Mean over the present classes of hits / (hits + misses), 0 where both are 0."""
    hits, misses = totals[..., 0, :][..., present], totals[..., 1, :][..., present]
    whole = hits + misses
    shares = np.divide(hits, whole, out=np.zeros_like(hits), where=whole > 0)
    mean: NumpyArray = shares.mean(axis=-1)
    return mean


def factors_of(dtype: np.dtype[np.floating]) -> int:
    """How many numbers of a type, none below its smallest normal one, can be multiplied in float64."""
    return 8 if dtype == np.float32 else 1


def parts_of(store: PredictionStore, row_bytes: int = 0, most_bytes: int = _READ_BYTES) -> Iterator[slice]:
    """The store's pixels, chunk by chunk, in parts that fit into so much memory.

    Args:
        store: Whose.
        row_bytes: What a pixel takes; by default one member's predictions.
        most_bytes: What a part may take; it has at least 256 pixels all the same.

    Yields:
        Slices of pixels, in the store's order.
    """
    for chunk in store.chunks:
        yield from cut(chunk, row_bytes or store.num_classes * store.dtype.itemsize, most_bytes)


def cut(chunk: slice, row_bytes: int, most_bytes: int) -> Iterator[slice]:
    """One chunk in parts, as :func:`parts_of`."""
    step = max(256, most_bytes // row_bytes)
    for start in range(chunk.start, chunk.stop, step):
        yield slice(start, min(start + step, chunk.stop))


def count_parts(store: PredictionStore) -> int:
    """Into how many parts :func:`parts_of` cuts a store."""
    return sum(1 for _ in parts_of(store))


def read_member(store: PredictionStore, member: int, part: slice, into: Float[NumpyArray, "pixels classes"]) -> None:
    """Read what one member says about some pixels."""
    store._read(member, part.start, into)


def turned_block(
    store: PredictionStore, members: Int[NumpyArray, " some"], part: slice, workers: Workers
) -> Float[NumpyArray, "some classes pixels"]:
    """What some members say about some pixels, pixels last."""
    pixels = part.stop - part.start
    block = np.empty((len(members), store.num_classes, pixels), dtype=store.dtype)
    transpose = kernels(store.dtype, "transpose").transpose

    def read(rows: range) -> None:
        said = np.empty((pixels, store.num_classes), dtype=store.dtype)
        for row in rows:
            read_member(store, int(members[row]), part, said)
            transpose(said, block[row])

    workers.each(read, workers.ranges(len(members), _MEMBERS_AT_ONCE))
    return block


def _forbid_repeats(scores: Float[NumpyArray, "bases members"], bases: Sequence[MemberSet]) -> int:
    """Set the scores of a base with its own members to -inf; returns how many those are."""
    for row, base in zip(scores, bases, strict=True):
        row[list(base)] = -np.inf
    return sum(len(base) for base in bases)
