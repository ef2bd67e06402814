"""Sections of a study's page about the scores themselves: how long each metric takes."""

from __future__ import annotations

import pandas as pd

from muster.report.choice_figures import time_figure
from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.tables import Table, metric_label
from muster.study.findings import Findings

_TIME = (
    "Seconds to score all members, or all candidates, from what the members made of the probe pixels: running the "
    "members and fitting linear probes comes on top, once for all metrics. The first member does not count, as what is "
    "compiled or loaded once falls on it."
)


def times_part(findings: Findings) -> PagePart:
    """How well each metric orders candidates against the time that it takes (B21).

    Args:
        findings: Of a study.

    Returns:
        A section; without figures if no time is known.
    """
    figures, shown = list[StudyFigure](), dict[str, Table]()
    for size in dict.fromkeys((findings.size, 1)):
        times = findings.times(size)
        for regime, predictor in series_of(times):
            rows = times[(times["regime"] == regime) & times["predictor"].isin([predictor, ""])]
            named = f"{members_of(size)}, {regime}{', ' if predictor else ''}{predictor.replace('_', ' ')}"
            figure, table = _times(rows, f"time_{regime}_{predictor or 'none'}_of_{size}", named, findings.chooser[1])
            figures.append(figure)
            shown[f"Time of each metric: {named}"] = table
    return PagePart("What each metric costs", _TIME, figures, shown)


def series_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Regimes with each of their predictors, or with none where no metric uses one.

    Args:
        rows: With ``regime`` and ``predictor``.
    """
    found = []
    for regime in dict.fromkeys(map(str, rows["regime"])):
        predictors = dict.fromkeys(map(str, rows.loc[rows["regime"] == regime, "predictor"]))
        found += [(regime, predictor) for predictor in [name for name in predictors if name] or [""]]
    return found


def members_of(size: int) -> str:
    """Candidates of one size for people."""
    return "single models" if size == 1 else f"ensembles of {size}"


def _times(rows: pd.DataFrame, key: str, named: str, reference: str) -> tuple[StudyFigure, Table]:
    ordered = rows.sort_values("relative", ignore_index=True)
    label = [metric_label(str(metric)) for metric in ordered["metric"]]
    dots = ordered.assign(choice=label, seconds=ordered["relative"], quality=ordered["weighted_kendall"])
    title, by = f"Quality against time: {named}", "weighted Kendall tau"
    table = ordered[["weighted_kendall", "seconds", "relative"]]
    table.insert(0, "metric", label)
    digits = {"seconds": 4, "relative": 3}
    return time_figure(dots, by, key, metric_label(reference), title), frame_table(table, digits)
