"""A study of single models alone."""

from __future__ import annotations

from pathlib import Path

from muster.report.study_report import write_study_report
from muster.study.findings import Findings
from tests.report.test_paper_parts import as_tables


def test_it_has_a_report_without_ensembles(tmp_path: Path) -> None:
    tables = as_tables()
    single = {name: getattr(tables, name).query("size == 1") for name in ("scores", "ensembles")}
    findings = Findings(as_tables(**single), 1, ("linear_probe", "leep"), draws=5)
    text = write_study_report(findings, tmp_path).page.read_text(encoding="utf-8")
    assert text.count("What predicts: single models") == 1
    assert "ensembles of 1" not in text
    assert "ensemble of 1" not in text
