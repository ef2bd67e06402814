"""What each way to get a model for a target costs, in seconds on one device: choosing, and fine-tuning.

Training of the pool is not counted: the members are there. What is evaluated on the test split is not either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from muster.study.measures.choices import StudiedChoice
from muster.study.measures.headline import CHOICE, LEARNED_HEAD
from muster.study.measures.static_orders import STATIC_ORDERS
from muster.study.tables import ALL_SCORES, CELL, RESULT, StudyTables

WITHOUT_CHOOSING = (*STATIC_ORDERS, "random", "greedy", "validation_loss", "best_single", "oracle", "pre_training_best")
"""Approaches for which no score is computed."""

ALL_FINETUNED = ("greedy", "validation_loss", "best_single", "oracle", "oracle_of_other_seeds")
"""Approaches that are known only after every member was fine-tuned."""


def approach_costs(gains: pd.DataFrame, tables: StudyTables, choice: StudiedChoice) -> pd.DataFrame:
    """Seconds of one choice, and of everything that one could have done instead.

    Args:
        gains: Of :func:`muster.study.measures.gains`.
        tables: Of the study.
        choice: Which one.

    Returns:
        ``approach`` (names as in :func:`muster.study.measures.standings`), ``target`` and ``seconds``: the mean over
        runs of choosing (where the approach looks at scores; all scores of the predictor together, which is more than
        one metric needs) and of fine-tuning its members, and for a learned head of learning it. Approaches that choose
        among fine-tuned members pay for all of them. Random pays for ``size`` average members.

    Raises:
        ValueError: If the study has no such choice.
    """
    own = choice.rows_of(gains)
    of_members, of_heads = _finetuning(tables), _heads(tables)
    costs = tables.costs[tables.costs["step"] == ALL_SCORES]
    of_choosing = costs.groupby([*CELL, "predictor"])["seconds"].mean().to_dict() if len(costs) else {}
    default = str(costs["predictor"].iloc[0]) if len(costs) else ""  # for metrics that use none
    rows = []
    for row in own.to_dict("records"):
        run = tuple(row[name] for name in RESULT)
        chosen = float(of_choosing.get((*run[:3], choice.predictor or default), 0.0))
        paid = {
            CHOICE: chosen + _sum_of(row["members"], of_members[run]),
            row["baseline"]: _of_baseline(row, of_members[run], chosen, _equal_cost(tables, run, row), choice.size),
        }
        if (head := of_heads.get((*run, row["members"]))) is not None:
            paid[LEARNED_HEAD] = paid[CHOICE] + head
        rows += [{"approach": name, "target": row["target"], "seconds": seconds} for name, seconds in paid.items()]
    means = pd.DataFrame(rows).dropna(subset=["seconds"]).groupby(["approach", "target"])["seconds"].mean()
    return means.reset_index()


def _finetuning(tables: StudyTables) -> dict[tuple[Any, ...], dict[str, float]]:
    """Seconds of each member's fit, by run."""
    return {
        tuple(run): dict(zip(part["member"], part["seconds"].astype(float), strict=True))
        for run, part in tables.finetuned.groupby(list(RESULT))
    }


def _heads(tables: StudyTables) -> dict[tuple[Any, ...], float]:
    keys = tables.heads[[*RESULT, "members"]].itertuples(index=False, name=None)
    return dict(zip(keys, tables.heads["seconds"].astype(float), strict=True))


def _equal_cost(tables: StudyTables, run: tuple[Any, ...], row: Mapping[Any, Any]) -> float:
    """Seconds of the single model that was given the cost of a row's ensemble."""
    if row["baseline"] != "equal_cost":
        return float("nan")
    there = tables.equal_cost[tables.equal_cost["members"] == row["members"]]
    for name, value in zip(RESULT, run, strict=True):
        there = there[there[name] == value]
    return float(there["seconds"].astype(float).mean())


def _of_baseline(
    row: Mapping[Any, Any], members: Mapping[str, float], choosing: float, equal_cost: float, size: int
) -> float:
    name = str(row["baseline"])
    chosen = 0.0 if name in WITHOUT_CHOOSING or name.startswith("pre_training:") else choosing
    if name == "equal_cost":
        return chosen + equal_cost
    if name == "random":
        return size * sum(members.values()) / len(members)
    if name in ALL_FINETUNED:
        return sum(members.values())
    return chosen + _sum_of(str(row["baseline_members"]), members)


def _sum_of(names: str, seconds: Mapping[str, float]) -> float:
    return sum(seconds.get(name, float("nan")) for name in names.split()) if names else float("nan")
