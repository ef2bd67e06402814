"""Run a measurement in a process of its own, so that peaks of memory are its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def apart(measure: Callable[..., dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Call a function in a new interpreter.

    Args:
        measure: A function of a module of this package; what it returns must be fit for JSON.
        options: Its arguments, fit for JSON.

    Returns:
        Its result.

    Raises:
        subprocess.CalledProcessError: If it fails; its output is on the standard error stream.
    """
    where = f"{measure.__module__}:{measure.__qualname__}"
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.apart", where, json.dumps(options)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def _main(where: str, options: str) -> None:
    module, name = where.split(":")
    print(json.dumps(getattr(import_module(module), name)(**json.loads(options))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
