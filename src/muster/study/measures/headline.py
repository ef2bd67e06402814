"""Who wins: the first thing that a study says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from muster.study.measures.choices import StudiedChoice
from muster.study.measures.intervals import LEVEL
from muster.study.measures.over_targets import PairedTest, paired_test
from muster.study.measures.static_orders import STATIC_ORDERS

CHOICE, LEARNED_HEAD = "choice", "learned_head"
"""The chosen ensemble itself: its plain mean, and with a learned head."""

CONTENDERS = (
    CHOICE,
    LEARNED_HEAD,
    "equal_cost",
    "b1",
    "b1_head",
    "b1_large",
    "single",
    "pre_training",
    *STATIC_ORDERS,
    "random",
)
"""What one can do before anything is fine-tuned. Greedy ensembling and oracles need all members fine-tuned, and the
best of several networks straight from pre-training is known only afterwards."""


@dataclass(frozen=True)
class Headline:
    """Who wins, and how surely.

    Attributes:
        winner: One of the contenders: the one with the highest mean over targets.
        second: The next best; ``None`` if there is only one.
        lead: Result of the winner less that of the second, over the targets that both have; ``None`` likewise.
        over_choice: Result of the winner less that of the choice; ``None`` if the choice wins.
        is_certain: Whether the interval of the lead is above 0.
    """

    winner: str
    second: str | None
    lead: PairedTest | None
    over_choice: PairedTest | None
    is_certain: bool


def standings(gains: pd.DataFrame, choice: StudiedChoice) -> pd.DataFrame:
    """Every way to get a model beside one choice, on each target.

    Args:
        gains: Of :func:`muster.study.measures.gains`.
        choice: Which one.

    Returns:
        ``approach`` (the choice, the choice with a learned head, every baseline), ``target``, ``result``, and
        ``over_choice``: the result less that of the choice in the same runs. Means over seeds.

    Raises:
        ValueError: If the study has no such choice.
    """
    own = choice.rows_of(gains)
    runs = own.drop_duplicates(["target", "subset_seed", "finetuning_seed", "probe_seed"])
    of_choice = runs.assign(approach=CHOICE, reached=runs["result"])
    of_heads = runs.assign(approach=LEARNED_HEAD, reached=runs["learned_head"])
    baselines = own.assign(approach=own["baseline"], reached=own["baseline_result"])
    told = pd.concat([of_choice, of_heads, baselines]).dropna(subset=["reached"])
    told["over_choice"] = told["reached"] - told["result"]
    means = told.groupby(["approach", "target"])[["reached", "over_choice"]].mean().reset_index()
    return means.rename(columns={"reached": "result"})


def headline(standings: pd.DataFrame, contenders: Sequence[str] = CONTENDERS, level: float = LEVEL) -> Headline:
    """Name the approach with the highest mean over targets, whichever it is.

    An approach that was measured on some targets only is compared with the others by how far it was above the choice
    there, so that easy targets do not make a winner.

    Args:
        standings: Of :func:`standings`.
        contenders: Which approaches count; those that the study does not have are passed over.
        level: Of the interval of the lead, in 0..1.

    Returns:
        The winner, the second and the lead between them.

    Raises:
        ValueError: If there is none of the contenders.
    """
    wide = standings[standings["approach"].isin(contenders)].pivot(
        index="target", columns="approach", values="over_choice"
    )
    if wide.empty:
        raise ValueError(f"Expected one of {', '.join(contenders)} among the approaches.")
    means = wide.mean()
    order = sorted(means.index, key=lambda name: (-means[name], list(contenders).index(name)))
    winner, second = str(order[0]), str(order[1]) if len(order) > 1 else None
    lead = None if second is None else _difference(wide, winner, second, level)
    over_choice = None if winner == CHOICE else _difference(wide, winner, CHOICE, level)
    return Headline(winner, second, lead, over_choice, lead is not None and lead.low > 0)


def _difference(wide: pd.DataFrame, first: str, second: str, level: float) -> PairedTest | None:
    """On the targets that have both; ``None`` if there is none."""
    if second not in wide:
        return None
    differences = (wide[first] - wide[second]).dropna()
    return paired_test(differences.tolist(), level) if len(differences) else None
