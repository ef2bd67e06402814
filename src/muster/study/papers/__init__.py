"""The tables of the papers, and what their figures are drawn from, out of a study's tidy frames.

Everything here takes the frames of a study's ``tables`` folder and gives frames; :mod:`muster.report.study_figures`
draws them. One module per paper: A22 (ensembles), M21 (transfer gains and domain distance), B21 (single models and
probe sets), H22 (hard subsets).
"""

from __future__ import annotations

from muster.study.papers.a22 import (
    best_of_each_size,
    chosen_sources,
    correlation_table,
    ensemble_and_members,
    gains_over,
    setup_column,
)
from muster.study.papers.b21 import (
    depth_table,
    evaluation_modes,
    mean_pearson,
    method_table,
    reduction_table,
    relative_sweep,
    single_model_pairs,
    tweak_table,
    with_depth,
)
from muster.study.papers.dataset_features import dataset_features
from muster.study.papers.domain_distance import assigned_distance, distance_matrix, domain_distance, domain_distances
from muster.study.papers.frames import correlations_within, scores_beside_results
from muster.study.papers.h22 import (
    bucket_sweep,
    fraction_sweep,
    hard_subset_gain,
    hard_subset_seconds,
    hard_subset_table,
    target_selection_table,
)
from muster.study.papers.image_map import image_map
from muster.study.papers.m21 import (
    best_source_shares,
    gain_level,
    level_shares,
    relative_transfer_gain,
    transfer_gains,
)
from muster.study.papers.m21_analyses import (
    gain_matrix,
    gains_in_both,
    inclusion_against_size,
    multi_source_against_largest,
    rank_correlations,
    small_against_full,
    with_distances,
)
from muster.study.papers.task_transfer import (
    across_tasks,
    chains_by_task,
    task_gain_matrix,
    task_transfer_shares,
    with_task_transfer,
)

__all__ = [
    "across_tasks",
    "assigned_distance",
    "best_of_each_size",
    "best_source_shares",
    "bucket_sweep",
    "chains_by_task",
    "chosen_sources",
    "correlation_table",
    "correlations_within",
    "dataset_features",
    "depth_table",
    "distance_matrix",
    "domain_distance",
    "domain_distances",
    "ensemble_and_members",
    "evaluation_modes",
    "fraction_sweep",
    "gain_level",
    "gain_matrix",
    "gains_in_both",
    "gains_over",
    "hard_subset_gain",
    "hard_subset_seconds",
    "hard_subset_table",
    "image_map",
    "inclusion_against_size",
    "level_shares",
    "mean_pearson",
    "method_table",
    "multi_source_against_largest",
    "rank_correlations",
    "reduction_table",
    "relative_sweep",
    "relative_transfer_gain",
    "scores_beside_results",
    "setup_column",
    "single_model_pairs",
    "small_against_full",
    "target_selection_table",
    "task_gain_matrix",
    "task_transfer_shares",
    "transfer_gains",
    "tweak_table",
    "with_depth",
    "with_distances",
    "with_task_transfer",
]
