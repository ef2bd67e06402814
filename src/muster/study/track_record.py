"""What became of every choice of a study, in the form of :mod:`muster.selection.track_record`."""

from __future__ import annotations

import pandas as pd

from muster.metrics import METRICS
from muster.selection.track_record import COLUMNS
from muster.study.findings import Findings


def track_record(findings: Findings, study: str) -> pd.DataFrame:
    """One row a target and chooser, means over cells and seeds.

    Args:
        findings: Of a study.
        study: What to call it.

    Returns:
        The columns of the file; of ensembles of all sizes from 2, by metrics, not by lists that never look.
    """
    choices = findings.choices
    own = choices[(choices["size"] > 1) & choices["metric"].map(lambda name: name.split("+")[0] in METRICS)]
    candidates = findings.candidates
    means = candidates.groupby(["target", "size"])["result"].mean().rename("mean_result")
    keys = ["target", "predictor", "metric", "size"]
    rows = own.groupby(keys, sort=False)[["rank", "candidates", "result", "best_result", "margin"]].mean().reset_index()
    rows = rows.merge(means.reset_index(), on=["target", "size"]).assign(study=study)
    rows = rows.merge(findings.tables.targets[["target", "task"]], on="target")
    digits = {"rank": 1, "result": 4, "best_result": 4, "mean_result": 4, "margin": 3}
    return rows.astype({"candidates": int}).round(digits)[list(COLUMNS)]
