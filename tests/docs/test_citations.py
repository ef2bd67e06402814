"""An equation that docs/metrics.md cites for a metric is one that the code of that metric cites too."""

from __future__ import annotations

import re

import pytest

from tests.docs.snippets import ROOT

PAGE = ROOT / "docs" / "metrics.md"
WORKS = {"A22": r"A22|Agostinelli", "B21": r"B21|Bolya|PARC", "H22": r"H22|HASTE"}
"""How the page and docstrings call the papers whose equations they number."""

_CITED = re.compile(r"(A22|B21|H22) eq\. ([\d, ]+\d|\d+)")


def cited(row: str) -> set[tuple[str, str]]:
    """Paper and number of each equation in a row of a table."""
    found = _CITED.findall(row)
    return {(work, number) for work, numbers in found for number in re.findall(r"\d+", numbers)}


ROWS = [
    (match[1], cited(row))
    for row in PAGE.read_text("utf-8").splitlines()
    if (match := re.match(r"\| `([+\w]+)`", row)) and cited(row)
]


def module_of(name: str) -> str:
    """All code of a metric or wrapper: the modules of ``metrics`` that name it."""
    if name.startswith("+"):
        names = {
            "+l": ["corrections"],
            "+haste_ca": ["hardness", "hard_subsets"],
            "+haste_cs": ["hardness", "hard_subsets"],
        }[name]
    else:
        names = [name] if (ROOT / "src/muster/metrics" / f"{name}.py").is_file() else ["ensemble"]
    return "\n".join((ROOT / "src/muster/metrics" / f"{each}.py").read_text("utf-8") for each in names)


def test_the_page_cites_equations() -> None:
    assert len(ROWS) >= 6


@pytest.mark.parametrize(("name", "equations"), ROWS, ids=[name for name, _ in ROWS])
def test_the_docstring_names_the_same_equations(name: str, equations: set[tuple[str, str]]) -> None:
    text = " ".join(module_of(name).split())
    for work, number in equations:
        assert re.search(WORKS[work], text), f"{name}: the code does not name {work}"
        numbers = re.findall(r"(?:eq\.|equations?) ((?:\d+(?:, | and | to |-)?)+)", text)
        named = {each for run in numbers for each in re.findall(r"\d+", run)}
        assert number in named, f"docs/metrics.md cites {work} eq. {number} for {name}, its code names {sorted(named)}"
