"""How long each metric takes, beside how well it orders candidates (B21's question of quality against time)."""

from __future__ import annotations

import pandas as pd

from muster.study.measures.candidates import MEAN
from muster.study.measures.strata import ALL
from muster.study.tables import ONE_METRIC

_SERIES = ["regime", "predictor", "metric"]


def metric_seconds(costs: pd.DataFrame, size: int) -> pd.DataFrame:
    """The time of each metric alone.

    Args:
        costs: A study's table of this name.
        size: Members of the candidates.

    Returns:
        ``regime``, ``predictor``, ``metric`` and ``seconds``: the mean over cells and probe seeds of what it takes to
        score all members (a metric of single members: sums over them take no time) or all candidates of this size.
        Running the members and making predictions of them is not in it.
    """
    rows = costs[costs["step"] == ONE_METRIC].astype({"seconds": float})
    listed = rows[rows["size"] == size]
    keys = ["predictor", "metric"]
    alone = rows[rows["size"] == 1].merge(rows[rows["size"] > 1][keys].drop_duplicates(), on=keys, how="left",
                                          indicator="of_ensembles")  # fmt: skip
    members = alone[alone["of_ensembles"] == "left_only"].drop(columns="of_ensembles")
    both = listed if size == 1 else pd.concat([listed, members])
    return both.groupby(_SERIES, sort=False)["seconds"].mean().reset_index()


def tau_and_time(
    agreement: pd.DataFrame, costs: pd.DataFrame, size: int, reference: tuple[str, str], value: str = "weighted_kendall"
) -> pd.DataFrame:
    """How well each metric orders candidates, and how long it takes beside one of them.

    Args:
        agreement: Of :func:`muster.study.measures.agreement`.
        costs: A study's table of this name.
        size: Members of the candidates.
        reference: Predictor and metric that the times are divided by.
        value: Which correlation.

    Returns:
        ``regime``, ``predictor``, ``metric``, the correlation (mean over cells), ``seconds`` and ``relative``. Metrics
        whose time or correlation is not known are left out, and regimes in which the reference has no time.
    """
    whole = agreement[
        (agreement["size"] == size) & (agreement["stratum"] == ALL) & (agreement["result"] == MEAN)
    ].dropna(subset=[value])
    means = whole.groupby(_SERIES, sort=False)[value].mean().reset_index()
    told = means.merge(metric_seconds(costs, size), on=_SERIES)
    predictor, metric = reference
    known = told[(told["metric"] == metric) & told["predictor"].isin([predictor, ""])]
    of_reference = known.set_index("regime")["seconds"]
    relative = told["seconds"] / told["regime"].map(of_reference).astype(float)
    return told.assign(relative=relative).dropna(subset=["relative"]).reset_index(drop=True)
