"""A table of what benchmarks found.

A row is made of each dictionary in a result that has one of these keys: ``seconds`` or ``milliseconds``, the same with
``plain_`` before and ``_extrapolated`` behind; ``times_faster`` or ``ratio``; ``peak_megabytes`` or
``megabytes_on_top``; and targets, ``most_`` or ``least_`` and the key that is meant; or of a search, ``missed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Content = dict[str, Any]

_EXTRAPOLATED = "_extrapolated"
_SIGNS = {"most": "<=", "least": ">="}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: Benchmark and part of it.
        time: That ours took.
        plain: That the plain version took.
        ratio: Of the two.
        memory: Peak of the process, or on top of what was there (with a plus sign).
        remarks: Targets, each with ``met`` or ``MISSED``; or why there is nothing to show.
    """

    name: str
    time: str = ""
    plain: str = ""
    ratio: str = ""
    memory: str = ""
    remarks: str = ""


def rows(results: Content) -> Iterator[Row]:
    """Lines for results.

    Args:
        results: Entries by name, as in a results file.

    Yields:
        Benchmark after benchmark. Targets are not judged where sizes were small; searches that missed nothing are
        counted only.
    """
    for name, entry in results.items():
        if "skipped" in entry:
            yield Row(name, remarks=f"skipped: {entry['skipped']}")
        elif entry.get("small"):
            for row in _rows(f"{name} (small)", entry["result"]):
                if (unjudged := replace(row, remarks="")) != Row(row.name):
                    yield unjudged
        else:
            yield from _rows(name, entry["result"])


def _rows(name: str, result: Content) -> Iterator[Row]:
    row = Row(name, _time(result), _time(result, "plain_"), _ratio(result), _memory(result), _remarks(result))
    if row != Row(name):
        yield row
    parts = {key: part for key, part in result.items() if isinstance(part, dict)}
    if searches := [part for part in parts.values() if "missed" in part]:
        never = sum(part["missed"] == 0 for part in searches)
        yield Row(name, remarks=f"{never} of {len(searches)} found the best candidate of every problem")
    for key, part in parts.items():
        if part.get("missed") != 0:
            yield from _rows(f"{name}: {key}", part)


def _time(result: Content, prefix: str = "") -> str:
    for unit, factor in (("seconds", 1.0), ("milliseconds", 1e-3)):
        for suffix, sign in (("", ""), (_EXTRAPOLATED, "~")):
            if isinstance(value := result.get(f"{prefix}{unit}{suffix}"), int | float):
                seconds = factor * value
                return sign + (f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms")
    return ""


def _ratio(result: Content) -> str:
    if "times_faster" in result:
        return f"{result['times_faster']} x faster"
    return f"{result['ratio']}" if "ratio" in result else ""


def _memory(result: Content) -> str:
    for key, sign in (("peak_megabytes", ""), ("megabytes_on_top", "+")):
        if key in result:
            return f"{sign}{result[key]:,} MB".replace(",", " ")
    return ""


def _remarks(result: Content) -> str:
    parts = []
    for name, limit in result.items():
        kind, _, key = name.partition("_")
        if kind not in _SIGNS:
            continue
        value = result.get(key, result.get(key + _EXTRAPOLATED))
        met = value is not None and (value <= limit if kind == "most" else value >= limit)
        parts.append(f"{key.replace('_', ' ')} {_SIGNS[kind]} {limit}: {'met' if met else 'MISSED'}")
    if "missed" in result:
        parts.append(f"missed in {result['missed']} of {result['count']}, {result['worst_rank']} better ones at most")
    return "; ".join(parts)


def show(content: Content, console: Console) -> None:
    """Print the table and the machines.

    Args:
        content: Of a results file.
        console: Where to.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    for heading in ("time", "plain", "ratio", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("targets and remarks")
    for row in rows(content["results"]):
        table.add_row(row.name, row.time, row.plain, row.ratio, row.memory, row.remarks)
    console.print(table)
    for machine in content["machines"]:
        console.print(", ".join(f"{key} {value}" for key, value in machine.items() if value is not None))
