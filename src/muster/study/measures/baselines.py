"""What one could do instead of choosing an ensemble by a metric.

Each baseline is a table with the columns that it depends on: a random candidate depends on the run of fine-tuning and
the size, the best single member by LEEP on the probe seed and the predictor, a single model of equal cost on the
ensemble itself. It is joined to the choices by those columns. Its own are ``baseline`` (the name),
``baseline_members`` (empty where it is none) and ``baseline_result``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from muster.arrays import NumpyArray
from muster.metrics.ties import first_best
from muster.study.measures.candidates import Candidates, candidates_of, require_once
from muster.study.measures.choice_tables import ChoiceTables
from muster.study.measures.greedy import greedy_ensemble
from muster.study.measures.static_orders import STATIC_ORDERS
from muster.study.tables import PRE_TRAINING, RESULT

BASELINES: dict[str, str] = {
    "b1": "B1: best single member by LEEP",
    "b1_head": "B1 with a learned head",
    "b1_large": "B1L: best single large member by LEEP",
    "single": "Best single member by the same metric",
    "equal_cost": "Single model of equal cost",
    "pre_training": "Straight from pre-training, chosen by the same metric",
    "pre_training_best": "Straight from pre-training, the best",
    **STATIC_ORDERS,
    "random": "Random (expected)",
    "greedy": "Greedy on fine-tuned validation loss",
    "validation_loss": "Best fine-tuned validation loss",
    "best_single": "Best single member",
    "oracle_of_other_seeds": "Best candidate of the other runs",
    "oracle": "Best candidate",
}
"""Titles by name. Besides there is ``pre_training:MEMBER`` for each network straight from pre-training."""

DEFAULT_PREDICTOR = "linear_probe"
"""B1 of a metric that uses no predictor is by LEEP of this one, if the study has it."""

_LEEP = "leep"
_PROBED = [*RESULT, "probe_seed"]


def all_baselines(tables: ChoiceTables) -> Iterator[pd.DataFrame]:
    """Every baseline that a study can tell.

    Args:
        tables: Of the study.

    Yields:
        Tables, each with the columns that it depends on and its own three.

    Raises:
        ValueError: If tables say two things of one candidate, lack a member, or there is no such large pool.
    """
    single = [*_PROBED, "predictor"]
    b1 = with_default_predictor(_by_leep(tables.single_choices))
    yield _chosen("b1", b1, single)
    # A head lifts a single member too: what an ensemble with one gains is told beside it.
    yield _chosen("b1_head", b1.assign(result=b1["learned_head"]).dropna(subset=["result"]), single)
    if tables.large_pool is not None:
        large = tables.single_choices_of("pool", tables.large_pool)
        yield _chosen("b1_large", with_default_predictor(_by_leep(large)), single)
    yield _chosen("single", tables.single_choices, [*single, "metric"])
    yield _chosen("pre_training", tables.single_choices_of("kind", PRE_TRAINING), [*single, "metric"])
    for name in STATIC_ORDERS:
        by_order = tables.choices[(tables.choices["metric"] == name) & (tables.choices["predictor"] == "")]
        yield _chosen(name, by_order, [*_PROBED, "size"])
    yield equal_cost(tables.equal_cost)
    yield _of_runs(_pre_trained, tables.singles_of("kind", PRE_TRAINING), RESULT)
    singles = tables.candidates[tables.candidates["size"] == 1]
    yield _of_runs(_best_single, singles, RESULT)
    yield _of_runs(_results, tables.candidates, [*RESULT, "size"])
    yield greedy(tables.candidates)


def _by_leep(chosen: pd.DataFrame) -> pd.DataFrame:
    return chosen[chosen["metric"] == _LEEP]


def with_default_predictor(chosen: pd.DataFrame) -> pd.DataFrame:
    """Give metrics that use no predictor the choice by one.

    Args:
        chosen: With a column ``predictor``, at most one row for each run, probe seed and predictor.

    Returns:
        Those rows, and those of :data:`DEFAULT_PREDICTOR` (of the first one if there is no such) with none.
    """
    known = sorted(set(chosen["predictor"]) - {""})
    if not known:
        return chosen
    default = DEFAULT_PREDICTOR if DEFAULT_PREDICTOR in known else known[0]
    named = chosen[chosen["predictor"] != ""]
    return pd.concat([named, named[named["predictor"] == default].assign(predictor="")])


def _chosen(baseline: str, chosen: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Choices as a baseline."""
    told = chosen[[*key, "members", "result"]].rename(
        columns={"members": "baseline_members", "result": "baseline_result"}
    )
    return told.assign(baseline=baseline)


def equal_cost(measured: pd.DataFrame | None) -> pd.DataFrame:
    """The single model that was given the cost of the very ensemble.

    Args:
        measured: A study's table of such models.

    Returns:
        By run and ``members`` of the ensemble. If several members were tried for one ensemble, their mean, since to
        take the best would look at the test split.

    Raises:
        ValueError: If a member was measured twice for one ensemble.
    """
    key = [*RESULT, "members"]
    if measured is None or measured.empty:
        return pd.DataFrame(columns=[*key, "baseline", "baseline_members", "baseline_result"])
    require_once(measured, [*key, "member"], "the table of single models of equal cost")
    of_one = measured.groupby(key)
    told = of_one["result"].mean().rename("baseline_result").to_frame()
    told["baseline_members"] = of_one["member"].first().where(of_one["member"].size() == 1, "")
    return told.reset_index().assign(baseline="equal_cost")


def greedy(ensembles: pd.DataFrame) -> pd.DataFrame:
    """Greedy ensembling of all members once they are fine-tuned.

    Args:
        ensembles: A study's table, without the large pool.

    Returns:
        By run and ``size``, the most members that it may take; nothing for a size if a smaller one was not studied.
    """
    rows: list[dict[str, object]] = []
    for run, table in ensembles.groupby(list(RESULT), sort=True):
        losses = dict(zip(table["members"], table["validation_loss"].astype(float), strict=True))
        results = dict(zip(table["members"], table["result"].astype(float), strict=True))
        names = [str(name) for name in table.loc[table["size"] == 1, "members"]]
        for size in sorted(table["size"].unique()):
            chosen = greedy_ensemble(losses, names, int(size))
            if chosen:
                text = " ".join(chosen)
                key = {**dict(zip(RESULT, run, strict=True)), "size": int(size)}
                rows.append({**key, **_told("greedy", text, results[text])})
    return pd.DataFrame(rows, columns=[*RESULT, "size", "baseline", "baseline_members", "baseline_result"])


def _told(baseline: str, members: str, result: float) -> dict[str, object]:
    return {"baseline": baseline, "baseline_members": members, "baseline_result": float(result)}


def _of_runs(
    tell: Callable[[Candidates, int], Iterator[dict[str, object]]], ensembles: pd.DataFrame, key: Sequence[str]
) -> pd.DataFrame:
    """What a function says of each run of each cell and size; it is given the candidates and the place of the seed."""
    rows = [
        {**candidates.key, "finetuning_seed": seed, **row}
        for candidates in candidates_of(ensembles)
        for place, seed in enumerate(candidates.seeds)
        for row in tell(candidates, place)
    ]
    return pd.DataFrame(rows, columns=[*RESULT, "size", "baseline", "baseline_members", "baseline_result"]).drop(
        columns=[name for name in ["size"] if name not in key]
    )


def _best(baseline: str, candidates: Candidates, by: NumpyArray, results: NumpyArray) -> dict[str, object]:
    """The candidate with the largest number, the first of equals."""
    known = np.flatnonzero(np.isfinite(by) & np.isfinite(results))
    chosen = int(known[first_best(by[known])])
    return _told(baseline, candidates.text(chosen), results[chosen])


def _pre_trained(candidates: Candidates, place: int) -> Iterator[dict[str, object]]:
    results = candidates.results[:, place]
    yield _best("pre_training_best", candidates, results, results)
    for text, result in zip(candidates.texts(), results, strict=True):
        if np.isfinite(result):
            yield _told(f"pre_training:{text}", text, result)


def _best_single(candidates: Candidates, place: int) -> Iterator[dict[str, object]]:
    results = candidates.results[:, place]
    yield _best("best_single", candidates, results, results)


def _results(candidates: Candidates, place: int) -> Iterator[dict[str, object]]:
    """What only those know who fine-tuned all members: the best, the mean, and what the validation images say."""
    results, losses = candidates.results[:, place], candidates.losses[:, place]
    yield _best("oracle", candidates, results, results)
    yield _told("random", "", float(np.nanmean(results)))
    if (np.isfinite(losses) & np.isfinite(results)).any():
        yield _best("validation_loss", candidates, -losses, results)
    others = np.delete(candidates.results, place, axis=1)
    if others.shape[1]:
        means = others.mean(axis=1)  # NaN for a candidate that another run lacks
        if (np.isfinite(means) & np.isfinite(results)).any():
            yield _best("oracle_of_other_seeds", candidates, means, results)
