"""What a choice gains over everything that one could have done instead."""

from __future__ import annotations

import pandas as pd

from muster.study.measures.baselines import all_baselines
from muster.study.measures.choice_tables import ChoiceTables
from muster.study.measures.choices import CHOOSER, COLUMNS
from muster.study.tables import RESULT

_ALL = [
    *COLUMNS,
    "baseline",
    "baseline_members",
    "baseline_result",
    "gain",
    "relative_gain",
    "head_gain",
    "head_relative_gain",
]


def gains(tables: ChoiceTables) -> pd.DataFrame:
    """Every choice beside every baseline.

    Args:
        tables: Of a study.

    Returns:
        One row for each choice and baseline (names of :data:`muster.study.measures.BASELINES`) that the study can tell:
        the columns of :func:`muster.study.measures.choices`, ``baseline_members`` (empty where it is none),
        ``baseline_result``, ``gain`` of the plain mean, ``relative_gain`` as a part of the baseline, and both for
        the learned head (NaN where it was not learned). The gain over the oracle is minus the regret.

    Raises:
        ValueError: If tables say two things of one candidate, lack a member, or there is no such large pool.

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, section 5
        (relative gain over B1 and B1L); the other baselines are ours.
    """
    joined = [_join(tables.choices, baseline) for baseline in all_baselines(tables) if len(baseline)]
    told = pd.concat(joined, ignore_index=True) if joined else tables.choices.head(0).reindex(columns=_ALL)
    for prefix, column in (("", "result"), ("head_", "learned_head")):
        told[f"{prefix}gain"] = told[column] - told["baseline_result"]
        told[f"{prefix}relative_gain"] = told[f"{prefix}gain"] / told["baseline_result"].where(
            told["baseline_result"] > 0
        )
    return told.sort_values([*RESULT, "probe_seed", *CHOOSER], kind="stable", ignore_index=True)[_ALL]


def _join(chosen: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """A baseline beside the choices that it concerns: those that agree in the columns that it depends on."""
    key = [name for name in baseline.columns if name in chosen.columns]
    return chosen.merge(baseline, on=key, validate="many_to_one" if baseline["baseline"].nunique() == 1 else None)
