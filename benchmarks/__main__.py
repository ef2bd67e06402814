"""``python -m benchmarks``: time muster's own work beside the plain way of doing it.

Figures of one machine mean little; ratios were measured side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.machine import describe_machine
from benchmarks.requirements import FOLDER_VARIABLE
from benchmarks.runner import BENCHMARKS, Content, empty, measure, merge, read, require_known, write
from benchmarks.summary import show
from muster.errors import OutputError

_WIDTH = 160
"""Of the table, where it does not go to a terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for.

    Args:
        arguments: Those of the command line unless given.

    Returns:
        Exit status: 1 if a benchmark failed, 130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list and (options.only or options.output or options.small):
        parser.error("--only, --output and --small have no effect with --list, which measures nothing")
    if options.list:
        print("\n".join(f"{name:22} {benchmark.about}" for name, benchmark in BENCHMARKS.items()))
        return 0
    try:
        names = options.only or list(BENCHMARKS)
        for name in names:
            require_known(name)
        old = read(options.output) if options.output else empty()
    except ValueError as error:
        parser.error(str(error))
    new = empty() | {"machines": [describe_machine()]}
    written = options.output is not None
    try:
        status = _run(names, options.small, lambda: write(options.output, merge(old, new)) if written else None, new)
    except OutputError as error:
        print(f"{error} What was measured is printed instead.", file=sys.stderr)
        status, written = 1, False
    if not written:
        print(json.dumps(new, indent=2))
    show(new, Console(stderr=not options.output, width=None if sys.stdout.isatty() else _WIDTH))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these; all of them otherwise")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="JSON file to put results in, by name; printed otherwise"
    )
    parser.add_argument("--small", action="store_true", help="at sizes that say nothing, to see that all of it runs")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.epilog = f"{FOLDER_VARIABLE} names a folder for the gigabytes that some of them write, and remove."
    return parser


def _run(names: Sequence[str], small: bool, save: Callable[[], None], into: Content) -> int:
    """Put entries into content and save it after each. One that fails does not keep the others from running."""
    status = 0
    try:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                into["results"][name] = measure(name, small)
            except Exception:
                traceback.print_exc()
                print(f"{name} failed; going on", file=sys.stderr)
                status = 1
            save()
    except KeyboardInterrupt:
        print("interrupted; what was measured before is kept", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
