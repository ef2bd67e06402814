"""What a study found: every measure of its tables, made once, for the page and its figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from muster.study.measures import (
    ALL,
    MEAN,
    ChoiceTables,
    Headline,
    StudiedChoice,
    agreement,
    ceiling,
    gains,
    headline,
    seed_agreement,
    standings,
    sweep_agreement,
    tau_and_time,
    without_pool,
)
from muster.study.settings import StudySettings
from muster.study.tables import StudyTables

DRAWS = 100
"""Bootstrap draws over members for each interval."""


@dataclass(frozen=True, eq=False)
class Findings:
    """The measures of a study; each is computed when it is first asked for.

    Attributes:
        tables: What was found.
        size: Members of the ensembles that are chosen.
        chooser: Predictor and metric of the choice that the page is about.
        large_pool: Name of the pool of large single models; ``None`` if there is none.
        draws: Bootstrap draws for intervals.
        capped_pool: Name of the pool of members that saw a limited number of images of their sources, if there is one.
    """

    tables: StudyTables
    size: int
    chooser: tuple[str, str]
    large_pool: str | None = None
    draws: int = DRAWS
    capped_pool: str | None = None

    @staticmethod
    def of(tables: StudyTables, settings: StudySettings) -> Findings:
        """Those of a study with some settings."""
        chooser = (
            settings.chooser(settings.heads[0]) if settings.heads else (settings.predictors[0], settings.metrics[0])
        )
        large = None if settings.large_pool is None else settings.large_pool.absolute().name
        capped = None if settings.capped_pool is None else settings.capped_pool.absolute().name
        return Findings(tables, settings.size, chooser, large, capped_pool=capped)

    @cached_property
    def _measured(self) -> ChoiceTables:
        tables, capped = self.tables, self.capped_pool
        if capped is None or capped not in set(tables.members["pool"]):  # none of it is eligible
            return ChoiceTables.of(tables, self.large_pool)
        ensembles = without_pool(tables.ensembles, tables.members, capped)
        members = tables.members[tables.members["pool"] != capped]
        finetuned = tables.finetuned[tables.finetuned["member"].isin(members["member"])]
        own = replace(tables, ensembles=ensembles, members=members, finetuned=finetuned)
        return ChoiceTables.of(own, self.large_pool)

    @property
    def scores(self) -> pd.DataFrame:
        """Those of the metrics, and of lists that never look at the target."""
        return self._measured.scores

    @property
    def candidates(self) -> pd.DataFrame:
        """Results of all that can be chosen."""
        return self._measured.candidates

    @property
    def choices(self) -> pd.DataFrame:
        """What every metric chose."""
        return self._measured.choices

    @cached_property
    def _compared(self) -> pd.DataFrame:
        """Of the sizes that the page tells: single members, and the ensembles that are chosen."""
        return self.candidates[self.candidates["size"].isin([1, self.size])]

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """How well every metric orders candidates; within strata too, there without intervals."""
        whole = agreement(self.scores, self._compared, draws=self.draws)
        parts = agreement(self.scores, self._compared, self.tables.members)
        return pd.concat([whole, parts[parts["stratum"] != ALL]], ignore_index=True)

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """How well two runs of fine-tuning agree."""
        return seed_agreement(self._compared, self.tables.members)

    @cached_property
    def ceiling(self) -> pd.DataFrame:
        """What a perfect metric would reach, by simulation."""
        return ceiling(self._compared, self.tables.members)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """Every choice beside every baseline."""
        return gains(self._measured)

    @cached_property
    def standings(self) -> pd.DataFrame:
        """The choice that the page is about and every baseline, in the first regime: see there."""
        predictor, metric = self.chooser
        named = predictor if predictor in set(self.main_gains["predictor"]) else ""
        return standings(self.gains, StudiedChoice(metric, named, self.size, self.first_regime))

    @cached_property
    def headline(self) -> Headline:
        """Who wins."""
        return headline(self.standings)

    @cached_property
    def main_gains(self) -> pd.DataFrame:
        """Those of the choice that the page is about."""
        predictor, metric = self.chooser
        rows = self.gains[(self.gains["metric"] == metric) & (self.gains["size"] == self.size)]
        return rows[rows["predictor"].isin([predictor, ""])]

    @cached_property
    def sweeps(self) -> pd.DataFrame:
        """How well metrics order candidates with other settings of the probe."""
        return sweep_agreement(self.tables, self._compared)

    def names_of(self, setting: str) -> dict[float, str]:
        """What values of a sweep stand for, where they are places in a list."""
        rows = self.tables.sweeps[self.tables.sweeps["setting"] == setting]
        named = rows[rows["name"] != ""][["value", "name"]].drop_duplicates()
        return {float(value): str(name) for value, name in named.itertuples(index=False, name=None)}

    def times(self, size: int) -> pd.DataFrame:
        """How well each metric orders candidates of one size, and how long it takes beside the page's."""
        return tau_and_time(self.agreement, self.tables.costs, size, self.chooser)

    @cached_property
    def first_regime(self) -> str:
        """The regime that figures of one regime show."""
        cells = self.tables.cells
        return str(cells["regime"].iloc[0]) if len(cells) else ""


def of_all(agreements: pd.DataFrame, size: int) -> pd.DataFrame:
    """The rows of a table of agreements that main tables show.

    Args:
        agreements: See :func:`muster.study.measures.agreement`.
        size: Members of a candidate.

    Returns:
        Over all candidates, with the mean over fine-tuning seeds.
    """
    return agreements[(agreements["size"] == size) & (agreements["stratum"] == ALL) & (agreements["result"] == MEAN)]
