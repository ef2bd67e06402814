"""Transfer gains and their levels (M21, sections 5 and 6, tables 4 to 8).

A *gain* compares two chains: pre-training, source, target; and pre-training, target. The second one is the denominator:
the target trained straight from the same pre-training, by the same architecture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from muster.arrays import Column, NumpyArray, to_column
from muster.study.papers.frames import require_columns
from muster.study.tables import CELL, MULTI_SOURCE, PRE_TRAINING

VERY_POSITIVE, POSITIVE, NEGATIVE = 10.0, 2.0, -2.0
"""Per cent, M21 section 6."""

_START = ["architecture", "pretraining"]
_ABOUT_MEMBERS = ["member", "kind", "dataset", "domain", "architecture", "pretraining", "train_images"]


def relative_transfer_gain(
    results: Column, straight: Column, lower_is_better: bool = False
) -> Float[NumpyArray, " experiments"]:
    """How much better a target gets through a source, in per cent of what it gets without one.

    Args:
        results: What the target reached from the source, one number an experiment.
        straight: What it reached straight from pre-training, likewise; positive.
        lower_is_better: For errors, as of depth: the sign is turned.

    Returns:
        Per cent, float64 ``[experiments]``; 0 where the source changes nothing.

    Raises:
        ValueError: If the two are not lists of one length of finite numbers, or an entry of ``straight`` is not
            positive.

    Source:
        Mensink et al. (M21), eq. 2.

    Example:
        >>> relative_transfer_gain([0.55, 0.40], [0.50, 0.50]).round(6).tolist()
        [10.0, -20.0]
    """
    reached, without = to_column("results", results), to_column("straight", straight)
    if len(reached) != len(without):
        raise ValueError(f"Expected `results` and `straight` of one length, but got {len(reached)} and {len(without)}.")
    if not (without > 0).all():
        raise ValueError(f"Expected `straight` to be positive, but got {without.min():g}.")
    gain: NumpyArray = (reached / without - 1) * (-100 if lower_is_better else 100)
    return gain


def gain_level(gain: float) -> str:
    """The level of a gain.

    Args:
        gain: Per cent.

    Returns:
        ``VP`` above 10, ``P`` above 2, ``N`` below -2, else ``I``; -2 itself, which M21 leaves open, is ``I``.
    """
    if gain > POSITIVE:
        return "VP" if gain > VERY_POSITIVE else "P"
    return "N" if gain < NEGATIVE else "I"


def transfer_gains(finetuned: pd.DataFrame, members: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """The gain of every member that was trained on a source, with the absolute results behind it.

    Where the target's task has an error beside its result (:attr:`muster.tasks.task.Task.error`: the RMSE of depths),
    the gain is of that, with the sign turned, as in M21.

    Args:
        finetuned: Of a study.
        members: Of a study. Those of kind ``pre-training`` are the denominators.
        targets: Of a study.

    Returns:
        One row per cell and member: ``target``, ``regime``, ``subset_seed``, ``member``, ``kind``, ``dataset``,
        ``domain``, ``architecture``, ``pretraining``, ``train_images``, ``target_domain``, ``target_images``,
        ``result`` (mean over the seeds of fine-tuning), ``straight_result``, ``gain`` (per cent; NaN where the
        target was not trained straight from that pre-training by that architecture), ``level``, ``domain_transfer``
        (``within`` or ``across``; ``multi-source`` for members of several datasets) and ``size_order`` (``larger`` or
        ``smaller``: the source beside all training images of the target).
    """
    require_columns("members", members, _ABOUT_MEMBERS)
    require_columns("targets", targets, ["target", "domain", "train_images"])
    about = _with_task(members)[[*_ABOUT_MEMBERS, "task"]].drop_duplicates("member")
    of_target = _with_task(targets)[["target", "domain", "train_images", "task"]].rename(
        columns={"domain": "target_domain", "train_images": "target_images", "task": "target_task"}
    )
    results = _results(finetuned).merge(about, on="member").merge(of_target, on="target")
    results["task"] = results["task"].where(results["task"] != "", results["target_task"])
    is_straight, start = results["kind"] == PRE_TRAINING, [*CELL, *_START]
    straight = results[is_straight].groupby(start, dropna=False)[["result", "error"]].mean().add_prefix("straight_")
    gains = results[~is_straight].merge(straight.reset_index(), on=start, how="left")
    multi = gains["kind"] == MULTI_SOURCE
    within = np.where(gains["domain"] == gains["target_domain"], "within", "across")
    gain = _gain_of(gains)
    return gains.assign(
        gain=gain,
        level=["" if np.isnan(value) else gain_level(value) for value in gain],
        domain_transfer=np.where(multi, MULTI_SOURCE, within),
        size_order=np.where(gains["train_images"] > gains["target_images"], "larger", "smaller"),
    )


def _with_task(frame: pd.DataFrame) -> pd.DataFrame:
    """Frames of older studies say no task: all members were of that of the targets."""
    return frame if "task" in frame else frame.assign(task="")


def _results(finetuned: pd.DataFrame) -> pd.DataFrame:
    """Results, errors, and whether images are shared, of each member: the mean over seeds of fine-tuning."""
    require_columns("finetuned", finetuned, [*CELL, "member", "result"])
    whole = finetuned.assign(
        **{name: value for name, value in (("error", np.nan), ("same_images", 0)) if name not in finetuned}
    )
    means = whole.groupby([*CELL, "member"], sort=True)[["result", "error", "same_images"]].mean().reset_index()
    return means.assign(same_images=means["same_images"] > 0)


def _gain_of(gains: pd.DataFrame) -> Float[NumpyArray, " rows"]:
    """Per cent, of the error where one is known; NaN where nothing is known straight from pre-training."""
    gain = np.full(len(gains), np.nan)
    for column, lower_is_better in (("result", False), ("error", True)):  # what is known of errors wins
        reached, straight = (gains[name].to_numpy(float) for name in (column, f"straight_{column}"))
        known = ~np.isnan(reached) & (straight > 0)  # of nothing there is no gain
        if known.any():
            gain[known] = relative_transfer_gain(reached[known], straight[known], lower_is_better)
    return gain


def level_shares(gains: pd.DataFrame, by: Sequence[str] = ("regime", "domain_transfer")) -> pd.DataFrame:
    """Which share of the experiments is positive, very positive and negative (M21, table 7; A8 by ``size_order``).

    Args:
        gains: See :func:`transfer_gains`; rows without a gain are left out.
        by: Columns that name a group; there is also a group ``all`` of the last one.

    Returns:
        The columns of ``by``, ``positive`` (very positive ones included), ``very_positive``, ``negative`` (0..1) and
        ``experiments``.
    """
    return _shares(_with_all(gains, by), by)


def best_source_shares(gains: pd.DataFrame, by: Sequence[str] = ("regime", "domain_transfer")) -> pd.DataFrame:
    """The same shares of the best source of each target (M21, table 8).

    Args:
        gains: See :func:`transfer_gains`.
        by: As for :func:`level_shares`.

    Returns:
        As :func:`level_shares`, where an experiment is a target with one subset of its images.
    """
    groups = _with_all(gains, by).groupby(list(dict.fromkeys([*CELL, *by])), sort=False)
    return _shares(groups["gain"].max().reset_index(), by)


def _with_all(gains: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    require_columns("gains", gains, [*CELL, *by, "gain"])
    known = gains[gains["gain"].notna()]
    return pd.concat([known.assign(**{by[-1]: "all"}), known])


def _shares(gains: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    levels = gains.assign(
        positive=(gains["gain"] > POSITIVE).astype(float),
        very_positive=(gains["gain"] > VERY_POSITIVE).astype(float),
        negative=(gains["gain"] < NEGATIVE).astype(float),
    )
    groups = levels.groupby(list(by), sort=False)
    means = groups[["positive", "very_positive", "negative"]].mean()
    return means.assign(experiments=groups.size()).reset_index()
