"""The page and the figures of a study: what to do, what predicts, and the tables of the papers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from muster.report.choice_parts import order_label, what_predicts, what_to_do
from muster.report.papers import paper_parts
from muster.report.probe_parts import members_of, sweeps_part, times_part
from muster.report.study_page import PagePart, write_figures, write_study_page
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table, plain_table
from muster.report.tables import Table, metric_label, number
from muster.study.findings import Findings, of_all
from muster.study.measures import ALL, BASELINES, STATIC_ORDERS, StudiedChoice
from muster.study.measures.headline import CHOICE, LEARNED_HEAD

PAGE = "report.html"
FIGURES = "figures"

_NAMES = {**BASELINES, CHOICE: "The choice", LEARNED_HEAD: "The choice, learned head"}

_HOW_TO_READ = (
    "How well scores before fine-tuning order the results after it. Lists that never look at the target stand beside "
    "the metrics; a metric that does not beat them is worth nothing. Intervals draw members, not candidates, anew."
)


@dataclass(frozen=True)
class StudyReport:
    """What was written.

    Attributes:
        page: The report.
        figures: Those on it; below :data:`FIGURES` there are files of each.
    """

    page: Path
    figures: tuple[StudyFigure, ...]


def write_study_report(findings: Findings, folder: Path, footer: str = "muster") -> StudyReport:
    """Write ``report.html``, and each figure by itself below ``figures``.

    Args:
        findings: Of a study with results of at least one cell.
        folder: Of the study.
        footer: Below everything, e.g. the version.

    Returns:
        What was written.

    Raises:
        OutputError: If it cannot be written.
    """
    parts = list(study_parts(findings))
    targets = ", ".join(findings.tables.targets["target"])
    path = write_study_page(folder / PAGE, f"Study of {targets}", headline(findings), parts, footer)
    figures = tuple(figure for part in parts for figure in part.figures)
    write_figures(folder / FIGURES, figures, footer)
    return StudyReport(path, figures)


def study_numbers(findings: Findings) -> dict[str, float]:
    """What a tracker shows of a study beside others: means over targets.

    Args:
        findings: Of a study with results.

    Returns:
        ``reached/APPROACH``: results of the choice and of every baseline; ``tau/PREDICTOR/METRIC``: weighted Kendall's
        tau over the ensembles of the size that is chosen.
    """
    standings = findings.standings.groupby("approach")["result"].mean()
    rows = of_all(findings.agreement, findings.size)
    means = rows.groupby(["predictor", "metric"])["weighted_kendall"].mean().reset_index()
    taus = means.itertuples(index=False, name=None)
    reached = {f"reached/{name}": float(value) for name, value in standings.items()}
    return reached | {"/".join(filter(None, ("tau", *names))): float(value) for *names, value in taus}


def study_tables(findings: Findings) -> dict[str, Table]:
    """The tables that a tracker keeps of a study, with all their digits.

    Args:
        findings: Of a study with results.
    """
    frames = {"agreement": findings.agreement, "gains": findings.gains, "standings": findings.standings,
              "ceiling": findings.ceiling}  # fmt: skip
    return {name: plain_table(frame) for name, frame in frames.items()}


def headline(findings: Findings) -> str:
    """Who wins, in a sentence or two: the choice, or whatever did better at no more cost.

    Args:
        findings: Of a study with results.
    """
    predictor, metric = findings.chooser
    won, standings = findings.headline, findings.standings
    what = "single model" if findings.size == 1 else f"ensemble of {findings.size}"
    choice = f"the {what} that {metric_label(metric)} chooses ({predictor.replace('_', ' ')})"
    targets = standings["target"].nunique()
    where = "on the one target" if targets == 1 else f"on average over {targets} targets"
    reached = standings[standings["approach"] == won.winner]["result"].mean()
    said = f"Best {where}: {_lower(_NAMES[won.winner])}, with {number(reached)} {findings.tables.result}"
    if won.second is not None and won.lead is not None:
        sure = "" if won.is_certain else ", which may be chance"
        said += f", {_points(won.lead.mean)} above {_lower(_NAMES[won.second])}{sure}"
    if won.winner in (CHOICE, LEARNED_HEAD):
        return f"{said}. The choice is {choice}."
    over = won.over_choice
    behind = "" if over is None else f" It is {_points(over.mean)} above {choice}, which is not worth its cost here."
    return f"{said}.{behind}"


def best_metric(findings: Findings) -> str:
    """Which metric orders the ensembles best, and how far that can be trusted, in a sentence.

    Args:
        findings: Of a study with results.
    """
    rows = of_all(findings.agreement, findings.size)
    means = rows.groupby(["metric", "predictor"], as_index=False)["weighted_kendall"].mean().dropna()
    looks = ~means["metric"].isin(list(STATIC_ORDERS))
    if not looks.any():
        return "No metric orders the ensembles: there are too few, or all reach the same."
    best = means[looks].nlargest(1, "weighted_kendall").iloc[0]
    predictor = str(best["predictor"]).replace("_", " ")
    by = f" ({predictor})" if predictor else ""
    said = f"{order_label(best['metric'])}{by} orders {members_of(findings.size)} best: weighted tau "
    said += number(float(best["weighted_kendall"]), 2)
    if not looks.all():
        other = means[~looks].nlargest(1, "weighted_kendall").iloc[0]
        reached = number(float(other["weighted_kendall"]), 2)
        said += f"; of lists that never look at the target, {_lower(order_label(other['metric']))} reaches {reached}"
    seeds = _seeds_table(findings, findings.size)
    if seeds.empty:
        return f"{said}. With a second seed of fine-tuning one could say how far two runs agree."
    return (
        f"{said}. Two runs of fine-tuning agree at {number(seeds['measured_between_seeds'].mean(), 2)}, and a perfect "
        f"metric would reach {number(seeds['mean'].mean(), 2)}."
    )


def _points(difference: float) -> str:
    return f"{number(100 * difference, 1)} points"


def _lower(name: str) -> str:
    return name if name[:2].isupper() or name[1:2].isdigit() else name[0].lower() + name[1:]


def study_parts(findings: Findings) -> Iterator[PagePart]:
    """What one should do, what predicts, and the papers' tables and figures.

    Args:
        findings: Of a study with results.

    Yields:
        Sections of the page.
    """
    tables, size = findings.tables, findings.size
    for regime, predictor in _series(findings):
        part = what_to_do(findings.gains, tables, StudiedChoice(findings.chooser[1], predictor, size, regime))
        named = ", ".join(filter(None, (f"labels: {regime}", predictor.replace("_", " "))))
        yield replace(part, title=f"What one should do ({named})")
    yield _of_ensembles(findings)
    if size > 1:
        singles = what_predicts(findings.agreement, findings.seeds, findings.ceiling, 1)
        yield replace(singles, title="What predicts: single models")
    if len((times := times_part(findings)).figures):
        yield times
    if len((sweeps := sweeps_part(findings)).figures):
        yield sweeps
    yield from paper_parts(findings)


def _series(findings: Findings) -> list[tuple[str, str]]:
    """Regimes and predictors of the metric that the page is about; what it is about comes first."""
    gains = findings.gains
    own = gains[(gains["metric"] == findings.chooser[1]) & (gains["size"] == findings.size)]
    there = own[["regime", "predictor"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(there, key=lambda key: (key[0] != findings.first_regime, key[1] != findings.chooser[0], key))


def _of_ensembles(findings: Findings) -> PagePart:
    """What predicts, with what two runs of fine-tuning and a perfect metric would reach."""
    part = what_predicts(findings.agreement, findings.seeds, findings.ceiling, findings.size)
    tables = dict(part.tables or {})
    if len(seeds := _seeds_table(findings, findings.size)):
        tables["Two runs of fine-tuning, and the ceiling"] = frame_table(seeds, 2)
    title, text = f"What predicts: {members_of(findings.size)}", f"{best_metric(findings)} {_HOW_TO_READ}"
    return replace(part, title=title, text=text, tables=tables)


def _seeds_table(findings: Findings, size: int) -> pd.DataFrame:
    columns = ["target", "regime", "measured_between_seeds", "between_seeds", "one_seed", "mean", "reliability"]
    rows = findings.ceiling
    return rows[(rows["size"] == size) & (rows["stratum"] == ALL)][columns]
