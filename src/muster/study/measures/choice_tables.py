"""The tables that choices and baselines are made from, and the choices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from muster.study.measures.candidates import without_pool
from muster.study.measures.choices import choices
from muster.study.measures.static_orders import static_orders
from muster.study.tables import StudyTables


@dataclass(frozen=True, eq=False)
class ChoiceTables:
    """What choices are made from and compared with.

    Attributes:
        scores: With those of :func:`muster.study.measures.static_orders`, if these are to be told.
        ensembles: All, those of the large pool too; single members as ensembles of size 1.
        members: All members.
        heads: Ensembles with a learned head, if there are any.
        equal_cost: Single models that were given an ensemble's cost, if there are any.
        large_pool: Name of the pool of large members, which are no candidates; ``None`` if there is none.
    """

    scores: pd.DataFrame
    ensembles: pd.DataFrame
    members: pd.DataFrame
    heads: pd.DataFrame | None = None
    equal_cost: pd.DataFrame | None = None
    large_pool: str | None = None

    @staticmethod
    def of(tables: StudyTables, large_pool: str | None = None) -> ChoiceTables:
        """Those of a study, with the static orders among the scores.

        Args:
            tables: Of the study.
            large_pool: As above.

        Returns:
            The tables.
        """
        orders = static_orders(tables.members, tables.finetuned, tables.scores)
        scores = pd.concat([each for each in (tables.scores, orders) if len(each)] or [tables.scores])
        return ChoiceTables(scores, tables.ensembles, tables.members, tables.heads, tables.equal_cost, large_pool)

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """The ensembles that may be chosen."""
        return without_pool(self.ensembles, self.members, self.large_pool)

    @cached_property
    def choices(self) -> pd.DataFrame:
        """What every metric chose, see :func:`muster.study.measures.choices`."""
        return choices(self.scores, self.candidates, self.heads)

    @cached_property
    def single_choices(self) -> pd.DataFrame:
        """The single member that every metric ranks first, of the same columns."""
        return self.choices[self.choices["size"] == 1]

    def single_choices_of(self, column: str, value: str) -> pd.DataFrame:
        """The same among the members with a fact, those of the large pool too.

        Args:
            column: Of the table of members.
            value: What stands there.

        Returns:
            The columns of :func:`muster.study.measures.choices`; empty if there is no such member.
        """
        return choices(self.scores, self.singles_of(column, value))

    def singles_of(self, column: str, value: str) -> pd.DataFrame:
        """Ensembles of one member with a fact, as a table of ensembles."""
        named = self.members.loc[self.members[column] == value, "member"]
        return self.ensembles[(self.ensembles["size"] == 1) & self.ensembles["members"].isin(named)]
