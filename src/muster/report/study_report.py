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
from muster.study.measures import ALL
from muster.study.measures.gains import BASELINES
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

CHOICE = "the choice"
LEARNED = "the choice, learned head"

_SHOWN_BASELINES = (
    *("b1", "b1_large", "equal_cost", "pre_training", "pre_training_best", "base", "parameters", "source_miou"),
    *("other_targets", "greedy", "random", "oracle"),
)
"""Baselines that figures show; the table has all."""


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
    """Who wins, in a sentence or two: the choice, or whatever did better at the same cost."""
    results = _results(findings)
    if results.empty:
        return "Nothing can be compared yet."
    means = results.groupby("choice")["miou"].mean()
    own = LEARNED if LEARNED in means else CHOICE
    of_choice = results[results["choice"] == own].set_index("target")["miou"]
    rivals = {name: results[results["choice"] == name] for name in _fair(results)}
    best, lead = own, 0.0
    for name, rows in rivals.items():
        shared = rows.set_index("target")["miou"]
        behind = float((shared - of_choice.reindex(shared.index)).mean())
        if behind > lead:
            best, lead = name, behind
    said = f"{_named(findings)} reaches {number(float(means[own]))} mIoU"
    if best == own:
        return f"{said} on average, and none of what it is compared with at no more cost reaches more."
    return (
        f"{best} does better: {number(100 * lead, 1)} points of mIoU above the choice on average. {said}, which is not "
        "worth its cost here."
    )


def _named(findings: Findings) -> str:
    predictor, metric = findings.chooser
    head = "" if findings.tables.heads.empty else " with its learned head"
    return f"The ensemble of {findings.size} that {metric_label(metric)} chooses ({predictor}){head}"


def _fair(results: pd.DataFrame) -> list[str]:
    """What costs no more than the ensemble to make and to run."""
    fair = ("b1", "equal_cost", "pre_training", "base", "parameters", "source_miou", "random")
    return [name for name in map(_title, fair) if name in set(results["choice"])]


def _title(baseline: str) -> str:
    return BASELINES.get(baseline, baseline)


def _results(findings: Findings) -> pd.DataFrame:
    """``target``, ``choice``, ``miou`` and ``members`` of the choice and of everything it is compared with."""
    rows = findings.of_first_regime(findings.main_gains)
    own = rows.drop_duplicates([*_RUN, "members"])
    frames = [own.assign(choice=CHOICE)[_COLUMNS]]
    learned = own.dropna(subset="learned_head").assign(choice=LEARNED)
    frames.append(learned.assign(miou=learned["learned_head"])[_COLUMNS])
    others = rows[rows["baseline"].isin(_SHOWN_BASELINES)]
    others = others.assign(
        choice=others["baseline"].map(_title), miou=others["baseline_miou"], members=others["baseline_members"]
    )
    frames.append(others[_COLUMNS])
    return pd.concat(frames, ignore_index=True).drop_duplicates()


_RUN = ["target", "regime", "subset_seed", "finetuning_seed", "probe_seed"]
_COLUMNS = [*_RUN, "choice", "miou", "members"]


def _choices_part(findings: Findings) -> Iterator[PagePart]:
    results = _results(findings)
    if results.empty:
        return
    b1 = _title("b1")
    there = [name for name in dict.fromkeys(results["choice"])]
    figures = [choices_figure(results, there, highlighted=LEARNED if LEARNED in there else CHOICE)]
    tables = {"mIoU by target; means over seeds": frame_table(_wide(results), 3, index=True)}
    if b1 in there:
        baselines = [name for name in there if name in (b1, _title("b1_large"), _title("equal_cost"))]
        gained = gains_over(results, LEARNED if LEARNED in there else CHOICE, baselines)
        figures += [
            gain_bars_figure(gained, f"gain over {name}", f"gain_over_{place}") for place, name in enumerate(baselines)
        ]
        tables["Gain over single models, per cent (A22, figure 4)"] = frame_table(gained, 3, index=True)
    yield PagePart(
        "What one should do",
        "mIoU of the choice beside everything that one could have done instead. The baselines named best, greedy and "
        "candidate know fine-tuned results, which the choice does not.",
        figures,
        tables,
    )


def _wide(results: pd.DataFrame) -> pd.DataFrame:
    wide = results.pivot_table(index="choice", columns="target", values="miou", sort=False)
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
    results, tables = _results(findings), findings.tables
    if results.empty or tables.finetuned.empty:
        return pd.DataFrame()
    means = results.groupby("choice")["miou"].mean()
    seconds = findings.of_first_regime(tables.finetuned).groupby(["target", "member"])["seconds"].mean()
    every = float(seconds.groupby("target").sum().mean())
    one = float(seconds.mean())
    probe = float(tables.costs["seconds"].groupby([tables.costs[name] for name in _CELL]).sum().mean())
    size = findings.size
    known = {
        CHOICE: probe + size * one,
        LEARNED: probe + size * one + float(tables.heads["seconds"].mean() if len(tables.heads) else 0),
        _title("b1"): probe + one,
        _title("equal_cost"): probe + float(tables.equal_cost["seconds"].mean() if len(tables.equal_cost) else 0),
        _title("pre_training_best"): 4 * one,
        _title("random"): size * one,
        _title("greedy"): every,
    }
    rows = [
        {"choice": name, "seconds": known[name], "quality": float(means[name])} for name in known if name in means.index
    ]
    return pd.DataFrame(rows)


_CELL = ["target", "regime", "subset_seed", "probe_seed"]


def _agreement_part(findings: Findings) -> Iterator[PagePart]:
    for size, name in ((findings.size, f"ensembles of {findings.size}"), (1, "single models")):
        rows = of_all(findings.agreement, size, [findings.chooser[0], ""])
        if rows.empty:
            continue
        figures = [agreement_figure(rows, references=_references(findings, size), name=f"agreement_of_{size}")]
        if size == findings.size:
            figures.append(scores_figure(findings.pairs))
        metrics = list(dict.fromkeys(rows["metric"]))
        table = correlation_table(rows, metrics)
        weighted = table["weighted_kendall"].T.rename(index=metric_label).sort_values("Average", ascending=False)
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


def _by_predictor(findings: Findings, size: int) -> dict[str, Table]:
    rows = of_all(findings.agreement, size, sorted(set(findings.agreement["predictor"])))
    rows = rows[rows["predictor"] != ""]
    if rows["predictor"].nunique() < 2:
        return {}
    wide = rows.pivot_table(index="metric", columns="predictor", values="weighted_kendall", sort=False)
    return {"By predictor, mean over targets": frame_table(wide.rename(index=metric_label), 2, index=True)}


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
        {"Weighted Kendall tau": frame_table(wide.rename(index=metric_label), 2, index=True)},
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

