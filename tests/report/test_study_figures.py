"""Every figure of a study: SVG whose dots say what they are, PNG, and a page of its own."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from muster.errors import OutputError
from muster.report import choice_figures, study_figures, sweep_figures, transfer_figures
from muster.report.study_page import PagePart, write_figures, write_study_page
from muster.report.study_style import StudyFigure, start
from muster.report.study_tables import frame_table

SVG = "{http://www.w3.org/2000/svg}"
TARGETS = ("camvid", "$a<b>&$", "木")
METRICS = ("leep", "soft_iou_eep", "not_a_metric")


def table(**columns: list[object]) -> pd.DataFrame:
    """All combinations of the given values."""
    index = pd.MultiIndex.from_product(columns.values(), names=list(columns))
    return index.to_frame(index=False)


def numbers(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return frame.assign(**{name: random.uniform(-1, 1, len(frame)) for name in names})


def scores() -> pd.DataFrame:
    return numbers(
        table(target=[*TARGETS[:2]], metric=[*METRICS[:2]], members=["a b", "a c", "b c"]), "score", "result"
    )


def correlations() -> pd.DataFrame:
    frame = numbers(table(target=[*TARGETS], metric=[*METRICS]), "weighted_kendall")
    return frame.assign(low=frame["weighted_kendall"] - 0.1, high=np.nan)


def references() -> pd.DataFrame:
    return numbers(table(target=[*TARGETS], reference=["two runs", "a perfect metric"]), "value")


def choices() -> pd.DataFrame:
    frame = numbers(table(target=[*TARGETS], choice=["ours", "B1", "oracle"]), "result")
    return frame.assign(result=frame["result"] + 2, members="a b").drop(index=5)


def matrix() -> pd.DataFrame:
    values = np.array([[np.nan, 12.0, -3.0], [0.0, np.nan, -0.001]])
    index, columns = pd.Index(["x", "y"], name="target"), pd.Index(["leep", "nce", "other"], name="metric")
    return pd.DataFrame(values, index, columns)


def gains() -> pd.DataFrame:
    frame = numbers(table(target=["x", "y"], member=["m", "n"], domain_transfer=["within", "across"]), "gain", "near")
    return frame.assign(small_gain=frame["gain"], full_gain=frame["near"])


def points() -> pd.DataFrame:
    return numbers(table(dataset=["p", "q"], image=["1.png", "2.png"]), "x", "y").assign(domain="d")


def sweep() -> pd.DataFrame:
    frame = numbers(table(metric=[*METRICS], pixels=[100, 500, 1000]), "mean", "deviation")
    return frame.assign(relative_seconds=frame["pixels"] / 500, deviation=frame["deviation"].abs())


def panels() -> pd.DataFrame:
    frame = numbers(table(panel=["camvid", "mean"], metric=[*METRICS], value=[10.0, 20.0, np.inf]), "weighted_kendall")
    frame.loc[4, "weighted_kendall"] = np.nan
    return frame.assign(own=np.isinf(frame["value"]))


def members() -> pd.DataFrame:
    rows = [("x", "a b", (0.4, 0.5), 0.52, 0.55), ("y", "a c", (0.4, 0.3), 0.42, np.nan)]
    return pd.DataFrame(rows, columns=["target", "members", "results", "plain_mean", "learned_head"])


def chosen() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [("x", "m", "y", "single-source"), ("x", "n", "y", "single-source"), ("y", "o", "p q", "multi-source")]
    frame = pd.DataFrame(rows, columns=["target", "member", "dataset", "kind"])
    datasets = pd.DataFrame({"dataset": ["x", "y"], "domain": ["d", "e"], "train_images": [10, 20]})
    return frame.assign(architecture="fpn", pretraining=["none", "imagenet", "none"]), datasets


def intervals() -> pd.DataFrame:
    frame = numbers(table(label=["one", "two"], group=["eep", "linear_probe"]), "value")
    return frame.assign(low=frame["value"] - 0.1, high=frame["value"] + 0.2)


FIGURES: dict[str, tuple[Callable[[], StudyFigure], int]] = {  # how to draw it, and how many parts say something
    "scores": (lambda: study_figures.scores_figure(scores()), 4 * 4),
    "scores of one target": (lambda: study_figures.scores_figure(scores().query("target == 'camvid'")), 2 * 4),
    "agreement": (lambda: study_figures.agreement_figure(correlations(), references=references()), 9 + 6),
    "gain bars": (
        lambda: study_figures.gain_bars_figure(
            pd.DataFrame({"gain over B1": [3.0, -1.0, np.nan, 1.0]}, index=["x", "y", "z", "Average"]), "gain over B1"
        ),
        3,
    ),
    "sizes": (
        lambda: study_figures.sizes_figure(
            numbers(table(target=["x", "y"], size=[1, 2]), "best", "gain").assign(candidates=3)
        ),
        4,
    ),
    "ensemble and members": (lambda: study_figures.members_figure(members()), 4 + 3),
    "choices": (lambda: choice_figures.choices_figure(choices(), baseline="B1", highlighted="ours"), 8 + 3),
    "choices in mIoU": (lambda: choice_figures.choices_figure(choices(), order=["ours", "B1"]), 6),
    "cost": (
        lambda: choice_figures.cost_figure(
            pd.DataFrame({"choice": ["a", "b", "c"], "seconds": [0.5, 5e2, 5e5], "quality": [0.4, 0.6, 0.5]})
        ),
        3,
    ),
    "time": (
        lambda: choice_figures.time_figure(
            pd.DataFrame({"choice": ["a", "b"], "seconds": [0.5, 5e2], "quality": [0.4, 0.6]}), "tau", reference="b"
        ),
        2,
    ),
    "intervals": (lambda: choice_figures.intervals_figure(intervals(), "tau"), 4),
    "chosen sources": (lambda: choice_figures.chosen_sources_figure(*chosen()), 3),
    "gain matrix": (
        lambda: transfer_figures.gain_matrix_figure(matrix(), pd.Series({"x": "d", "y": "e"})), 4
    ),
    "amounts": (lambda: transfer_figures.amount_matrix_figure(matrix().abs(), "distance", reverse=True), 4),
    "amounts of both signs": (lambda: transfer_figures.amount_matrix_figure(matrix(), "tau"), 4),
    "distance and gain": (lambda: transfer_figures.distance_gain_figure(gains(), "near", tau=0.4), 8),
    "two regimes": (lambda: transfer_figures.small_full_figure(gains(), "few", "all"), 8),
    "map": (lambda: transfer_figures.map_figure(points()), 4),
    "sweep": (lambda: sweep_figures.sweep_figure(sweep(), "pixels", reference=500), 9),
    "panels": (lambda: sweep_figures.sweep_panels(panels(), "pixels", "panels", "By pixels"), 2 * 3 * 3 - 1),
    "relative time": (lambda: sweep_figures.sweep_figure(sweep(), "pixels", "relative_seconds", "relative time"), 9),
    "hard subsets": (
        lambda: sweep_figures.hard_subsets_figure(
            numbers(table(target=[*TARGETS], metric=["leep", "nce"]), "base", "CA").assign(CS=np.nan)
        ),
        12,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> dict[str, StudyFigure]:
    return {name: draw() for name, (draw, _) in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_svg_and_png_whose_parts_say_what_they_are(drawn: dict[str, StudyFigure], name: str) -> None:
    figure = drawn[name]
    assert figure.title
    assert figure.caption.endswith(".")
    root = ET.fromstring(figure.svg)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert len(titles) == FIGURES[name][1]
    assert all(titles)
    assert "nan" not in "".join(title or "" for title in titles)
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(str(identifier).startswith(f"{figure.name}-") for identifier in identifiers)
    referred = set(re.findall(r"url\(#([^)]*)\)", figure.svg)) | set(re.findall(r'href="#([^"]*)"', figure.svg))
    assert referred <= set(identifiers)
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", figure.svg)


def test_the_same_frame_gives_the_same_files(drawn: dict[str, StudyFigure]) -> None:
    draw, _ = FIGURES["scores of one target"]
    assert draw() == drawn["scores of one target"]


def test_a_candidate_is_named_with_its_numbers() -> None:
    frame = pd.DataFrame([("t", "leep", "a b", -0.5, 0.25), ("t", "leep", "a c", -0.7, 0.5)],
                         columns=["target", "metric", "members", "score", "result"])  # fmt: skip
    svg = study_figures.scores_figure(pd.concat([frame, frame.assign(score=frame["score"] - 0.2)])).svg
    assert "a + b\nmIoU 0.250, score \N{MINUS SIGN}0.600" in svg  # the mean over two seeds
    assert ">τ \N{MINUS SIGN}1.00<" in svg


def test_a_name_of_any_letters_is_one_of_a_file() -> None:
    figure = sweep_figures.sweep_figure(sweep(), "pixels", name="sweep_150 images/all")
    assert "/" not in figure.name
    assert " " not in figure.name
    assert f'id="{figure.name}-' in figure.svg


def test_many_candidates_are_thinned_but_the_best_stay() -> None:
    count = 3 * study_figures.MOST_DOTS
    frame = pd.DataFrame({"target": "t", "metric": "leep", "members": [f"m{i}" for i in range(count)],
                          "score": np.arange(count), "result": np.arange(count) / count})  # fmt: skip
    titles = re.findall("<title>(.*)", study_figures.scores_figure(frame).svg)
    assert len(titles) == study_figures.MOST_DOTS + 1
    assert {f"m{i}" for i in range(count - study_figures.MOST_DOTS // 4, count)} <= set(titles)


def test_only_choices_that_none_beats_in_both_are_on_the_front() -> None:
    frame = pd.DataFrame({"choice": ["cheap", "equal", "good", "dear"], "seconds": [10.0, 100.0, 100.0, 1000.0],
                          "quality": [0.4, 0.5, 0.6, 0.55]})  # fmt: skip
    assert choice_figures.front_of(frame) == ["cheap", "good"]


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5 s"), (42.0, "42 s"), (90.0, "1.5 min"), (7200.0, "2 h")])
def test_durations(seconds: float, text: str) -> None:
    assert choice_figures.duration(seconds) == text


def test_a_text_is_asked_for_each_part() -> None:
    drawing = start(2.0)
    dots = drawing.figure.subplots().scatter([0, 1], [0, 1])
    drawing.says(dots, ["one"])
    with pytest.raises(ValueError, match="2 parts"):
        drawing.finished("name", "title", "caption")


def test_figures_are_written_as_three_files_each(drawn: dict[str, StudyFigure], tmp_path: Path) -> None:
    figures = [drawn["sizes"], drawn["cost"]]
    files = write_figures(tmp_path / "figures", figures)
    assert sorted(path.name for path in files) == sorted(
        f"{figure.name}.{kind}" for figure in figures for kind in ("svg", "png", "html")
    )
    page = (tmp_path / "figures" / "cost.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert (tmp_path / "figures" / "sizes.png").read_bytes().startswith(b"\x89PNG")
    assert "src=" not in page  # nothing is asked for
    with pytest.raises(ValueError, match="sizes"):
        write_figures(tmp_path, [drawn["sizes"], drawn["sizes"]])


def test_a_page_of_sections_holds_figures_and_tables(drawn: dict[str, StudyFigure], tmp_path: Path) -> None:
    frame = pd.DataFrame({"target": ["<b>"], "gain": [-0.25], "experiments": [1234]})
    parts = [PagePart("Gains & losses", "What <i>text</i> says.", [drawn["map"]], {"Levels": frame_table(frame)})]
    page = write_study_page(tmp_path / "study.html", "A study", "Lead.", parts).read_text(encoding="utf-8")
    assert "Gains &amp; losses" in page
    assert "&lt;b&gt;" in page
    assert "\N{MINUS SIGN}0.<wbr>25" in page
    assert "1,234" in page
    assert "What &lt;i&gt;text" in page
    (tmp_path / "other.html").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="other"):
        write_study_page(tmp_path / "other.html", "A study", "", parts)
