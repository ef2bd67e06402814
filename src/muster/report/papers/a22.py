"""A22's tables and figures of a study as a section of a page."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from muster.report.choice_figures import chosen_sources_figure
from muster.report.study_figures import (
    agreement_figure,
    gain_bars_figure,
    members_figure,
    scores_figure,
    sizes_figure,
)
from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.tables import Table, metric_label
from muster.study.findings import Findings, of_all
from muster.study.measures import StudiedChoice, standings
from muster.study.measures.headline import CHOICE, LEARNED_HEAD
from muster.study.papers import (
    best_of_each_size,
    chosen_sources,
    correlation_table,
    ensemble_and_members,
    gains_over,
    scores_beside_results,
    setup_column,
)
from muster.study.papers.a22 import METRICS
from muster.study.tables import SINGLE_SOURCE, StudyTables

_BASELINES = {"b1": "B1", "b1_large": "B1L"}

MOST_METRICS = 6
"""That figures of many panels show."""


def a22_part(findings: Findings) -> PagePart:
    """How well ensemble metrics order candidates, and what the chosen ensemble reaches (A22, tables 1, 3, figures 2-7).

    Args:
        findings: Of a study.

    Returns:
        A section; empty but for a sentence if no ensemble of the study's size was evaluated.
    """
    tables, size, ensembles, metric = findings.tables, findings.size, findings.candidates, findings.chooser[1]
    of_size = ensembles[ensembles["size"] == size]
    if of_size.empty or tables.scores.empty:
        return PagePart("Ensembles (A22)", f"No ensemble of {size} members was evaluated and scored.")
    figures, shown, result = list[StudyFigure](), dict[str, Table](), tables.result
    setup = pd.DataFrame(setup_column(tables.members, of_size, size).items(), columns=["of a target", "this study"])
    shown["What is compared (table 1)"] = frame_table(setup)
    correlations = of_all(findings.agreement, size).drop(columns=["low", "high"])  # A22 shows no intervals
    correlations = correlations[correlations["metric"].isin(set(tables.scores["metric"]))]  # and no lists but BASE
    pairs = scores_beside_results(tables.scores, of_size)
    for regime, predictor in _series(pairs):
        named = f"{regime}, {predictor.replace('_', ' ')}"
        part = _of(correlations, regime, predictor)
        if part.empty:  # too few candidates
            continue
        metrics = _shown_metrics(part)
        shown[f"Correlations with results (table 3): {named}"] = frame_table(
            _with_titles(correlation_table(part, metrics)), index=True
        )
        key = f"{regime}_{predictor}"
        figures.append(scores_figure(_chosen(_of(pairs, regime, predictor), metrics), f"a22_scores_{key}", result))
        figures.append(agreement_figure(_chosen(part, metrics), name=f"a22_agreement_{key}"))
        chosen = _choices_of(_of(pairs, regime, predictor), metric)
        figures += _of_choices(tables, chosen, of_size, ensembles, regime, key)
        if metric in set(part["metric"]):
            told = standings(findings.gains, StudiedChoice(metric, predictor, size, regime))
            figures += _gains(told, shown, named, key, result)
    if ensembles["size"].nunique() > 1 and (ensembles["size"] == 1).any():
        best = best_of_each_size(ensembles)
        figures += [
            sizes_figure(part, f"a22_sizes_{regime}", result) for regime, part in best.groupby("regime", sort=False)
        ]
    return PagePart("Ensembles (A22)", "What a metric says of an ensemble, and what it reached.", figures, shown)


def _series(pairs: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Regimes with each predictor; metrics that use none stand beside those of each."""
    for regime in dict.fromkeys(pairs["regime"]):
        of_regime = pairs.loc[pairs["regime"] == regime, "predictor"]
        for predictor in [name for name in dict.fromkeys(of_regime) if name] or [""]:
            yield str(regime), str(predictor)


def _of(frame: pd.DataFrame, regime: str, predictor: str) -> pd.DataFrame:
    return frame[(frame["regime"] == regime) & frame["predictor"].isin([predictor, ""])]


def _shown_metrics(correlations: pd.DataFrame) -> list[str]:
    """A22's metrics first, then others."""
    there = list(dict.fromkeys(correlations["metric"]))
    ordered = [metric for metric in METRICS if metric in there]
    return [*ordered, *(metric for metric in there if metric not in ordered)][:MOST_METRICS]


def _chosen(frame: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """The rows of some metrics, in their order."""
    return pd.concat([frame[frame["metric"] == metric] for metric in metrics])


def _with_titles(table: pd.DataFrame) -> pd.DataFrame:
    titles = [(str(column[0]), metric_label(str(column[1]))) for column in table.columns]
    return table.set_axis(pd.MultiIndex.from_tuples(titles), axis=1)


def _choices_of(pairs: pd.DataFrame, metric: str) -> dict[str, str]:
    """The candidate with the best score of each target, over the seeds of the probe; of equals the first by name."""
    means = pairs[pairs["metric"] == metric].groupby(["target", "members"])["score"].mean().reset_index()
    best = means.sort_values(["score", "members"], ascending=[False, True]).drop_duplicates("target")
    order = dict.fromkeys(pairs["target"])
    found = dict(zip(best["target"], best["members"], strict=True))
    return {str(target): str(found[target]) for target in order if target in found}


def _of_choices(
    tables: StudyTables, chosen: dict[str, str], of_size: pd.DataFrame, ensembles: pd.DataFrame, regime: str, key: str
) -> list[StudyFigure]:
    """Figures 5 and 6."""
    if not chosen:
        return []
    singles = ensembles[(ensembles["size"] == 1) & (ensembles["regime"] == regime)]
    results = pd.concat([of_size[of_size["regime"] == regime], singles])
    heads = tables.heads[tables.heads["regime"] == regime] if len(tables.heads) else None
    found = [chosen_sources_figure(chosen_sources(chosen, tables.members), _datasets(tables), f"a22_sources_{key}")]
    if len(singles):
        found.insert(
            0, members_figure(ensemble_and_members(chosen, results, heads), f"a22_members_{key}", tables.result)
        )
    return found


def _datasets(tables: StudyTables) -> pd.DataFrame:
    single = tables.members[tables.members["kind"] == SINGLE_SOURCE]
    largest = single.sort_values("train_images").drop_duplicates("dataset", keep="last")
    return largest[["dataset", "domain", "train_images"]]


def _gains(told: pd.DataFrame, shown: dict[str, Table], named: str, key: str, result: str) -> list[StudyFigure]:
    """Figure 4, and its table."""
    there = set(told["approach"])
    who = LEARNED_HEAD if LEARNED_HEAD in there else CHOICE
    baselines = [name for name in _BASELINES if name in there]
    if not baselines:
        return []
    titles = {**_BASELINES, who: "ensemble"}
    results = told.assign(choice=told["approach"].map(titles)).dropna(subset=["choice"])
    table = gains_over(results, "ensemble", [_BASELINES[name] for name in baselines])
    digits = {column: 1 if column.startswith("gain") else 3 for column in table.columns}
    shown[f"What the chosen ensemble gains (section 5.2): {named}"] = frame_table(table, digits, index=True)
    columns = [column for column in table.columns if column.startswith("gain")]
    return [
        gain_bars_figure(table, column, f"a22_{column.replace(' ', '_').lower()}_{key}", result) for column in columns
    ]
