"""What a worker process has to import, and what not."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("matplotlib", "jinja2", "muster.report", "muster.search", "muster.scoring", "muster.selection")


def imported_by(module: str, after: str = "sys") -> set[str]:
    code = f"import sys, {after}; before = {{*sys.modules}}; import {module}; print(*sorted({{*sys.modules}} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_training_worker_imports_neither_reports_nor_searches() -> None:
    # Lightning imports torchmetrics, and that imports matplotlib wherever it is installed: no work of ours.
    modules = imported_by("muster.training.pool_training", after="pytorch_lightning")
    assert "muster.training.source" in modules
    assert "muster.execution.local" in modules
    found = {name for name in modules if name.startswith(tuple(f"{each}." for each in HEAVY)) or name in HEAVY}
    assert found == set()


def test_a_worker_that_waits_imports_next_to_nothing() -> None:
    modules = imported_by("muster.execution.worker")
    assert not {"torch", "numpy", "yaml", "muster.errors"} & modules


def test_execution_knows_nothing_of_what_is_run() -> None:
    modules = imported_by("muster.execution.local")
    rooms = {name.split(".")[1] for name in modules if name.startswith("muster.")}
    assert not {"data", "models", "pool", "probe", "metrics", "tasks", "training", "selection", "report"} & rooms
