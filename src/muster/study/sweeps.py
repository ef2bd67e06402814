"""Scores of a cell's candidates with other settings of the probe, for the same fine-tuned results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from muster.errors import ConfigError
from muster.records import parse_record
from muster.study.cells import Cell
from muster.study.results import CellJob
from muster.study.scores import ScoreJob, score_cell
from muster.study.settings import StudySettings
from muster.study.sweep_settings import HARD_EASY, HARD_FRACTION, HARD_MODEL, PROBES, SweepSettings
from muster.training.finished import digest_of

TASK = "muster.study.sweeps:sweep_job"
"""What a worker process is told to call."""

DRAWS = 10
"""Of easier samples (H22 A.5)."""


@dataclass(frozen=True)
class SweepJob(CellJob):
    """Values of one setting that a cell's members are scored with.

    Attributes:
        setting: Which setting.
        values: Which values.
        sweeps: Says which metrics it changes.
        scores: What is scored with the study's own setting.
    """

    setting: str
    values: tuple[float, ...]
    sweeps: SweepSettings
    scores: ScoreJob

    def description(self) -> str:
        """See :meth:`CellJob.description`."""
        names = [self._names(value) for value in self.values]
        facts: dict[str, object] = {"setting": self.setting, "values": self.values, "metrics": names}
        if any(called := [self.sweeps.name_of(self.setting, value) for value in self.values]):
            facts["names"] = called
        return digest_of({**facts, "scores": self.scores.description()})

    def tables(self, progress: Callable[[int], None]) -> Iterator[pd.DataFrame]:
        """The scores of one value after the other; predictions that stay the same are made once."""
        units = len(self.scores.members) * len(self.scores.predictors)
        for place, value in enumerate(self.values):
            names = self._names(value)
            told = partial(_tell, progress, place * units)
            scores = _mean_of([score_cell(job, told)["scores"] for job in self._jobs(value, tuple(names))])
            called = self.sweeps.name_of(self.setting, value)
            named = scores.assign(metric=scores["metric"].map(names), setting=self.setting, value=value, name=called)
            yield named[named["size"].isin(self.scores.sizes)]

    def _names(self, value: float) -> dict[str, str]:
        return self.sweeps.names(self.setting, value, self.scores.metrics)

    def _jobs(self, value: float, metrics: tuple[str, ...]) -> list[ScoreJob]:
        """One, or one for each draw where samples are drawn."""
        job = replace(self.scores, folder=self.folder, metrics=metrics)  # its folder: one cache for all values
        if self.setting in PROBES:
            return [replace(job, **{self.setting: int(value)})]  # type: ignore[arg-type]
        if self.setting == HARD_FRACTION:
            return [replace(job, hard_fraction=value)]
        if self.setting == HARD_MODEL:
            return [replace(job, hardness_model=(self.sweeps.name_of(HARD_MODEL, value),))]
        if self.setting == HARD_EASY and value > 0:
            return [replace(job, easy_share=value, easy_seed=seed) for seed in range(DRAWS)]
        return [job]


def _mean_of(draws: list[pd.DataFrame]) -> pd.DataFrame:
    """Scores, averaged over draws; all of them have the same rows."""
    first = draws[0]
    return first if len(draws) == 1 else first.assign(score=sum(each["score"] for each in draws) / len(draws))


def _tell(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def sweep_job(content: str, tell: Callable[[str], None]) -> str:
    """Score in a worker process.

    Args:
        content: A :class:`SweepJob` as JSON.
        tell: Takes how many members were looked at, as JSON.

    Returns:
        Nothing: the table lies in its folder.
    """
    job = parse_record(json.loads(content), SweepJob, "job", ConfigError)
    job.write_tables({"sweeps": pd.concat(job.tables(lambda done: tell(json.dumps([done, None]))), ignore_index=True)})
    return ""


def parts_of(settings: StudySettings, cell: Cell) -> list[tuple[str, tuple[float, ...]]]:
    """What is scored together: each value that takes another look at the images, and all values of other settings.

    Args:
        settings: Those of the study.
        cell: The study's own values, and more images than it has, are left out.

    Returns:
        Settings with values.
    """
    own = {"pixels_per_image": settings.pixels_per_image, "image_size": cell.image_size}
    parts = list[tuple[str, tuple[float, ...]]]()
    for setting in settings.sweeps.settings:
        values = [value for value in settings.sweeps.values(setting) if value != own.get(setting)]
        if setting == "train_images":
            looked_at = settings.probe_images or len(cell.train_images)
            values = [value for value in values if value < len(cell.train_images) and value != looked_at]
        parts += [(setting, (value,)) for value in values] if setting in PROBES else [(setting, tuple(values))]
    return parts


def part_name(setting: str, values: tuple[float, ...]) -> str:
    """Names the folder of what is scored together."""
    return f"{setting}-{values[0]:.0f}" if setting in PROBES else setting
