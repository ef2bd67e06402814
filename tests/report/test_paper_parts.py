"""Every table and figure of the papers out of one study's tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from muster.report.papers import paper_parts
from muster.report.study_page import PagePart, write_study_page
from muster.report.study_report import study_parts
from muster.study.findings import Findings
from muster.study.papers import domain_distances, image_map
from muster.study.tables import COLUMNS, StudyTables
from tests.study.papers.made_up import DATASETS, made_up


def as_tables(**changes: pd.DataFrame) -> StudyTables:
    """A made-up study as the engine writes it."""
    study = made_up(targets=("camvid", "sun"), kept=5, regimes=("few", "all"), sizes=(1, 3))
    few = study.scores["regime"] == "few"  # of all images only the members are known: half of the figures say enough
    study = replace(study, scores=study.scores[few], ensembles=study.ensembles.query("regime == 'few'"))
    haste = study.scores[study.scores["metric"] == "leep"].assign(metric="leep+haste_cs")
    buckets = [haste.assign(metric=f"leep+haste_cs_{place}of2") for place in (1, 2)]
    cells = study.finetuned[["target", "regime", "subset_seed"]].drop_duplicates()
    finetuned = study.finetuned.assign(seconds=60.0)
    costs = study.scores[["target", "regime", "subset_seed", "probe_seed", "predictor"]].drop_duplicates()
    frames = {
        "members": study.members, "targets": study.targets, "finetuned": finetuned,
        "costs": costs.assign(step="scores", seconds=30.0),
        "ensembles": study.ensembles, "scores": pd.concat([study.scores, haste, *buckets]),
        "cells": cells.assign(train_images=cells["regime"].map({"few": 150, "all": 367})),
    } | changes  # fmt: skip
    return StudyTables.of(
        **{name: frame.assign(**{column: np.nan for column in COLUMNS[name] if column not in frame})
           for name, frame in frames.items()}
    )  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> list[PagePart]:
    random = np.random.default_rng(0)
    features = {name: random.normal(size=(5, 4)) + 5 * place for place, name in enumerate(DATASETS)}
    distances = domain_distances(features, targets=("camvid", "sun")).assign(member="several", kind="multi-source")
    tables = as_tables(distances=distances, image_map=image_map(features, dict.fromkeys(DATASETS, "driving")))
    together = set(" ".join(tables.ensembles["members"]).split())
    capped = ~tables.members["member"].isin(together) & (tables.members["kind"] == "single-source")
    assert capped.sum() > 3
    tables.members.loc[capped, "pool"] = "capped"
    chooser = "linear_probe", "soft_iou_eep"
    return list(study_parts(Findings(tables, 3, chooser, draws=5, capped_pool="capped")))


def test_each_paper_has_its_tables_and_figures(parts: list[PagePart], tmp_path: Path) -> None:
    names = [figure.name for part in parts for figure in part.figures]
    assert len(set(names)) == len(names)
    for beginning, count in (("tau", 4), ("choices", 1), ("cost", 1), ("a22", 6), ("m21", 9), ("b21", 0), ("h22", 4)):
        assert sum(name.startswith(beginning) for name in names) == count, beginning
    captions = " | ".join(caption for part in parts for caption in part.tables or {})
    for wanted in ("table 1)", "table 3)", "section 5.2", "table 7", "A8", "table 8", "A5", "A4", "A9", "table 10",
                   "A10", "Methods", "depth added", "hard subsets"):  # fmt: skip
        assert wanted in captions
    page = write_study_page(tmp_path / "papers.html", "Papers", "", parts).read_text(encoding="utf-8")
    assert page.count("<svg") == len(names)
    assert ">nan<" not in page
    assert "by the features of several, a member that was trained on several datasets at once" in page


def test_a_study_that_lacks_what_a_paper_needs_is_told_so() -> None:
    tables = as_tables()
    bare = StudyTables.of(members=tables.members, targets=tables.targets, finetuned=tables.finetuned.iloc[:0])
    found = paper_parts(Findings(bare, 3, ("linear_probe", "soft_iou_eep")))
    assert not any(part.figures for part in found)
    assert [part.text.split()[0] for part in found] == ["No"] * 4
