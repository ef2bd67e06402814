"""How well scores of single models agree with results, as B21 measures it (tables 1 to 4, figures 1 and 2).

Everywhere: Pearson's correlation within each group, its mean over groups, and then mean and standard deviation over the
seeds of the probe set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from muster.errors import unknown_name
from muster.metrics import depth_correction, parse_metric
from muster.metrics.corrections import DEFAULT_L_MAX
from muster.study.papers.frames import FEWEST, correlations_within, require_columns, require_values

MODES = ("source and architecture", "architecture", "source", "target")
"""What varies within a group over which the correlation is taken (B21, table 2)."""

_ABOUT_MEMBERS = ["member", "dataset", "architecture", "pretraining"]

_FIXED: dict[str, list[str]] = {
    "source and architecture": ["target"],
    "architecture": ["target", "dataset", "pretraining"],
    "source": ["target", "architecture", "pretraining"],
    "target": ["members"],
}
"""What stays the same within a group."""

_SERIES = ["regime", "predictor", "metric"]


def single_model_pairs(pairs: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Scores of single members beside results, with what the members are.

    Args:
        pairs: See :func:`muster.study.papers.frames.scores_beside_results`.
        members: Of a study.

    Returns:
        Rows of ensembles of one, with ``dataset``, ``architecture``, ``pretraining``, and ``depth`` if it is known.
    """
    require_columns("members", members, _ABOUT_MEMBERS)
    require_columns("pairs", pairs, ["size", "members"])
    about = members[[*_ABOUT_MEMBERS, *(["depth"] if "depth" in members else [])]].drop_duplicates("member")
    return pairs[pairs["size"] == 1].merge(about, left_on="members", right_on="member").drop(columns="member")


def mean_pearson(
    pairs: pd.DataFrame,
    mode: str = "source and architecture",
    by: Sequence[str] = (),
    value: str = "pearson",
    fewest: int = FEWEST,
) -> pd.DataFrame:
    """How well each metric agrees with results, on average over groups.

    Args:
        pairs: See :func:`single_model_pairs`.
        mode: What varies within a group; everything else is the same there.
        by: Further columns that tell series apart, such as ``pixels`` of a sweep.
        value: Which correlation: ``pearson``, ``kendall`` or ``weighted_kendall``.
        fewest: Groups of fewer rows have no correlation worth the name and are left out.

    Returns:
        One row per regime, predictor, metric and ``by``: ``mean`` and ``deviation`` (over seeds of the probe, n - 1;
        NaN for one seed), ``probe_seeds`` and ``groups``, how many groups a seed's mean is over at most. Correlations
        are in -1..1; B21 prints 100 times that.

    Raises:
        ValueError: If there is no such mode.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021, eq. 2 and 5.
    """
    if mode not in _FIXED:
        raise ValueError(unknown_name("mode", mode, MODES))
    keys = [*_SERIES, *by]
    found = correlations_within(pairs, [*keys, "probe_seed", "subset_seed", *_FIXED[mode]], fewest, [value])
    of_seeds = found.groupby([*keys, "probe_seed"], sort=False, dropna=False)[value].agg(["mean", "count"])
    groups = of_seeds.reset_index().groupby(keys, sort=False, dropna=False)
    return groups.agg(
        mean=("mean", "mean"), deviation=("mean", "std"), probe_seeds=("probe_seed", "nunique"), groups=("count", "max")
    ).reset_index()


def evaluation_modes(pairs: pd.DataFrame, value: str = "pearson") -> pd.DataFrame:
    """The agreement of each metric in all four modes (B21, table 2).

    Args:
        pairs: See :func:`single_model_pairs`.
        value: Which correlation.

    Returns:
        The rows of :func:`mean_pearson` for each mode that has a group, with ``mode``. Scores of one target are
        compared with those of others in the last mode only, for which few metrics were made.
    """
    return pd.concat([mean_pearson(pairs, mode, value=value).assign(mode=mode) for mode in MODES], ignore_index=True)


def method_table(means: pd.DataFrame, seconds: pd.DataFrame | None = None) -> pd.DataFrame:
    """Each metric with what it needs, its agreement and its time (B21, table 1).

    Args:
        means: See :func:`mean_pearson`.
        seconds: ``metric`` and ``seconds``, one row a measurement, without the reading of features; optional.

    Returns:
        ``means`` with ``inputs`` (what the metric looks at) and, if times are given, ``seconds`` and
        ``seconds_deviation``.
    """
    inputs = [", ".join(parse_metric(str(metric)).metric.needs) for metric in means["metric"]]
    table = means.assign(inputs=inputs)
    if seconds is None:
        return table
    require_columns("seconds", seconds, ["metric", "seconds"])
    times = seconds.groupby("metric")["seconds"].agg(seconds="mean", seconds_deviation="std").reset_index()
    return table.merge(times, on="metric", how="left")


def with_depth(pairs: pd.DataFrame, l_max: float | int = DEFAULT_L_MAX) -> pd.DataFrame:
    """Every metric once more with the depth of the network added: what a study need not compute.

    Args:
        pairs: See :func:`single_model_pairs`, with ``depth``.
        l_max: Layers that add 1.

    Returns:
        ``pairs``, and the same rows with ``+l`` behind the metric's name, standardised over the members of a target (so
        that, as in :func:`muster.metrics.depth_correction`, no other target has to be known); metrics that have it
        already are not given it again, and those of ensembles have no depth.
    """
    require_columns("pairs", pairs, ["depth"])
    bare = pairs[pairs["metric"].isin([name for name in pairs["metric"].unique() if _takes_depth(str(name))])]
    there = set(pairs["metric"])
    parts = [pairs]
    for key, part in bare.groupby(["target", *_SERIES, "subset_seed", "probe_seed"], sort=False):
        name = f"{key[3]}+l"
        if name not in there:
            scores = depth_correction(part["score"].to_numpy(float), part["depth"].to_numpy(float), l_max)
            parts.append(part.assign(metric=name, score=scores))
    return pd.concat(parts, ignore_index=True)


def _takes_depth(metric: str) -> bool:
    if parse_metric(metric).with_depth:
        return False
    try:
        parse_metric(f"{metric}+l")
    except ValueError:  # MS-LEEP on hard subsets is a sum over members, and has no depth either
        return False
    return True


def depth_table(means: pd.DataFrame) -> pd.DataFrame:
    """Each metric's agreement as it is and with the depth added (B21, table 3).

    Args:
        means: See :func:`mean_pearson`; of one regime and predictor.

    Returns:
        ``metric``, ``mean``, ``deviation``, ``mean_with_depth``, ``deviation_with_depth``, for metrics that have both.
    """
    return _beside(means, "with_depth", [metric for metric in map(str, means["metric"]) if _adds(metric, "depth")])


def reduction_table(means: pd.DataFrame) -> pd.DataFrame:
    """Each metric's agreement as it is and after its best reduction of features (B21, figure 2b).

    Args:
        means: See :func:`mean_pearson`; of one regime and predictor. B21 picks the number of dimensions by these very
            results, which flatters it.

    Returns:
        ``metric``, ``mean``, ``deviation``, ``mean_reduced``, ``deviation_reduced`` and ``dimensions``.
    """
    best: dict[str, tuple[float, str]] = {}
    for metric, mean in zip(map(str, means["metric"]), means["mean"], strict=True):
        if _adds(metric, "dimensions") and not np.isnan(mean):
            best[_base(metric)] = max(best.get(_base(metric), (-np.inf, "")), (float(mean), metric))
    table = _beside(means, "reduced", [metric for _, metric in best.values()])
    return table.assign(dimensions=pd.Series([parse_metric(best[metric][1]).dimensions for metric in table["metric"]]))


def tweak_table(means: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Each metric with all that was put around it, side by side (B21, table 4).

    Args:
        means: See :func:`mean_pearson`.
        metrics: Which ones, without wrappers: ``parc`` stands for ``parc+pca32`` and ``parc+pca32+l`` too.

    Returns:
        The rows of ``means`` that belong to them, in their order, with ``base``, ``dimensions`` and ``depth``.

    Raises:
        ValueError: If there is no row of one of them.
    """
    specs = [parse_metric(str(metric)) for metric in means["metric"]]
    table = means.assign(
        base=[_base(spec.name) for spec in specs],
        dimensions=np.array([spec.dimensions for spec in specs], dtype=float),
        depth=[spec.with_depth for spec in specs],
    )
    require_values("metrics", table, "base", metrics)
    chosen = table[table["base"].isin(metrics)]
    order = chosen["base"].map({metric: place for place, metric in enumerate(metrics)})
    return chosen.assign(order=order).sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)


def relative_sweep(means: pd.DataFrame, column: str, reference: float | int) -> pd.DataFrame:
    """A sweep beside one of its points (B21, figures 1 and 2a): sizes of the probe set, or numbers of dimensions.

    Args:
        means: See :func:`mean_pearson`, with ``column`` among its series.
        column: What was varied, such as ``pixels`` or ``dimensions``.
        reference: The point that the others are divided by.

    Returns:
        ``means`` with ``relative``: its mean divided by that at the reference, NaN where the latter is not positive;
        and ``relative_seconds`` likewise if there is ``seconds``.

    Raises:
        ValueError: If a series has no such point.
    """
    require_columns("means", means, [*_SERIES, column, "mean"])
    values = ["mean", *(["seconds"] if "seconds" in means else [])]
    at = means[means[column] == reference][[*_SERIES, *values]]
    table = means.merge(at, on=_SERIES, how="left", suffixes=("", "_at"), indicator="found")
    if (table["found"] == "left_only").any():
        lost = ", ".join(sorted(map(str, table.loc[table["found"] == "left_only", "metric"].unique())))
        raise ValueError(f"Expected a row with `{column}` = {reference:g} for each metric, but {lost} has none.")
    names = {"mean": "relative", "seconds": "relative_seconds"}
    ratios = {names[name]: table[name] / table[f"{name}_at"].where(table[f"{name}_at"] > 0) for name in values}
    return table.assign(**ratios).drop(columns=["found", *(f"{name}_at" for name in values)])


def _base(metric: str) -> str:
    return metric.split("+")[0]


def _adds(metric: str, wrapper: Literal["depth", "dimensions"]) -> bool:
    """Whether this wrapper is all that is around the metric."""
    spec = parse_metric(metric)
    bare = replace(spec, with_depth=False) if wrapper == "depth" else replace(spec, dimensions=None)
    wrapped = spec.with_depth if wrapper == "depth" else spec.dimensions is not None
    return wrapped and not bare.with_depth and bare.dimensions is None and bare.hard is None


def _beside(means: pd.DataFrame, suffix: str, wrapped: Sequence[str]) -> pd.DataFrame:
    """Rows of bare metrics, and those of wrapped ones beside them."""
    found = means.set_index("metric")
    rows: list[dict[str, Any]] = []
    for metric in wrapped:
        base = _base(metric)
        if base in found.index:
            pair = {"": found.loc[base], f"_{suffix}": found.loc[metric]}
            values = {f"{name}{end}": row[name] for end, row in pair.items() for name in ("mean", "deviation")}
            rows.append({"metric": base, **values})
    columns = ["metric", "mean", "deviation", f"mean_{suffix}", f"deviation_{suffix}"]
    return pd.DataFrame(rows, columns=columns)
