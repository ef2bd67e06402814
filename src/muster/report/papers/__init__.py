"""The papers' tables and figures of a study, as sections of a page: one file a paper."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.report.papers.a22 import a22_part
from muster.report.papers.b21 import b21_part
from muster.report.papers.h22 import h22_part
from muster.report.papers.m21 import m21_part
from muster.report.study_page import PagePart
from muster.study.tables import StudyTables

__all__ = ["a22_part", "b21_part", "h22_part", "m21_part", "paper_parts"]


def paper_parts(
    tables: StudyTables,
    gains: pd.DataFrame | None = None,
    features: Mapping[str, Float[NumpyArray, "_ _"]] | None = None,
    large_pool: str | None = None,
    capped_pool: str | None = None,
) -> list[PagePart]:
    """Every table and figure of the papers that a study's tables allow.

    Args:
        tables: Of a study.
        gains: Of :func:`muster.study.measures.gains`, for what A22's choice gains over B1 and B1L; optional.
        features: Of each dataset's images, ``[images, dimensions]``, of one network, for M21's domain distance and its
            map of images; optional.
        large_pool: The pool of B1L, whose members are in no candidate of A22's.
        capped_pool: The pool of members that saw a limited number of images of their sources, for M21's A10.

    Returns:
        One section a paper; a section says what is missing where it shows nothing.
    """
    return [
        a22_part(tables, gains, large_pool=large_pool),
        m21_part(tables, features, capped_pool=capped_pool),
        b21_part(tables),
        h22_part(tables),
    ]
