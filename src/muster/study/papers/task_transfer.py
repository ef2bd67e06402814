"""Transfer between task types (M21, section 6.3, table 11): gains from sources of each task to targets of each."""

from __future__ import annotations

import pandas as pd

from muster.study.papers.frames import require_columns
from muster.study.papers.m21 import level_shares
from muster.study.tables import MULTI_SOURCE

SAME_IMAGES, SAME_DOMAIN, OTHER_DOMAIN = "same images", "same domain", "other domain"
"""How images of source and target go together."""

_NEEDED = ("task", "target_task", "same_images", "domain_transfer", "gain", "kind", "dataset", "domain", "train_images")


def across_tasks(gains: pd.DataFrame) -> bool:
    """Whether sources or targets of several tasks are among the gains."""
    return len({*gains["task"], *gains["target_task"]}) > 1


def with_task_transfer(gains: pd.DataFrame) -> pd.DataFrame:
    """Gains with the tasks and the images of source and target in words.

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.

    Returns:
        The rows that have a gain, with ``task_transfer`` (``segmentation -> depth``) and ``images``: one of
        :data:`SAME_IMAGES`, :data:`SAME_DOMAIN` and :data:`OTHER_DOMAIN`; of a multi-source member that did not see the
        target's images ``multi-source``.
    """
    require_columns("gains", gains, _NEEDED)
    known = gains[gains["gain"].notna()]
    images = known["domain_transfer"].map({"within": SAME_DOMAIN, "across": OTHER_DOMAIN, MULTI_SOURCE: MULTI_SOURCE})
    return known.assign(
        task_transfer=known["task"] + " -> " + known["target_task"],
        images=images.where(~known["same_images"].astype(bool), SAME_IMAGES),
    )


def task_transfer_shares(gains: pd.DataFrame) -> pd.DataFrame:
    """Which share of the experiments is positive and negative, by tasks and images (M21, table 11).

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.

    Returns:
        As :func:`muster.study.papers.m21.level_shares`, by ``task_transfer`` and ``images``; there is a row ``all`` for
        each pair of tasks.
    """
    named = with_task_transfer(gains)
    shares = level_shares(named, ("task_transfer", "images"))
    return shares.sort_values(["task_transfer", "images"], kind="stable", ignore_index=True)


def task_gain_matrix(gains: pd.DataFrame) -> pd.DataFrame:
    """Mean gain from sources of each task to targets of each (M21, tables 4 and 5 by task type).

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`.

    Returns:
        Tasks of targets are rows, those of sources columns, per cent; NaN where nothing was run.
    """
    known = with_task_transfer(gains)
    matrix = known.pivot_table(index="target_task", columns="task", values="gain", aggfunc="mean")
    order = dict.fromkeys([*matrix.index, *matrix.columns])
    matrix = matrix.reindex(index=[n for n in order if n in matrix.index], columns=[n for n in order if n in matrix])
    return matrix.rename_axis(index="target task", columns="source task")


def chains_by_task(gains: pd.DataFrame) -> pd.DataFrame:
    """Gains of every source on every target as a matrix whose rows and columns are ordered by task.

    Args:
        gains: See :func:`muster.study.papers.m21.transfer_gains`; of one regime.

    Returns:
        As :func:`muster.study.papers.m21_analyses.gain_matrix`, with names ``DATASET (TASK)``, task by task, in
        a task by domain and size; members of several sources are the last of their task.
    """
    known = with_task_transfer(gains)
    many = known["kind"] == MULTI_SOURCE
    named = known.assign(
        source=known["dataset"].where(~many, MULTI_SOURCE) + " (" + known["task"] + ")",
        row=known["target"] + " (" + known["target_task"] + ")",
        domain=known["domain"].where(~many, "~"),
    )
    columns = named.sort_values(["task", "domain", "train_images", "dataset"], kind="stable")["source"]
    rows = named.sort_values(["target_task", "target_domain", "target_images", "target"], kind="stable")["row"]
    matrix = named.pivot_table(index="row", columns="source", values="gain", aggfunc="mean")
    matrix = matrix.reindex(index=list(dict.fromkeys(rows)), columns=list(dict.fromkeys(columns)))
    return matrix.rename_axis(index="target", columns="source")
