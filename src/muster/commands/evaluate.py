"""The command ``muster evaluate``: fine-tuned ensembles on the test split of a labelled dataset, side by side."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from muster.commands.newest import newest_ensemble
from muster.commands.predict import IDLE_HARDWARE, run_folder
from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.commands.words import Asked
from muster.data import DataSettings, open_dataset, require_usable
from muster.errors import ConfigError
from muster.files import write_table
from muster.launch import only_helps
from muster.tasks.task import in_classes, task_of
from muster.training.finetuned_ensemble import load_ensemble
from muster.training.hardware import Hardware
from muster.training.side_by_side import Evaluated, evaluate_side_by_side, evaluated_as_markdown

_CLASS = "iou "
"""Begins the columns of classes in the table."""


def evaluate(
    target: str,
    ensemble: Path | None = None,
    beside: tuple[Path, ...] = (),
    table: Path | None = None,
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    asked: Asked = Asked(),  # noqa: B008 (frozen)
) -> int:
    """Evaluate a fine-tuned ensemble on the test split of a dataset, and others beside it on the same images.

    Masks count at their stored size, whatever the ensembles look at. A difference from the first ensemble comes with a
    95 % interval of a paired bootstrap over the test images; it says nothing of other training seeds or images.

    Args:
        target: A folder, or worlds/NAME, of the classes that the ensembles tell apart.
        ensemble: What to evaluate: a folder that finetune.py or muster distil wrote; by default the newest run below
            runs/finetunings.
        beside: Others, which are compared with it.
        table: Keep the results as a CSV file, with the IoU of each class.
        data: Where datasets lie.
        hardware: What to compute on.
        asked: What the user gave: an option without effect is refused.

    Returns:
        0.

    Raises:
        ConfigError: If an ensemble is not for the classes of the dataset.
    """
    asked.require_effect(IDLE_HARDWARE, "on evaluation, which takes one device")
    if only_helps():
        return 0
    paths = [ensemble or newest_ensemble(), *beside]
    names = _names(paths)
    dataset = open_dataset(target, data.data_root)
    require_usable(in_classes(dataset.test))
    device = hardware.resolved_device()
    opened = {name: load_ensemble(path, device, hardware.precision) for name, path in zip(names, paths, strict=True)}
    rows = evaluate_side_by_side(opened, dataset.test)
    console = make_console()
    task = task_of(dataset.spec)
    size = "" if task.is_pooled else ", masks at their stored size"
    console.print(f"{task.samples(len(dataset.test), 'test')} of {dataset.spec.name}{size}.")
    console.print(evaluated_as_markdown(rows, task), markup=False, soft_wrap=True)
    if table is not None:
        _write(table, rows, dataset.spec.classes)
    return 0


def _names(paths: list[Path]) -> list[str]:
    """What ensembles are called: the names of their runs, or their paths if those are alike."""
    runs = [run_folder(path).resolve() for path in paths]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise ConfigError(f"--beside: expected ensembles that differ, but got {', '.join(names)}.")
    return names


def _write(table: Path, rows: list[Evaluated], classes: tuple[str, ...]) -> None:
    plain = [each.name for each in fields(Evaluated) if each.name != "class_ious"]
    lines = [
        {name: asdict(row)[name] for name in plain}
        | {f"{_CLASS}{name}": iou for name, iou in zip(classes, row.class_ious, strict=True)}
        for row in rows
    ]
    write_table(table, pd.DataFrame(lines))
