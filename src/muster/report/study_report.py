"""The page and the figures of a study: what to do, what predicts, and the tables of the papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from muster.report.choice_figures import choices_figure, chosen_sources_figure, cost_figure
from muster.report.study_figures import (
    agreement_figure,
    gain_bars_figure,
    members_figure,
    scores_figure,
    sizes_figure,
)
from muster.report.study_page import PagePart, write_figures, write_study_page
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.tables import Table, metric_label, number
from muster.report.transfer_figures import gain_matrix_figure, small_full_figure
from muster.study.findings import Findings, of_all
from muster.study.measures import ALL, STATIC_ORDERS
from muster.study.measures.baselines import BASELINES
from muster.study.measures.headline import CHOICE, LEARNED_HEAD
from muster.study.papers import (
    best_source_shares,
    correlation_table,
    evaluation_modes,
    gain_matrix,
    gains_in_both,
    gains_over,
    level_shares,
    mean_pearson,
    single_model_pairs,
    small_against_full,
)

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
    singles = [name for name in there if name in {_NAMES[each] for each in ("b1", "b1_large", "equal_cost")}]
    gained = gains_over(results, own, singles)
    figures = [choices_figure(results, there, highlighted=own)]
    figures += [
        gain_bars_figure(gained, f"gain over {name}", f"gain_over_{place}") for place, name in enumerate(singles)
    ]
    yield PagePart(
        "What one should do",
        "mIoU of the choice beside everything that one could have done instead. What is best, greedy or of other "
        "targets knows results of fine-tuning, which the choice does not.",
        figures,
        {
            "mIoU by target; means over seeds": frame_table(_wide(findings.standings), 3, index=True),
            "Gain over single models, per cent (A22, figure 4)": frame_table(gained, 3, index=True),
        },
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
        if size == findings.size:
            figures.append(scores_figure(findings.pairs))
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


def _ensembles_part(findings: Findings) -> Iterator[PagePart]:
    if not findings.chosen:
        return
    figures = [members_figure(findings.beside_members)]
    if findings.sizes["size"].nunique() > 1:
        figures.append(sizes_figure(findings.sizes))
    datasets = findings.tables.members[["dataset", "domain", "train_images"]].drop_duplicates("dataset")
    figures.append(chosen_sources_figure(findings.sources, datasets))
    setup = pd.DataFrame({"": list(findings.setup), "here": list(findings.setup.values())})
    yield PagePart(
        "The ensembles",
        "The chosen ensemble beside its members (A22, figure 6), what more members bring (figure 7), and what was "
        "chosen (figure 5).",
        figures,
        {"What is compared (A22, table 1)": frame_table(setup)},
    )


def _transfer_part(findings: Findings) -> Iterator[PagePart]:
    gains = findings.transfer
    if gains["gain"].notna().sum() == 0:
        return
    domains = _domains(findings)
    figures: list[StudyFigure] = []
    for regime, part in gains.groupby("regime", sort=False):
        matrix = gain_matrix(part)
        figures.append(gain_matrix_figure(matrix, domains, f"gains_{regime}", f"Transfer gains, {regime}"))
    tables = {
        "Shares of positive, very positive and negative transfer (M21, table 7)": frame_table(level_shares(gains), 2),
        "The same of the best source of each target (table 8)": frame_table(best_source_shares(gains), 2),
    }
    regimes = list(dict.fromkeys(gains["regime"]))
    if len(regimes) > 1:
        small, full = regimes[0], regimes[-1]
        figures.append(small_full_figure(gains_in_both(gains, small, full), small, full))
        tables["Few against many target images (A9)"] = frame_table(small_against_full(gains, small, full), 2)
    yield PagePart(
        "What a source brings",
        "Relative gain in mIoU over the target straight from the same pre-training by the same architecture (M21, "
        "eq. 2), of single members.",
        figures,
        tables,
    )


def _domains(findings: Findings) -> pd.Series[str]:
    members, targets = findings.tables.members, findings.tables.targets
    known = dict(zip(members["dataset"], members["domain"], strict=True))
    return pd.Series({**known, **dict(zip(targets["target"], targets["domain"], strict=True))})


def _modes_part(findings: Findings) -> Iterator[PagePart]:
    pairs = single_model_pairs(findings.pairs_of_singles, findings.tables.members)
    if pairs.empty:
        return
    modes = evaluation_modes(pairs)
    means = mean_pearson(pairs)
    yield PagePart(
        "Single models",
        "What varies among the members that are compared (B21): source and architecture, architecture, source, or the "
        "target. Pearson correlation.",
        [],
        {"Evaluation modes": frame_table(modes, 2), "Mean over sources and targets": frame_table(means, 2)},
    )


_PARTS: tuple[Callable[[Findings], Iterator[PagePart]], ...] = (
    _choices_part,
    _cost_part,
    _agreement_part,
    _strata_part,
    _ensembles_part,
    _transfer_part,
    _modes_part,
)
