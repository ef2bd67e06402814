"""How agreement changes with one setting of the probe at a time, beside the study's own setting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from muster.metrics import parse_metric
from muster.study.measures.agreement import CORRELATIONS, agreement
from muster.study.measures.candidates import MEAN
from muster.study.tables import CELL, PROBE, StudyTables

WHOLE = np.inf
"""The value of the study's own scores where they look at all that there is: all dimensions, no bucket."""

_HARD = "hard_"


def sweep_scores(tables: StudyTables) -> pd.DataFrame:
    """Scores with other settings of the probe, and beside them those with the study's own.

    Args:
        tables: Of a study.

    Returns:
        The columns of the table ``sweeps``, and ``own``: whether it is the study's own setting. Its value is that of
        the cell; for hard subsets 1 (all samples), and infinite for dimensions and buckets (all). Where it is not
        known (the size of images is not one number) its rows are left out, and of GBC those of hard subsets, which is
        another GBC there.
    """
    parts = [tables.sweeps.assign(own=False)]
    cells = tables.cells.set_index(list(CELL))
    for setting, part in tables.sweeps.groupby("setting", sort=False):
        own = {cell: _own_value(str(setting), row) for cell, row in cells.to_dict("index").items()}
        for metric, rows in part.groupby("metric", sort=False):
            if (name := _own_metric(str(setting), str(metric))) is not None:
                parts.append(_own_scores(tables.scores, rows, name, own).assign(setting=setting, metric=metric))
    whole = pd.concat(parts, ignore_index=True)
    return whole.dropna(subset=["value"]).astype({"value": float, "score": float, "own": bool})


def _own_metric(setting: str, metric: str) -> str | None:
    """What the study calls it without the setting."""
    if not setting.startswith(_HARD):
        return metric
    plain = metric.rsplit("+haste", 1)[0]
    of_members = parse_metric(plain).kind == "member"
    same = parse_metric(plain).metric.name == parse_metric(metric).metric.name
    return plain if same or not of_members else None


def _own_value(setting: str, cell: Mapping[object, object]) -> float:
    if setting.startswith(_HARD):
        return 1.0 if setting == "hard_fraction" else WHOLE
    if setting == "dimensions":
        return WHOLE
    looked_at = cell.get("probe_images", 0) if setting == "train_images" else 0  # 0 for all that there are
    text = str(looked_at or cell[setting])
    return float(text) if text.replace(".", "", 1).isdigit() and float(text) > 0 else np.nan


def _own_scores(scores: pd.DataFrame, rows: pd.DataFrame, metric: str, own: Mapping[object, float]) -> pd.DataFrame:
    """Of the cells, seeds, predictors and candidates that other settings were tried with."""
    keys = [*PROBE, "predictor", "size", "members"]
    there = scores[scores["metric"] == metric].merge(rows[keys].drop_duplicates(), on=keys)
    cells = there[list(CELL)].itertuples(index=False, name=None)
    return there.assign(own=True, value=[own.get(cell, np.nan) for cell in cells])


def sweep_agreement(tables: StudyTables, ensembles: pd.DataFrame) -> pd.DataFrame:
    """How well each metric orders candidates with each setting of the probe.

    Args:
        tables: Of a study; other settings were tried for the same fine-tuned results.
        ensembles: Its results, of the sizes that are asked for; without the members of a large pool.

    Returns:
        ``setting``, ``value``, ``own`` (see :func:`sweep_scores`), cell, ``predictor``, ``metric``, ``size``, the
        correlations (means over probe seeds, with deviations) and ``candidates``.
    """
    kept = [*CELL, "predictor", "metric", "size", *CORRELATIONS, *(f"{each}_deviation" for each in CORRELATIONS),
            "candidates"]  # fmt: skip
    found = [pd.DataFrame(columns=["setting", "value", "own", *kept])]
    if len(tables.sweeps):
        for (setting, value, own), part in sweep_scores(tables).groupby(["setting", "value", "own"], sort=False):
            told = agreement(part, ensembles)
            told = told[told["result"] == MEAN][kept]
            found.append(told.assign(setting=str(setting), value=float(str(value)), own=bool(own)))
    filled = [table for table in found if len(table)] or found
    return pd.concat(filled, ignore_index=True)[list(found[0].columns)]


def over_cells(told: pd.DataFrame, value: str = "weighted_kendall") -> pd.DataFrame:
    """The mean over targets of what :func:`sweep_agreement` says.

    Args:
        told: Rows of one regime, setting and size.
        value: Which correlation.

    Returns:
        ``predictor``, ``metric``, ``value``, ``own`` and the correlation; only at values that all targets of a metric
        have, as others are of other targets. The study's own values may differ (a target has fewer images): they stand
        at the median.
    """
    if told.empty:
        return told
    own = told[told["own"]].groupby(["predictor", "metric"])["value"].transform("median")
    placed = told.assign(value=told["value"].where(~told["own"], own.reindex(told.index)))
    means = placed.groupby(["predictor", "metric", "value", "own"], sort=False)
    table = means.agg(**{value: (value, "mean"), "targets": ("target", "nunique")}).reset_index()
    most = table.groupby(["predictor", "metric"])["targets"].transform("max")
    return table[table["targets"] == most].drop(columns="targets").reset_index(drop=True)
