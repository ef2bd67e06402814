"""The papers' tables and figures of a study, as sections of a page: one file a paper."""

from __future__ import annotations

from muster.report.papers.a22 import a22_part
from muster.report.papers.b21 import b21_part
from muster.report.papers.h22 import h22_part
from muster.report.papers.m21 import m21_part
from muster.report.study_page import PagePart
from muster.study.findings import Findings

__all__ = ["a22_part", "b21_part", "h22_part", "m21_part", "paper_parts"]


def paper_parts(findings: Findings) -> list[PagePart]:
    """Every table and figure of the papers that a study's tables allow.

    Args:
        findings: Of a study.

    Returns:
        One section a paper; a section says what is missing where it shows nothing.
    """
    tables = findings.tables
    return [
        a22_part(findings),
        m21_part(tables, findings.capped_pool),
        b21_part(tables),
        h22_part(tables),
    ]
