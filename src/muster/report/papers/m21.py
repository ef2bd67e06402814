"""M21's tables and figures of a study as a section of a page."""

from __future__ import annotations

import pandas as pd

from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.tables import Table
from muster.report.transfer_figures import (
    amount_matrix_figure,
    distance_gain_figure,
    gain_matrix_figure,
    map_figure,
    small_full_figure,
)
from muster.study.papers import (
    across_tasks,
    best_source_shares,
    chains_by_task,
    distance_matrix,
    gain_matrix,
    gains_in_both,
    inclusion_against_size,
    level_shares,
    multi_source_against_largest,
    rank_correlations,
    small_against_full,
    task_gain_matrix,
    task_transfer_shares,
    transfer_gains,
    with_distances,
)
from muster.study.tables import MULTI_SOURCE, PRE_TRAINING, SINGLE_SOURCE, StudyTables

_TITLE = "Transfer gains and domain distance (M21)"

_NO_GAIN = "No target was trained straight from a member's pre-training, so no gain is known."
_GAIN = "A gain compares a target trained from a source with the same target without one."
_HOW_ORDERED = (
    "Rows are targets, columns sources, each task by task. Blue: better than the target straight from pre-training; "
    "orange: worse. The gain of depth is that of its RMSE, with the sign turned."
)
_NO_DISTANCE = "No distances between datasets were computed."

_ASSIGNED = {
    "one_to_one": "one to one (overlap)",
    "target_to_source": "each target image (eq. 1, inclusion)",
    "source_to_target": "each source image",
    "symmetric": "both, mean",
}
"""Assignments of images to images, for people."""

_KINDS = {
    MULTI_SOURCE: "a member that was trained on several datasets at once, as in M21",
    PRE_TRAINING: "a backbone straight from pre-training, as the pools have no multi-source member",
    SINGLE_SOURCE: "the member with the largest source, as the pools have neither a multi-source member nor a "
    "backbone; it is at home in one dataset, which spoils distances to that",
}
"""Whose features distances are of."""


def m21_part(tables: StudyTables, capped_pool: str | None = None) -> PagePart:
    """What sources bring over starting straight from pre-training, and how far they are from targets.

    M21, tables 4 to 10, figure 3a, A3 to A10.

    Args:
        tables: Of a study; its regimes are taken from the fewest images to the most.
        capped_pool: See :class:`muster.study.findings.Findings`.

    Returns:
        A section; empty but for a sentence if no target was trained straight from a pre-training, and no datasets were
        compared.
    """
    gains = transfer_gains(tables.finetuned, tables.members, tables.targets)
    capped = gains[gains["member"].isin(_of_pool(tables, capped_pool))]
    gains = gains.drop(index=capped.index)
    figures, shown = list[StudyFigure](), dict[str, Table]()
    known = bool(gains["gain"].notna().any())
    if known:
        figures += _by_task(gains, shown) if across_tasks(gains) else []
        figures += _matrices(tables, gains)
        _levels(gains, shown)
        figures += _regimes(tables, gains, shown)
    if len(tables.distances):
        figures += _of_distances(tables, gains, capped if known else capped.iloc[:0], shown)
    said = [_GAIN if known else _NO_GAIN, _network_of(tables) if len(tables.distances) else _NO_DISTANCE]
    return PagePart(_TITLE, " ".join(said), figures, shown)


def _matrices(tables: StudyTables, gains: pd.DataFrame) -> list[StudyFigure]:
    """Gains, and the results behind them."""
    domains, figures = _domains(tables), list[StudyFigure]()
    for regime, part in gains.groupby("regime", sort=False):
        figures.append(
            gain_matrix_figure(gain_matrix(part), domains, f"m21_gains_{regime}", f"Transfer gains, labels: {regime}")
        )
        results = amount_matrix_figure(
            gain_matrix(part, "result"),
            tables.result,
            3,
            domains,
            f"m21_results_{regime}",
            f"Results behind them: {regime}",
        )
        figures.append(results)
    return figures


def _by_task(gains: pd.DataFrame, shown: dict[str, Table]) -> list[StudyFigure]:
    """Gains by the task of source and target (tables 4, 5 and 11)."""
    figures = list[StudyFigure]()
    for regime, part in gains.groupby("regime", sort=False):
        matrix = chains_by_task(part)
        tasks = pd.Series({name: name.rpartition(" (")[2] for name in (*matrix.index, *matrix.columns)})
        title = f"Transfer gains across tasks, labels: {regime}"
        figures.append(gain_matrix_figure(matrix, tasks, f"m21_tasks_{regime}", title, _HOW_ORDERED))
        mean = f"Mean gain by task of target (rows) and source, labels: {regime}"
        shown[mean] = frame_table(task_gain_matrix(part).reset_index(), 1)
        shown[f"Levels of gain by tasks (table 11), labels: {regime}"] = frame_table(task_transfer_shares(part))
    return figures


def _network_of(tables: StudyTables) -> str:
    """Whose features the distances are of."""
    row = tables.distances.iloc[0]
    return (
        f"Distances between datasets are by the features of {row['member']}, {_KINDS[str(row['kind'])]}. A small "
        "distance from a target to a source says that the source has images like the target's."
    )


def _of_pool(tables: StudyTables, pool: str | None) -> set[str]:
    return set(tables.members.loc[tables.members["pool"] == pool, "member"]) if pool is not None else set()


def _domains(tables: StudyTables) -> pd.Series[str]:
    """The domain of each source and target."""
    of_targets = dict(zip(tables.targets["target"], tables.targets["domain"], strict=True))
    single = tables.members[tables.members["kind"] == SINGLE_SOURCE]
    of_images = dict(zip(tables.image_map["dataset"], tables.image_map["domain"], strict=True))
    return pd.Series({**of_images, **dict(zip(single["dataset"], single["domain"], strict=True)), **of_targets})


def _levels(gains: pd.DataFrame, shown: dict[str, Table]) -> None:
    shown["Levels of gain (table 7): above 2 %, above 10 %, below -2 %"] = frame_table(level_shares(gains))
    within = gains[gains["domain_transfer"] == "within"]
    if len(within):
        by_size = level_shares(within, ("regime", "size_order"))
        shown["Within a domain, by whether the source is larger than the target (A8)"] = frame_table(by_size)
    shown["The best source of each target (table 8)"] = frame_table(best_source_shares(gains))
    several = multi_source_against_largest(gains)
    if len(several):
        columns = ["target", "regime", "architecture", "multi_source_gain", "largest", "largest_gain", "difference",
                   "better"]  # fmt: skip
        shown["Members of several sources beside the largest source of the domain (A5)"] = frame_table(
            several[columns], 1
        )


def _regimes(tables: StudyTables, gains: pd.DataFrame, shown: dict[str, Table]) -> list[StudyFigure]:
    """Few target images against many (A9)."""
    images = tables.cells.groupby("regime")["train_images"].median().sort_values() if len(tables.cells) else None
    there = [str(name) for name in (gains["regime"].unique() if images is None else images.index)]
    there = [name for name in there if name in set(gains["regime"])]
    if len(there) < 2:
        return []
    small, full = there[0], there[-1]
    shown[f"Gains with {small} and with {full} images (A9)"] = frame_table(small_against_full(gains, small, full))
    return [small_full_figure(gains_in_both(gains, small, full), small, full, "m21_two_regimes")]


def _of_distances(
    tables: StudyTables, gains: pd.DataFrame, capped: pd.DataFrame, shown: dict[str, Table]
) -> list[StudyFigure]:
    """Domain distance (tables 9 and 10, A3, A10), and the map of images."""
    distances, domains = tables.distances, _domains(tables)
    ordered = sorted({*distances["target"], *distances["source"]}, key=lambda name: (str(domains.get(name)), name))
    matrix = distance_matrix(distances)
    matrix = matrix.reindex(index=[name for name in ordered if name in matrix.index], columns=ordered)
    figures = [
        amount_matrix_figure(matrix, "distance", 2, domains, "m21_distances", "Distance from targets to sources", True)
    ]
    shown["The closest source of each target, by which images are compared (A4)"] = frame_table(_closest(distances))
    pairs = with_distances(gains, distances)
    if len(pairs):
        correlations = rank_correlations(gains, distances)
        named = correlations.assign(**{"with": correlations["with"].replace(_ASSIGNED)})
        shown["Rank correlation of gains with closeness and with size (table 10, A3)"] = frame_table(named)
        for regime, part in pairs.groupby("regime", sort=False):
            row = correlations[(correlations["regime"] == regime) & (correlations["with"] == "target_to_source")]
            tau = float(row["tau"].iloc[0]) if len(row) else None
            figures.append(distance_gain_figure(part, tau=tau, name=f"m21_distance_gain_{regime}"))
    if len(capped) and len(pairs):
        both = inclusion_against_size(gains, capped, distances)
        shown["All images of the sources against a limited number (A10)"] = frame_table(both)
    if len(tables.image_map):
        figures.append(map_figure(tables.image_map, "m21_map"))
    return figures


def _closest(distances: pd.DataFrame) -> pd.DataFrame:
    """One row a target: the source with the least distance by each assignment, and that distance."""
    nearest = distances.loc[distances.groupby(["target", "assignment"], sort=False)["distance"].idxmin()]
    nearest = nearest.assign(text=nearest["source"] + " (" + nearest["distance"].map("{:.2f}".format) + ")")
    wide = nearest.pivot_table(index="target", columns="assignment", values="text", aggfunc="first", sort=False)
    return wide[list(_ASSIGNED)].rename(columns=_ASSIGNED).reset_index()
