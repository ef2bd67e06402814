"""Every row of the table of odd inputs: no traceback, no silent success, nothing half-written.

The rows are in the modules ``rows_*.py`` beside this file, found by globbing: each has a list ``CASES``.
"""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import pytest

from tests.odd_inputs.bench import Bench, start
from tests.odd_inputs.case import Case

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("rows_*.py"))
CASES: list[Case] = [case for table in TABLES for case in importlib.import_module(f"tests.odd_inputs.{table}").CASES]


@pytest.mark.parametrize("case", CASES, ids=[case.kind for case in CASES])
def test_odd_input(
    case: Case,
    stock: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bench = Bench(tmp_path / "home", stock)
    bench.home.mkdir()
    monkeypatch.chdir(bench.home)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    words = list(case.command(bench))
    capfd.readouterr()
    try:
        status = start(*words)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    printed = "".join(capfd.readouterr())
    one_line = " ".join(printed.split())
    assert "Traceback" not in printed, printed
    for expected in case.words:
        assert " ".join(expected.split()) in one_line, f"expected {expected!r} in:\n{printed}"
    for unwanted in case.absent:
        assert unwanted not in one_line, f"did not expect {unwanted!r} in:\n{printed}"
    assert status == case.status, printed
    assert [str(left) for left in tmp_path.rglob(".partial-*")] == []
    case.result(bench)


def test_the_table_is_long_and_no_kind_is_in_it_twice() -> None:
    repeated = [kind for kind, count in Counter(case.kind for case in CASES).items() if count > 1]
    assert repeated == []
    assert len(CASES) >= 100
    assert all(case.words for case in CASES), "a row without expected words cannot tell a silent success"
