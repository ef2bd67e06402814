"""What M21 concludes from transfer gains: matrices of them, and its analyses A3, A5, A9 and A10."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from muster.metrics import kendall
from muster.study.papers.domain_distance import ASSIGNMENTS
from muster.study.papers.frames import require_columns, require_values
from muster.study.papers.m21 import NEGATIVE, POSITIVE
from muster.study.tables import CELL, MULTI_SOURCE

SOURCE_SIZE = "source size"
"""What a rank correlation is with, beside the assignments of :mod:`muster.study.papers.domain_distance`."""

STRAIGHT_COLUMN = "straight from pre-training"

_CHAIN = ["target", "kind", "dataset", "architecture", "pretraining"]


def datasets_in_order(datasets: pd.DataFrame) -> list[str]:
    """Names as M21 orders rows and columns: domain by domain, in a domain by size, the smallest first.

    Args:
        datasets: ``dataset``, ``domain``, ``train_images``.

    Returns:
        Each name once. Sources that help smaller targets of their domain then lie above the diagonal (M21, A8).
    """
    require_columns("datasets", datasets, ["dataset", "domain", "train_images"])
    ordered = datasets.sort_values(["domain", "train_images", "dataset"], kind="stable")
    return list(dict.fromkeys(map(str, ordered["dataset"])))


def gain_matrix(gains: pd.DataFrame, value: str = "gain") -> pd.DataFrame:
    """Gains as a matrix (M21, tables 4a, 5a and 6), or the absolute results behind them (table A.5).

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`; of one regime. Members of one source are averaged,
            and so are seeds of the subset: choose rows of one architecture and pre-training to see each alone.
        value: ``gain``, or ``result`` for the absolute results, which have one column more:
            :data:`STRAIGHT_COLUMN`.

    Returns:
        Targets are rows, sources columns, in the order of :func:`datasets_in_order`; several-source members are last.
        NaN where nothing was run.

    Raises:
        ValueError: If there are several regimes.
    """
    require_columns("gains", gains, [*_CHAIN, "domain", "regime", "train_images", "gain", "result", "straight_result"])
    regimes = list(gains["regime"].unique())
    if len(regimes) > 1:
        raise ValueError(f"Expected `gains` of one regime, but got {', '.join(map(str, regimes))}.")
    is_multi = gains["kind"] == MULTI_SOURCE
    named = gains.assign(source=np.where(is_multi, MULTI_SOURCE, gains["dataset"]))
    matrix = named.pivot_table(index="target", columns="source", values=value, aggfunc="mean")
    columns = [*datasets_in_order(gains[~is_multi]), *([MULTI_SOURCE] if is_multi.any() else [])]
    of_targets = gains[["target", "target_domain", "target_images"]].set_axis(
        ["dataset", "domain", "train_images"], axis=1
    )
    matrix = matrix.reindex(index=datasets_in_order(of_targets), columns=columns)
    if value == "result":
        matrix.insert(0, STRAIGHT_COLUMN, gains.groupby("target")["straight_result"].mean().reindex(matrix.index))
    return matrix.rename_axis(index="target", columns="source")


def with_distances(gains: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Gains of single sources beside the distance from target to source.

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.
        distances: See :func:`muster.study.papers.domain_distance.domain_distances`.

    Returns:
        The rows of ``gains`` that have a gain and a distance, with one column per assignment.
    """
    require_columns("distances", distances, ["target", "source", "assignment", "distance"])
    wide = distances.pivot_table(index=["target", "source"], columns="assignment", values="distance").reset_index()
    known = gains[gains["gain"].notna() & (gains["kind"] != MULTI_SOURCE)]
    return known.merge(wide, left_on=["target", "dataset"], right_on=["target", "source"], how="inner").drop(
        columns="source"
    )


def rank_correlations(gains: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """How well closeness and the size of the source order transfer gains (M21, A3 and table 10).

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.
        distances: See :func:`muster.study.papers.domain_distance.domain_distances`.

    Returns:
        One row per regime and ``with``: each assignment (the *negative* distance, so that a positive correlation means
        that close sources help, as M21 prints it) and :data:`SOURCE_SIZE`. ``tau`` is Kendall's over all pairs of
        target and source, as in M21; ``tau_within_targets`` the mean over targets of Kendall's among its sources, in
        which differences between targets play no part. ``experiments`` counts pairs.
    """
    pairs = with_distances(gains, distances)
    rows: list[dict[str, Any]] = []
    for regime, part in pairs.groupby("regime", sort=False):
        columns = {name: -part[name] for name in ASSIGNMENTS if name in part} | {SOURCE_SIZE: part["train_images"]}
        for name, values in columns.items():
            each = [
                _tau(values[rows_of.index], rows_of["gain"])
                for _, rows_of in part.groupby("target")
                if len(rows_of) > 1
            ]
            rows.append(
                {
                    "regime": regime,
                    "with": name,
                    "tau": _tau(values, part["gain"]),
                    "tau_within_targets": _mean_of_known(each),
                    "experiments": len(part),
                }
            )
    return pd.DataFrame(rows, columns=["regime", "with", "tau", "tau_within_targets", "experiments"])


def _tau(values: pd.Series[float], gains: pd.Series[float]) -> float:
    return kendall(values.to_numpy(float), gains.to_numpy(float)) if len(gains) > 1 else float("nan")


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def multi_source_against_largest(gains: pd.DataFrame) -> pd.DataFrame:
    """A member of several sources beside the largest single source of the target's domain (M21, A5).

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.

    Returns:
        One row per cell, architecture and pre-training that has both: ``multi_source_gain`` (mean, if there are
        several), ``largest`` (its member), ``largest_images``, ``largest_gain``, ``difference`` (largest minus
        multi-source, points of relative gain) and ``better``: ``largest`` or ``multi-source`` where they differ by more
        than 2 points, else ``neither``.
    """
    known = gains[gains["gain"].notna()]
    keys = [*CELL, "architecture", "pretraining"]
    multi = known[known["kind"] == MULTI_SOURCE].groupby(keys, dropna=False)["gain"].mean()
    within = known[known["domain_transfer"] == "within"].sort_values(["train_images", "member"], kind="stable")
    largest = within.groupby(keys, dropna=False)[["member", "train_images", "gain"]].last()
    both = largest.rename(columns={"member": "largest", "train_images": "largest_images", "gain": "largest_gain"})
    both = both.join(multi.rename("multi_source_gain"), how="inner").reset_index()
    difference = both["largest_gain"] - both["multi_source_gain"]
    better = np.select([difference > POSITIVE, difference < -POSITIVE], ["largest", MULTI_SOURCE], "neither")
    return both.assign(difference=difference, better=better)


def gains_in_both(gains: pd.DataFrame, small: str, full: str) -> pd.DataFrame:
    """Each chain's gain with few and with all training images of the target, the mean over seeds of the subset.

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.
        small: Regime of few images.
        full: Regime of all of them.

    Returns:
        One row per target and member: ``small_gain``, ``full_gain``, with what else is known of both.

    Raises:
        ValueError: If there is no such regime.
    """
    require_values("regime", gains, "regime", [small, full])
    keys = ["target", "target_domain", "member", "kind", "dataset", "domain", "domain_transfer"]
    means = gains[gains["gain"].notna()].groupby(["regime", *keys], dropna=False)["gain"].mean().reset_index()
    few, all_ = (means[means["regime"] == regime].drop(columns="regime") for regime in (small, full))
    return few.rename(columns={"gain": "small_gain"}).merge(all_.rename(columns={"gain": "full_gain"}), on=keys)


def small_against_full(gains: pd.DataFrame, small: str, full: str) -> pd.DataFrame:
    """What gains with few target images say of gains with all of them (M21, A9).

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.
        small: Regime of few images.
        full: Regime of all of them.

    Returns:
        Three rows: ``given``, ``then``, ``share`` (0..1; NaN where nothing is given) and ``experiments``, how many are
        given. M21 found 0.80, 0.43 and 1.00.
    """
    both = gains_in_both(gains, small, full)
    few, all_ = both["small_gain"], both["full_gain"]
    statements = [
        (f"positive with {full}", f"positive with {small}", all_ > POSITIVE, few > POSITIVE),
        (f"positive with {small}", f"positive with {full}", few > POSITIVE, all_ > POSITIVE),
        (f"negative with {small}", f"not positive with {full}", few < NEGATIVE, all_ <= POSITIVE),
    ]
    rows = [
        {"given": given, "then": then, "share": float(holds[where].mean()), "experiments": int(where.sum())}
        for given, then, where, holds in statements
    ]
    return pd.DataFrame(rows)


def inclusion_against_size(gains: pd.DataFrame, capped: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """Whether sources help because they include the target or because they are large (M21, A10).

    Args:
        gains: Of members trained on all images of their sources.
        capped: Of members trained on no more than a number of images of each source (1500 in M21), in the same regime.
        distances: See :func:`muster.study.papers.domain_distance.domain_distances`.

    Returns:
        :func:`rank_correlations` of both, with ``sources`` (``all images`` or ``capped``); and, with ``with`` equal to
        ``gains of capped sources``, how well the two agree over the same chains. If the latter is high, size was not
        what mattered.
    """
    found = [
        rank_correlations(part, distances).assign(sources=sources)
        for sources, part in (("all images", gains), ("capped", capped))
    ]
    keys = ["regime", *_CHAIN]
    means = [part[part["gain"].notna()].groupby(keys, dropna=False)["gain"].mean() for part in (gains, capped)]
    both = pd.concat(means, axis=1, keys=["all", "capped"], join="inner").reset_index()
    rows = []
    for regime, part in both.groupby("regime", sort=False):
        each = [_tau(rows_of["capped"], rows_of["all"]) for _, rows_of in part.groupby("target")]
        rows.append(
            {
                "regime": regime,
                "with": "gains of capped sources",
                "tau": _tau(part["capped"], part["all"]),
                "tau_within_targets": _mean_of_known(each),
                "experiments": len(part),
                "sources": "all images",
            }
        )
    return pd.concat([*found, pd.DataFrame(rows)], ignore_index=True)
