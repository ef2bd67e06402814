"""What the page of a distillation claims, on made-up numbers."""

from __future__ import annotations

from pathlib import Path

from muster.report.distillation import best_network, headline, write_distillation_report
from muster.training.distilling import BASELINE, DISTILLED, ENSEMBLE, GREEDY, UNIFORM, Compared, DistillResult


def result_with(**results: float) -> DistillResult:
    names = {"whole": ENSEMBLE, "taught": DISTILLED, "uniform": UNIFORM, "greedy": GREEDY, "b1": BASELINE}
    of = {"greedy": "first", "uniform": "first, second"}
    models = {names[key]: Compared(result, None, 0.1, 10, 1.0, of.get(key, key)) for key, result in results.items()}
    return DistillResult("here", ("a", "b"), models, 4, 0, 2, {})


def test_the_headline_is_about_the_best_network_that_was_made() -> None:
    assert best_network(result_with(whole=0.9, taught=0.5, uniform=0.6, b1=0.8)) == UNIFORM
    assert best_network(result_with(whole=0.9, b1=0.8)) is None
    assert "(distilled) reaches 0.700" in headline(result_with(whole=0.9, taught=0.7, uniform=0.6))
    assert "(uniform soup) reaches" in headline(result_with(whole=0.9, uniform=0.6))


def test_a_soup_of_a_single_member_is_called_that() -> None:
    assert "One network (greedy soup, which took first alone) reaches" in headline(result_with(whole=0.9, greedy=0.6))


def test_b1_is_explained_only_where_it_is(tmp_path: Path) -> None:
    for more, there in (({}, False), ({"b1": 0.8}, True)):
        page = write_distillation_report(result_with(whole=0.9, taught=0.7, **more), tmp_path / "page.html", "")
        assert ("B1 is as its own run measured it" in page.read_text("utf-8")) == there
