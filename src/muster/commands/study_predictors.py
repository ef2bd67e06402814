"""The command ``muster study predictors``: how well predictors agree with the fine-tuned mIoU of ensembles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console

from muster.commands.spread import Spread
from muster.commands.terminal import make_console
from muster.data import DataSettings
from muster.errors import ConfigError
from muster.execution.progress import QUIET_SECONDS
from muster.files import write_table, write_text
from muster.machine import resolve_device
from muster.output_kinds import COMPARISON
from muster.outputs import Inputs, claimed
from muster.selection.settings import ProbeSettings
from muster.study.predictors import TargetResult, compare_predictors, predictors_as_markdown
from muster.study.studied import StudiedCandidates, StudiedTarget, open_studied

TABLE, PAGE = "predictors.csv", "predictors.md"


def compare(
    targets: tuple[StudiedTarget, ...],
    output: Path,
    probe: ProbeSettings = ProbeSettings(),  # noqa: B008 (frozen)
    data: Spread[DataSettings] = DataSettings(),  # noqa: B008 (frozen)
    configuration: str = "",
) -> int:
    """Compare the scores of ensembles below each predictor with their fine-tuned mIoU.

    Nothing is trained: members look at the targets once more, and the results come from studies. After each target the
    tables of all targets so far are written.

    Args:
        targets: What was studied.
        output: Folder of the comparison: predictors.csv, predictors.md.
        probe: How members look at a target.
        data: Where the targets lie.
        configuration: The resolved configuration, saved as config.yaml.

    Returns:
        0; 130 if Ctrl-C came after the first target.
    """
    if not targets:
        raise ConfigError("targets: expected at least one.")
    resolve_device(probe.device, "probe.device")
    opened = [open_studied(studied, data.data_root) for studied in targets]
    inputs: dict[str, Path | str | None] = {"--data_root": data.data_root}
    for place, (given, studied) in enumerate(zip(targets, opened, strict=True)):
        own: Inputs = {"pool": given.pool, "target": studied.dataset.reference, "ensembles": given.ensembles}
        inputs |= {f"targets[{place}].{name}": path for name, path in own.items()}
    with claimed(output, COMPARISON, inputs):
        return _compare(opened, output, probe, configuration)


def _compare(opened: Sequence[StudiedCandidates], output: Path, probe: ProbeSettings, configuration: str) -> int:
    console, results = make_console(), list[TargetResult]()
    for place, studied in enumerate(opened):
        name, begin = studied.dataset.spec.name, time.monotonic()
        try:
            with _progress(console, f"{name} ({place + 1} of {len(opened)})") as progress:
                results.append(compare_predictors(studied, probe, progress))
        except KeyboardInterrupt:
            if not results:
                raise
            console.print(f"\nStopped. {output} has the targets before {name}.")
            return 130
        _write(output, results, configuration)
        console.print(f"{name}: {time.monotonic() - begin:.0f} s")
    console.print(predictors_as_markdown(results))
    return 0


@contextmanager
def _progress(console: Console, headline: str) -> Iterator[Callable[[str], None]]:
    """A line that is redrawn on a terminal, and now and then a new one anywhere else."""
    told = time.monotonic()

    def say(what: str) -> None:
        nonlocal told
        status.update(f"{headline}: {what}")
        if not console.is_terminal and time.monotonic() - told > QUIET_SECONDS:
            told = time.monotonic()
            console.print(f"{headline}: {what}")

    with console.status(headline) as status:
        yield say


def _write(output: Path, results: Sequence[TargetResult], configuration: str) -> None:
    write_table(output / TABLE, pd.DataFrame([asdict(row) for result in results for row in result.rows]))
    write_text(output / "config.yaml", configuration)
    write_text(output / PAGE, predictors_as_markdown(results))
