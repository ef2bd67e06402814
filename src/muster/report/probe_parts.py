"""Sections of a study's page about the scores themselves: what each metric costs, and what the probe changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from muster.report.choice_figures import time_figure
from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.sweep_figures import sweep_panels
from muster.report.tables import Table, metric_label
from muster.study.findings import Findings
from muster.study.measures import over_cells

_TIME = (
    "Seconds to score all members, or all candidates, from what the members made of the probe set: running the "
    "members and fitting linear probes comes on top, once for all metrics. The first member does not count, as what is "
    "compiled or loaded once falls on it."
)

_SWEEPS = (
    "The same fine-tuned results, and scores with one setting of the probe changed at a time. The dotted line is the "
    "study's own setting; what moves less than it does between seeds of the probe says nothing."
)

SWEPT = {
    "pixels_per_image": "probe pixels of an image",
    "train_images": "labelled samples",
    "image_size": "size at which samples are seen",
    "dimensions": "dimensions of the features",
    "hard_fraction": "share that counts as hard",
    "hard_bucket": "bucket from hard to easy",
    "hard_model": "model that says what is hard",
    "hard_easy": "share of the other samples added to the hard ones",
}
"""What was changed, for people."""


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


def sweeps_part(findings: Findings) -> PagePart:
    """How well metrics order candidates with other settings of the probe.

    Args:
        findings: Of a study.

    Returns:
        A section: for each setting that was tried, each target and their mean; without figures if none was.
    """
    figures, shown = list[StudyFigure](), dict[str, Table]()
    for size in dict.fromkeys((findings.size, 1)):
        told = findings.sweeps[findings.sweeps["size"] == size]
        for setting, label in SWEPT.items():
            of_setting = told[told["setting"] == setting]
            for regime, predictor in series_of(of_setting):
                rows = of_setting[(of_setting["regime"] == regime) & of_setting["predictor"].isin([predictor, ""])]
                named = f"{members_of(size)}, {regime}{', ' if predictor else ''}{predictor.replace('_', ' ')}"
                panels, key = _panels(rows), f"sweep_{setting}_{regime}_{predictor or 'none'}_of_{size}"
                names = findings.names_of(setting)
                figures.append(sweep_panels(panels, label, key, f"Agreement by {label}: {named}", names))
                last = panels[panels["panel"] == panels["panel"].iloc[-1]]
                shown[f"By {label}, {panels['panel'].iloc[-1]}: {named}"] = _wide(last, names)
    return PagePart("What the probe changes", _SWEEPS, figures, shown)


def _panels(rows: pd.DataFrame) -> pd.DataFrame:
    """One panel a target, and their mean if there are several."""
    by = ["target", "metric", "value", "own"]
    each = rows.groupby(by, sort=False)["weighted_kendall"].mean().reset_index().rename(columns={"target": "panel"})
    if each["panel"].nunique() < 2:
        return each
    mean = over_cells(rows).assign(panel=f"mean of {each['panel'].nunique()} targets")
    return pd.concat([each, mean[["panel", *by[1:], "weighted_kendall"]]], ignore_index=True)


def _wide(rows: pd.DataFrame, names: Mapping[float, str]) -> Table:
    ordered = rows.assign(metric=[metric_label(str(name)) for name in rows["metric"]]).sort_values("value")
    wide = ordered.pivot_table(index="metric", columns="value", values="weighted_kendall", sort=False)
    own = set(ordered.loc[ordered["own"], "value"])
    heads = [
        f"{names.get(float(value)) or ('all' if np.isinf(value) else f'{value:g}')}{' (own)' if value in own else ''}"
        for value in wide.columns
    ]
    return frame_table(wide.set_axis(heads, axis=1), index=True)


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
