"""Threads that share out loops compiled to run without the lock of the interpreter, and a count of what is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from muster.cancel import CancelToken
from muster.machine import available_cores

Item = TypeVar("Item")
Report = Callable[[int, int], None]


class Workers:
    """A few threads; one for each processor unless told otherwise.

    Leaving the ``with`` block by an exception drops what has not been started.
    """

    def __init__(self, threads: int | None = None) -> None:
        """Threads are started when first needed."""
        if threads is not None and threads < 1:
            raise ValueError(f"Expected `threads` to be at least 1, but got {threads}.")
        self.threads = threads or available_cores()
        self._executor = ThreadPoolExecutor(self.threads)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def each(self, task: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Run a task on every item, in any order, until all are done."""
        for _ in self._executor.map(task, items):
            pass

    def ranges(self, count: int, longest: int) -> Sequence[range]:
        """Cut 0..count-1 into ranges of at most ``longest``, shorter where that keeps every thread busy."""
        step = max(1, min(longest, -(-count // (4 * self.threads))))
        return [range(low, min(low + step, count)) for low in range(0, count, step)]


class Steps:
    """Tells a caller how far a search is. It may end before all steps that were foreseen are done."""

    def __init__(self, report: Report | None, total: int, cancel: CancelToken | None = None) -> None:
        """``total`` steps are foreseen; after each, ``cancel`` is asked whether to go on."""
        self._report, self._total, self._done = report, max(1, total), 0
        self._cancel = cancel or CancelToken()

    def step(self) -> None:
        """One more is done.

        Raises:
            Cancelled: If the search is to end.
        """
        self._done = min(self._done + 1, self._total)
        self._tell()
        self._cancel.check()

    def finish(self) -> None:
        """Nothing is left to do."""
        if self._done < self._total:
            self._done = self._total
            self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            self._report(self._done, self._total)
