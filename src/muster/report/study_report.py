"""The page and the figures of a study: what to do, what predicts, and the tables of the papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from muster.report.choice_figures import choices_figure, cost_figure
from muster.report.papers import paper_parts
from muster.report.papers.a22 import CHOICE as CHOICE_OF_A22
from muster.report.study_figures import agreement_figure, gain_bars_figure
from muster.report.study_page import PagePart, write_figures, write_study_page
from muster.report.study_tables import frame_table
from muster.report.tables import Table, metric_label, number
from muster.study.findings import Findings, of_all
from muster.study.measures import ALL, BASELINES, STATIC_ORDERS
from muster.study.measures.headline import CHOICE, LEARNED_HEAD
from muster.study.papers import correlation_table, gains_over

PAGE = "report.html"
FIGURES = "figures"

_NAMES = {**BASELINES, CHOICE: "The choice", LEARNED_HEAD: "The choice, learned head"}

_SHOWN = (
    *(LEARNED_HEAD, CHOICE, "b1", "b1_large", "equal_cost", "pre_training", "pre_training_best", "base", "parameters"),
    *("source_miou", "other_targets", "greedy", "random", "oracle"),
)
"""What figures show; tables have all."""


def write_study_report(findings: Findings, folder: Path, footer: str = "muster") -> Path:
    """Write ``report.html``, and each figure by itself below ``figures``.

    Args:
        findings: Of a study with results of at least one cell.
        folder: Of the study.
        footer: Below everything, e.g. the version.

    Returns:
        The page.

    Raises:
        OutputError: If it cannot be written.
    """
    parts = [part for make in _PARTS for part in make(findings)]
    targets = ", ".join(findings.tables.targets["target"])
    path = write_study_page(folder / PAGE, f"Study of {targets}", headline(findings), parts, footer)
    write_figures(folder / FIGURES, [figure for part in parts for figure in part.figures], footer)
    return path


def headline(findings: Findings) -> str:
    """Who wins, in a sentence or two: the choice, or whatever did better at no more cost.

    Args:
        findings: Of a study with results.
    """
    predictor, metric = findings.chooser
    won, standings = findings.headline, findings.standings
    choice = f"the ensemble of {findings.size} that {metric_label(metric)} chooses ({predictor})"
    targets = standings["target"].nunique()
    where = "on the one target" if targets == 1 else f"on average over {targets} targets"
    reached = standings[standings["approach"] == won.winner]["miou"].mean()
    said = f"{_NAMES[won.winner]} does best: {number(reached)} mIoU {where}"
    if won.second is not None and won.lead is not None:
        sure = "" if won.is_certain else ", which may be chance"
        said += f", {_points(won.lead.mean)} above {_lower(_NAMES[won.second])}{sure}"
    if won.winner in (CHOICE, LEARNED_HEAD):
        return f"{said}. The choice is {choice}."
    over = won.over_choice
    behind = "" if over is None else f" It is {_points(over.mean)} above {choice}, which is not worth its cost here."
    return f"{said}.{behind}"


def _points(difference: float) -> str:
    return f"{number(100 * difference, 1)} points"


def _lower(name: str) -> str:
    return name if name[:2].isupper() or name[1:2].isdigit() else name[0].lower() + name[1:]


def _results(findings: Findings) -> pd.DataFrame:
    """``target``, ``choice`` (a title) and ``miou`` of the choice and of what figures compare it with."""
    table = findings.standings[findings.standings["approach"].isin(_SHOWN)]
    order = {name: place for place, name in enumerate(_SHOWN)}
    table = table.sort_values("approach", key=lambda names: names.map(order), kind="stable")
    return table.assign(choice=table["approach"].map(_NAMES))[["target", "choice", "miou"]]


def _choices_part(findings: Findings) -> Iterator[PagePart]:
    results = _results(findings)
    there = list(dict.fromkeys(results["choice"]))
    own = _NAMES[LEARNED_HEAD] if _NAMES[LEARNED_HEAD] in there else _NAMES[CHOICE]
    figures, equal = [choices_figure(results, there, highlighted=own)], _NAMES["equal_cost"]
    if equal in there:
        gained = gains_over(results, own, [equal])
        figures.append(gain_bars_figure(gained, f"gain over {equal}", "gain_over_equal_cost"))
    yield PagePart(
        "What one should do",
        "mIoU of the choice beside everything that one could have done instead. What is best, greedy or of other "
        "targets knows results of fine-tuning, which the choice does not.",
        figures,
        {"mIoU by target; means over seeds": frame_table(_wide(findings.standings), 3, index=True)},
    )


def _wide(standings: pd.DataFrame) -> pd.DataFrame:
    named = standings.assign(approach=standings["approach"].map(lambda name: _NAMES.get(name, name)))
    wide = named.pivot(index="approach", columns="target", values="miou")
    wide["mean"] = wide.mean(axis=1)
    return wide.sort_values("mean", ascending=False)


def _cost_part(findings: Findings) -> Iterator[PagePart]:
    costs = _costs(findings)
    if len(costs) > 1:
        text = (
            "Mean over targets of the mIoU, and what it took to get there: looking at all members with a probe, "
            "fine-tuning what was chosen, or fine-tuning everything."
        )
        yield PagePart("What it costs", text, [cost_figure(costs, seconds_label="seconds of one device")])


def _costs(findings: Findings) -> pd.DataFrame:
    """Seconds of choosing and fine-tuning, means over cells."""
    tables = findings.tables
    means = findings.standings.groupby("approach")["miou"].mean()
    seconds = findings.of_first_regime(tables.finetuned).groupby(["target", "member"])["seconds"].mean()
    every = float(seconds.groupby("target").sum().mean())
    one = float(seconds.mean())
    probe = float(tables.costs["seconds"].groupby([tables.costs[name] for name in _CELL]).sum().mean())
    size = findings.size
    known = {
        CHOICE: probe + size * one,
        LEARNED_HEAD: probe + size * one + tables.heads["seconds"].mean(),
        "b1": probe + one,
        "equal_cost": probe + tables.equal_cost["seconds"].mean(),
        "pre_training": probe + one,
        "random": size * one,
        "greedy": every,
    }
    rows = [
        {"choice": _NAMES[name], "seconds": float(known[name]), "quality": float(means[name])}
        for name in known
        if name in means.index and known[name] == known[name]
    ]
    return pd.DataFrame(rows)


_CELL = ["target", "regime", "subset_seed", "probe_seed"]


def _agreement_part(findings: Findings) -> Iterator[PagePart]:
    for size, name in ((findings.size, f"ensembles of {findings.size}"), (1, "single models")):
        rows = of_all(findings.agreement, size, [findings.chooser[0], ""])
        if rows.empty:
            continue
        rows = rows.assign(metric=rows["metric"].map(_label))
        figures = [agreement_figure(rows, references=_references(findings, size), name=f"agreement_of_{size}")]
        metrics = list(dict.fromkeys(rows["metric"]))
        table = correlation_table(rows, metrics)
        weighted = table["weighted_kendall"].T.sort_values("Average", ascending=False)
        tables = {f"Weighted Kendall tau, {name}": frame_table(weighted, 2, index=True)}
        tables |= _by_predictor(findings, size)
        if len(seeds := _seeds_table(findings, size)):
            tables["Two runs of fine-tuning, and the ceiling"] = frame_table(seeds, 2)
        yield PagePart(
            f"What predicts: {name}",
            "How well scores before fine-tuning order the results after it. Lists that never look at the target stand "
            "beside the metrics; a metric that does not beat them is worth nothing. Intervals draw members, not "
            "candidates, anew.",
            figures,
            tables,
        )


def _label(metric: str) -> str:
    """A metric, or a list that never looks at the target, for people."""
    return STATIC_ORDERS.get(metric) or metric_label(metric)


def _by_predictor(findings: Findings, size: int) -> dict[str, Table]:
    rows = of_all(findings.agreement, size, sorted(set(findings.agreement["predictor"])))
    rows = rows[rows["predictor"] != ""]
    if rows["predictor"].nunique() < 2:
        return {}
    wide = rows.pivot_table(index="metric", columns="predictor", values="weighted_kendall", sort=False)
    return {"By predictor, mean over targets": frame_table(wide.rename(index=_label), 2, index=True)}


def _references(findings: Findings, size: int) -> pd.DataFrame | None:
    """Lines of each target's row: seed agreement and the simulated ceiling."""
    parts = []
    for table, column, name in (
        (findings.seeds, "weighted_kendall", "two runs of fine-tuning"),
        (findings.ceiling, "mean", "a perfect metric"),
    ):
        rows = table[(table["size"] == size) & (table["stratum"] == ALL)]
        parts.append(rows.assign(reference=name, value=rows[column])[["target", "reference", "value"]])
    whole = pd.concat(parts)
    return whole if len(whole) else None


def _seeds_table(findings: Findings, size: int) -> pd.DataFrame:
    columns = ["target", "regime", "measured_between_seeds", "between_seeds", "one_seed", "mean", "reliability"]
    rows = findings.ceiling
    return rows[(rows["size"] == size) & (rows["stratum"] == ALL)][columns]


def _strata_part(findings: Findings) -> Iterator[PagePart]:
    table = findings.agreement
    rows = table[(table["size"] == findings.size) & (table["stratum"] != ALL) & (table["result"] == "mean")]
    rows = rows[rows["predictor"].isin([findings.chooser[0], ""])]
    if rows.empty:
        return
    named = rows.assign(part=rows["stratum"] + " " + rows["value"])
    wide = named.pivot_table(index="metric", columns="part", values="weighted_kendall", sort=False)
    yield PagePart(
        "Among alike",
        "Weighted Kendall tau among the ensembles whose members all have the same pre-training or architecture, mean "
        "over targets. A metric that only sees which members were pre-trained says nothing here.",
        [],
        {"Weighted Kendall tau": frame_table(wide.rename(index=_label), 2, index=True)},
    )


def _papers_parts(findings: Findings) -> Iterator[PagePart]:
    """Every table and figure of the papers that the tables allow."""
    kinds = {LEARNED_HEAD: CHOICE_OF_A22, "b1": "B1", "b1_large": "B1L"}
    standings = findings.standings
    if LEARNED_HEAD not in set(standings["approach"]):
        kinds = {**kinds, CHOICE: CHOICE_OF_A22}
    named = standings[standings["approach"].isin(kinds)]
    choices = named.assign(choice=named["approach"].map(kinds))[["target", "choice", "miou"]]
    yield from paper_parts(findings.tables, choices, large_pool=findings.large_pool)


_PARTS: tuple[Callable[[Findings], Iterator[PagePart]], ...] = (
    _choices_part,
    _cost_part,
    _agreement_part,
    _strata_part,
    _papers_parts,
)
