"""What a worker process has to import, and what not."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("matplotlib", "jinja2", "muster.report", "muster.search", "muster.scoring", "muster.selection")


def imported_by(module: str, after: str = "sys") -> set[str]:
    code = f"import sys, {after}; before = {{*sys.modules}}; import {module}; print(*sorted({{*sys.modules}} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_training_worker_imports_neither_reports_nor_searches() -> None:
    # Lightning imports torchmetrics, and that imports matplotlib wherever it is installed: no work of ours.
    modules = imported_by("muster.training.pool_training, muster.training.source", after="pytorch_lightning")
    assert "muster.training.multi_source" not in modules  # of what trains, only what was asked for
    assert "muster.execution.local" in modules
    found = {name for name in modules if name.startswith(tuple(f"{each}." for each in HEAVY)) or name in HEAVY}
    assert found == set()


@pytest.mark.parametrize("command", ["select", "train", "predict"])
def test_a_command_that_trains_nothing_itself_imports_no_library_for_it(command: str) -> None:
    modules = imported_by(f"muster.commands.{command}, muster.models.families.small, muster.commands.cli")
    assert f"muster.commands.{command}" in modules
    assert not {"pytorch_lightning", "timm", "segmentation_models_pytorch", "torchvision", "wandb"} & modules


def test_a_worker_that_waits_imports_next_to_nothing() -> None:
    modules = imported_by("muster.execution.worker")
    assert not {"torch", "numpy", "yaml", "muster.errors"} & modules


def test_execution_knows_nothing_of_what_is_run() -> None:
    modules = imported_by("muster.execution.local")
    rooms = {name.split(".")[1] for name in modules if name.startswith("muster.")}
    assert not {"data", "models", "pool", "probe", "metrics", "tasks", "training", "selection", "report"} & rooms
