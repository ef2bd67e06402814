"""M21's tables and figures of a study as a section of a page."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from jaxtyping import Float

from muster.arrays import NumpyArray
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
    best_source_shares,
    distance_matrix,
    domain_distances,
    gain_matrix,
    gains_in_both,
    image_map,
    inclusion_against_size,
    level_shares,
    multi_source_against_largest,
    rank_correlations,
    small_against_full,
    transfer_gains,
    with_distances,
)
from muster.study.tables import SINGLE_SOURCE, StudyTables

_TITLE = "Transfer gains (M21)"


def m21_part(
    tables: StudyTables,
    features: Mapping[str, Float[NumpyArray, "_ _"]] | None = None,
    capped_pool: str | None = None,
) -> PagePart:
    """What sources bring over starting straight from pre-training (M21, tables 4 to 10, figure 3a, A3 to A10).

    Args:
        tables: Of a study; its regimes are taken from the fewest images to the most.
        features: See :class:`muster.study.findings.Findings`.
        capped_pool: Likewise.

    Returns:
        A section; empty but for a sentence if no target was trained straight from a pre-training.
    """
    gains = transfer_gains(tables.finetuned, tables.members, tables.targets)
    if gains["gain"].notna().sum() == 0:
        return PagePart(_TITLE, "No target was trained straight from a member's pre-training, so no gain is known.")
    capped = gains[gains["member"].isin(_of_pool(tables, capped_pool))]
    gains = gains.drop(index=capped.index)
    domains = _domains(tables)
    figures, shown = list[StudyFigure](), dict[str, Table]()
    for regime, part in gains.groupby("regime", sort=False):
        figures.append(
            gain_matrix_figure(gain_matrix(part), domains, f"m21_gains_{regime}", f"Transfer gains, images: {regime}")
        )
        results = amount_matrix_figure(
            gain_matrix(part, "miou"), "mIoU", 3, domains, f"m21_results_{regime}", f"Results behind them: {regime}"
        )
        figures.append(results)
    _levels(gains, shown)
    figures += _regimes(tables, gains, shown)
    if features is not None:
        figures += _of_features(gains, capped, features, domains, shown)
    return PagePart(_TITLE, "A gain compares a target trained from a source with the same target without one.", figures,
                    shown)  # fmt: skip


def _of_pool(tables: StudyTables, pool: str | None) -> set[str]:
    return set(tables.members.loc[tables.members["pool"] == pool, "member"]) if pool is not None else set()


def _domains(tables: StudyTables) -> pd.Series[str]:
    """The domain of each source and target."""
    of_targets = dict(zip(tables.targets["target"], tables.targets["domain"], strict=True))
    single = tables.members[tables.members["kind"] == SINGLE_SOURCE]
    return pd.Series({**dict(zip(single["dataset"], single["domain"], strict=True)), **of_targets})


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


def _of_features(
    gains: pd.DataFrame,
    capped: pd.DataFrame,
    features: Mapping[str, Float[NumpyArray, "_ _"]],
    domains: pd.Series[str],
    shown: dict[str, Table],
) -> list[StudyFigure]:
    """Domain distance (tables 9 and 10, A3, A10), and the map of images."""
    distances = domain_distances(features)
    correlations = rank_correlations(gains, distances)
    shown["Rank correlation of gains with closeness and with size (table 10, A3)"] = frame_table(correlations)
    if len(capped):
        both = inclusion_against_size(gains, capped, distances)
        shown["All images of the sources against a limited number (A10)"] = frame_table(both)
    ordered = sorted(features, key=lambda name: (str(domains.get(name, "")), name))
    matrix = distance_matrix(distances).reindex(index=ordered, columns=ordered)
    figures = [
        amount_matrix_figure(matrix, "distance", 2, domains, "m21_distances", "Distance from targets to sources", True)
    ]
    for regime, part in with_distances(gains, distances).groupby("regime", sort=False):
        row = correlations[(correlations["regime"] == regime) & (correlations["with"] == "target_to_source")]
        tau = float(row["tau"].iloc[0]) if len(row) else None
        figures.append(distance_gain_figure(part, tau=tau, name=f"m21_distance_gain_{regime}"))
    points = image_map(features, {name: str(domains.get(name, "")) for name in features})
    return [*figures, map_figure(points, "m21_map")]
