"""What A22 shows of a study: its table 3, its column of table 1, and what figures 4 to 7 are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from muster.study.papers.frames import mean_over_finetuning_seeds, require_columns, require_values
from muster.study.tables import CELL, PRE_TRAINING

AVERAGE = "Average"
"""Last row of tables over targets."""

MEASURES = ("weighted_kendall", "kendall", "pearson")
"""Correlations in the order of table 3."""

MEASURE_TITLES = {"weighted_kendall": "weighted Kendall tau", "kendall": "Kendall tau", "pearson": "Pearson"}

METRICS = ("base", "ms_leep", "e_leep", "iou_eep", "soft_iou_eep")
"""Metrics in the order of table 3."""

ENSEMBLE_SIZE = 3
"""Members of an ensemble in A22's tables."""


def correlation_table(
    correlations: pd.DataFrame, metrics: Sequence[str] = METRICS, measures: Sequence[str] = MEASURES
) -> pd.DataFrame:
    """How well metrics order the candidates of each target (A22, table 3).

    Args:
        correlations: ``target``, ``metric`` and a column per measure, as from
            :func:`muster.study.measures.agreement`; choose one size, stratum, result and predictor first. Several rows
            of a target and metric (regimes, seeds of the subset) are averaged.
        metrics: Which, in the order of the columns.
        measures: Which, likewise.

    Returns:
        One row a target, in the order of the frame, and :data:`AVERAGE`, the mean over targets; columns
        ``(measure, metric)``. NaN where a correlation is not defined, and such a target is left out of the average.

    Raises:
        ValueError: If a metric or a column is not there.
    """
    require_columns("correlations", correlations, ["target", "metric", *measures])
    require_values("metrics", correlations, "metric", metrics)
    chosen = correlations[correlations["metric"].isin(metrics)]
    means = chosen.groupby(["target", "metric"], sort=False)[list(measures)].mean()
    targets = list(dict.fromkeys(chosen["target"]))
    columns = {
        (measure, metric): [means[measure].get((target, metric), float("nan")) for target in targets]
        for measure in measures
        for metric in metrics
    }
    return with_average(pd.DataFrame(columns, index=pd.Index(targets, name="target")))


def with_average(table: pd.DataFrame) -> pd.DataFrame:
    """A table over targets with the mean of its rows below them.

    Args:
        table: One row a target; numbers only.

    Returns:
        The table with the row :data:`AVERAGE`; NaN is left out of a mean.
    """
    whole = table.copy()
    whole.loc[AVERAGE] = table.mean()
    return whole


def setup_column(members: pd.DataFrame, ensembles: pd.DataFrame, size: int = ENSEMBLE_SIZE) -> dict[str, str]:
    """What a study compares, as a column of A22's table 1.

    Args:
        members: Of a study.
        ensembles: Of a study.
        size: Members of a candidate.

    Returns:
        By the names of the rows: numbers of source datasets, pre-training schemes, architectures, source models and
        candidates of a target; ``10-15`` where targets differ.
    """
    require_columns("members", members, ["member", "kind", "dataset", "pretraining", "architecture"])
    require_columns("ensembles", ensembles, ["target", "size", "members"])
    about = members.drop_duplicates("member").set_index("member")
    counts: dict[str, list[int]] = {}
    for _, part in ensembles[ensembles["size"] == size].groupby("target"):
        names = {name for text in part["members"].unique() for name in str(text).split()}
        there = about.loc[sorted(names)]
        sources = {name for text in there.loc[there["kind"] != PRE_TRAINING, "dataset"] for name in str(text).split()}
        found = {
            "source datasets": len(sources),
            "pre-training schemes": there["pretraining"].nunique(),
            "model architectures": there["architecture"].nunique(),
            "source models": len(there),
            "candidates": part["members"].nunique(),
        }
        for row, count in found.items():
            counts.setdefault(row, []).append(int(count))
    return {row: _range(values) for row, values in counts.items()}


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def gains_over(results: pd.DataFrame, choice: str, baselines: Sequence[str]) -> pd.DataFrame:
    """What the chosen ensemble gains over each baseline (A22 5.2 and figure 4).

    Args:
        results: ``target``, ``choice`` (who: the ensemble, ``B1``, ``B1L``, ...) and ``result``; several rows of a
            target and choice (seeds) are averaged.
        choice: Who is compared.
        baselines: With whom.

    Returns:
        One row a target and :data:`AVERAGE`: the result of ``choice`` and of each baseline, and ``gain over NAME``, per
        cent of the baseline's result. The average of a gain is the mean of the gains, as in A22. NaN where a target has
        no such baseline.

    Raises:
        ValueError: If there is no such choice.
    """
    require_columns("results", results, ["target", "choice", "result"])
    require_values("baselines", results, "choice", [choice, *baselines])
    wide = results.pivot_table(index="target", columns="choice", values="result", sort=False)
    table = wide[[*baselines, choice]].copy()
    for name in baselines:
        table[f"gain over {name}"] = 100 * (table[choice] / table[name] - 1)
    return with_average(table.rename_axis(columns=None))


def best_of_each_size(ensembles: pd.DataFrame) -> pd.DataFrame:
    """How much the best ensemble of each size gains over the best single member (A22, appendix C and figure 7).

    Args:
        ensembles: Of a study; of sizes from 1.

    Returns:
        ``target``, ``regime``, ``size``, ``best`` (its result), ``gain`` (per cent of the best of size 1; mean over
        seeds of the subset) and ``candidates``. The best is chosen by its test result, the mean over
        fine-tuning seeds, so that with more candidates it is the more flattered.
    """
    require_columns("ensembles", ensembles, [*CELL, "size", "members", "result"])
    results = mean_over_finetuning_seeds(ensembles, "members")
    results = results.assign(size=[len(str(names).split()) for names in results["members"]])
    cells = results.groupby([*CELL, "size"])["result"].agg(best="max", candidates="size").reset_index()
    single = cells[cells["size"] == 1][[*CELL, "best"]].rename(columns={"best": "single"})
    cells = cells.merge(single, on=[*CELL])
    cells = cells.assign(gain=100 * (cells["best"] / cells["single"] - 1))
    means = cells.groupby(["target", "regime", "size"], sort=False)
    return means.agg(best=("best", "mean"), gain=("gain", "mean"), candidates=("candidates", "max")).reset_index()


def chosen_sources(chosen: Mapping[str, str], members: pd.DataFrame) -> pd.DataFrame:
    """Which members were chosen for each target, by what they are (A22, figure 5).

    Args:
        chosen: The names of the chosen members between spaces, by target.
        members: Of a study.

    Returns:
        One row per target and chosen member: ``target``, ``member``, ``dataset``, ``domain``, ``architecture``,
        ``pretraining``, ``kind``.

    Raises:
        ValueError: If a chosen member is not in ``members``.
    """
    columns = ["member", "dataset", "domain", "architecture", "pretraining", "kind"]
    require_columns("members", members, columns)
    rows = [{"target": target, "member": name} for target, names in chosen.items() for name in names.split()]
    frame = pd.DataFrame(rows, columns=["target", "member"])
    require_values("chosen", members, "member", list(frame["member"]))
    return frame.merge(members[columns].drop_duplicates("member"), on="member", how="left")


def ensemble_and_members(
    chosen: Mapping[str, str], ensembles: pd.DataFrame, heads: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What the chosen ensemble reached beside its members (A22, figure 6).

    Args:
        chosen: As for :func:`chosen_sources`.
        ensembles: Of a study, of one regime; seeds are averaged.
        heads: Of a study, for the learned head; optional.

    Returns:
        One row a target: ``members``, ``results`` (a tuple, in their order), ``plain_mean``, ``learned_head`` (NaN if
        unknown), ``over_best`` and ``over_worst``: how much the ensemble, with its learned head if there is one, gains
        over its best and its worst member, per cent.

    Raises:
        ValueError: If the chosen ensemble or one of its members has no result.
    """
    require_columns("ensembles", ensembles, ["target", "members", "result"])
    results = ensembles.groupby(["target", "members"])["result"].mean()
    learned = None if heads is None else heads.groupby(["target", "members"])["learned_head"].mean()
    rows: list[dict[str, Any]] = []
    for target, names in chosen.items():
        missing = [each for each in (names, *names.split()) if (target, each) not in results.index]
        if missing:
            raise ValueError(
                f"Expected a result of {missing[0]!r} on target {target!r} in `ensembles`, but found none."
            )
        singles = tuple(float(results[target, name]) for name in names.split())
        head = float("nan") if learned is None else float(learned.get((target, names), float("nan")))
        plain = float(results[target, names])
        whole = plain if head != head else head
        gains = {"over_best": 100 * (whole / max(singles) - 1), "over_worst": 100 * (whole / min(singles) - 1)}
        rows.append({"target": target, "members": names, "results": singles, "plain_mean": plain, "learned_head": head}
                    | gains)  # fmt: skip
    return pd.DataFrame(rows)
