"""Metrics with and without hard subsets (H22, tables 1 to 4, figure 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from muster.study.papers.frames import correlations_within, require_columns
from muster.study.tables import HARD_SUBSETS, ONE_METRIC

VARIANTS = {"CA": "haste_ca", "CS": "haste_cs"}
"""H22's names of its two ways to find hard samples, and the wrapper that asks for each."""

_BUCKET = re.compile(r"\+(haste_c[as])_([0-9]+)of([0-9]+)")


def hard_subset_table(correlations: pd.DataFrame, value: str = "pearson") -> pd.DataFrame:
    """How well each metric agrees with results on all of the target, and on its hard subsets.

    Args:
        correlations: ``target``, ``metric`` and the column ``value``; several rows of a target and metric (seeds) are
            averaged. Metrics are named as in muster, ``leep`` and ``leep+haste_ca``.
        value: Which correlation; H22 reports Pearson's.

    Returns:
        One row per target and metric that has at least one variant: ``target``, ``metric``, ``base``, ``CA``, ``CS``;
        NaN where a variant was not computed.
    """
    require_columns("correlations", correlations, ["target", "metric", value])
    means = correlations.groupby(["target", "metric"], sort=False)[value].mean()
    rows: list[dict[str, Any]] = []
    for target, metric in means.index:
        found = {name: means.get((target, f"{metric}+{wrapper}"), np.nan) for name, wrapper in VARIANTS.items()}
        if not all(np.isnan(each) for each in found.values()):
            rows.append({"target": target, "metric": metric, "base": means[target, metric], **found})
    return pd.DataFrame(rows, columns=["target", "metric", "base", *VARIANTS])


def hard_subset_gain(table: pd.DataFrame) -> pd.DataFrame:
    """What hard subsets change on average, as H22's text sums up its tables.

    Args:
        table: See :func:`hard_subset_table`.

    Returns:
        One row a metric: ``improvement``, the mean over targets of (mean(CA, CS) - base) / abs(base), in per cent; a
        variant that is NaN is left out of its mean. ``wins``: on how many targets the better variant beats the base;
        ``targets``. A target whose base is near 0 decides the first number, so look at the second one too.

    Source:
        H22 5.1 gives 129.74, 29.38 and -0.07 for LEEP, NCE and GBC; its printed table 1 gives 129.75, 29.38 and -0.08.
    """
    require_columns("table", table, ["target", "metric", "base", *VARIANTS])
    variants = table[list(VARIANTS)]
    change = (variants.mean(axis=1) - table["base"]) / table["base"].abs()
    each = table.assign(change=100 * change, win=(variants.max(axis=1) > table["base"]).astype(int))
    groups = each.groupby("metric", sort=False)
    return groups.agg(improvement=("change", "mean"), wins=("win", "sum"), targets=("target", "size")).reset_index()


def target_selection_table(pairs: pd.DataFrame, value: str = "pearson", fewest: int = 5) -> pd.DataFrame:
    """How well metrics say which target suits a source: over targets, for each source (H22 5.2, tables 2, 6 and 13).

    Args:
        pairs: See :func:`muster.study.papers.frames.scores_beside_results`; of single models, of one predictor and
            regime.
        value: Which correlation.
        fewest: A source with results on fewer targets is left out.

    Returns:
        As from :func:`hard_subset_table`, with ``source``, the member, in place of ``target``.
    """
    keys = ["members", "metric", "subset_seed", "probe_seed"]
    found = correlations_within(pairs, keys, fewest, values=[value]).rename(columns={"members": "target"})
    return hard_subset_table(found, value).rename(columns={"target": "source"})


def hard_subset_seconds(costs: pd.DataFrame) -> pd.DataFrame:
    """How long it takes to find what is hard, beside metrics of single models on all samples (H22 A.3).

    Args:
        costs: Of a study.

    Returns:
        ``what`` (a wrapper or a metric), ``hard`` (whether it is the former) and ``seconds``, the mean over cells and
        seeds of the probe, for all members together; the shortest first.
    """
    require_columns("costs", costs, ["step", "metric", "size", "seconds"])
    finding = costs[costs["step"] == HARD_SUBSETS]
    metrics = costs[(costs["step"] == ONE_METRIC) & (costs["size"] == 1) & ~costs["metric"].str.contains("haste")]
    parts = [part.groupby("metric")["seconds"].mean().reset_index().assign(hard=is_hard)
             for part, is_hard in ((finding, True), (metrics, False))]  # fmt: skip
    table = pd.concat(parts, ignore_index=True).rename(columns={"metric": "what"})
    return table.sort_values("seconds", ignore_index=True)[["what", "hard", "seconds"]]


def fraction_sweep(pairs: pd.DataFrame, value: str = "pearson", by: Sequence[str] = ("regime",)) -> pd.DataFrame:
    """How well hard subsets of growing size agree with results (H22, figure 4, left).

    Args:
        pairs: See :func:`muster.study.papers.frames.scores_beside_results`, with ``fraction``, the share of the samples
            that counted as hard.
        value: Which correlation.
        by: What else tells groups apart.

    Returns:
        ``by``, ``metric``, ``fraction``, ``mean`` over targets and seeds, ``deviation`` over the seeds of the probe of
        the mean over targets (n - 1; NaN for one seed) and ``targets``.
    """
    return _over_targets(pairs, [*by, "metric", "fraction"], value)


def bucket_sweep(pairs: pd.DataFrame, value: str = "pearson", by: Sequence[str] = ("regime",)) -> pd.DataFrame:
    """How well buckets agree with results, from the hardest to the easiest (H22, figure 4, right).

    Args:
        pairs: As for :func:`fraction_sweep`; metrics named ``leep+haste_cs_2of5`` count, others do not.
        value: Which correlation.
        by: What else tells groups apart.

    Returns:
        ``by``, ``metric`` (``leep+haste_cs``), ``bucket`` (1 is the hardest), ``buckets``, ``mean``, ``deviation`` and
        ``targets`` as from :func:`fraction_sweep`.
    """
    rows = []
    for metric, part in pairs.groupby("metric", sort=False):
        found = _BUCKET.search(str(metric))
        if found:
            kind, bucket, buckets = found.groups()
            plain = _BUCKET.sub(f"+{kind}", str(metric))
            rows.append(part.assign(metric=plain, bucket=int(bucket), buckets=int(buckets)))
    columns = [*by, "metric", "bucket", "buckets"]
    if not rows:
        return pd.DataFrame(columns=[*columns, "mean", "deviation", "targets"])
    return _over_targets(pd.concat(rows), columns, value).sort_values([*by, "metric", "bucket"], ignore_index=True)


def _over_targets(pairs: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """The mean over targets for each seed of the probe, then mean and deviation over seeds."""
    found = correlations_within(pairs, [*keys, "target", "subset_seed", "probe_seed"], values=[value])
    of_seeds = found.groupby([*keys, "probe_seed"], sort=False)[value].mean().reset_index()
    targets = found.groupby(keys, sort=False)["target"].nunique().rename("targets")
    means = of_seeds.groupby(keys, sort=False)[value].agg(mean="mean", deviation="std")
    table: pd.DataFrame = means.join(targets).reset_index()
    return table
