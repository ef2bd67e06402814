"""One row of the table of odd inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.odd_inputs.bench import Bench


def _nothing(bench: Bench) -> None:
    """No further check."""


@dataclass(frozen=True)
class Case:
    """An odd input, the command that meets it, and what must come of it.

    Attributes:
        kind: What is odd about the input, in a few words; unique in the table.
        command: Makes the input in the bench's home, and says what is typed: the script and its arguments.
        words: All of these must be printed, whatever the line breaks.
        status: Exit status of the command: 2 for an input that is refused, 0 for one that is odd but fine.
        absent: None of these may be printed.
        result: Checks afterwards what lies on disk.
    """

    kind: str
    command: Callable[[Bench], Sequence[str]]
    words: tuple[str, ...]
    status: int = 2
    absent: tuple[str, ...] = ()
    result: Callable[[Bench], None] = _nothing
