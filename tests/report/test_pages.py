from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from markupsafe import escape
from PIL import Image

from muster.report import LEARNED_HEAD, write_finetuning_report, write_selection_report
from muster.search import SearchStatus
from muster.selection import Selection
from muster.selection.image_predictions import TranslatedClasses
from muster.selection.record_parts import Guessing, SizeStep
from tests.report.made_up import (
    CLASSES,
    MEMBERS,
    listing_only,
    make_image_of,
    make_pool,
    make_result,
    make_selection,
    make_target,
)


class Page(HTMLParser):
    """What a browser would see: texts, addresses, and whether every tag is closed."""

    VOID_TAGS = frozenset({"meta", "img", "br", "wbr", "link", "input", "hr"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.text = "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data")]
        if tag not in self.VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def check(self) -> None:
        """Nothing from outside, nothing broken, and small enough to mail."""
        assert not self.open
        assert self.addresses
        assert all(address.startswith("data:") for address in self.addresses)
        assert not re.search(r"@import|url\(|<link", self.source)
        assert len(self.source) < 3_000_000
        for address in self.addresses:
            kind, content = address.split(";base64,")
            raw = base64.b64decode(content, validate=True)
            if kind == "data:image/svg+xml":
                svg = ElementTree.fromstring(raw)
                assert svg.tag.endswith("svg")
            else:
                Image.open(BytesIO(raw)).load()


def selection_page(tmp_path: Path, **options: object) -> Page:
    selection = make_selection(**options)  # type: ignore[arg-type]
    names = (*selection.members, "ensemble")
    report_images = [make_image_of(names, len(selection.classes), seed) for seed in range(2)]
    pool = make_pool(selection.member_names)
    target = make_target(selection.classes)
    path = write_selection_report(
        selection, pool, target, tmp_path / "ä b" / "report.html", report_images=report_images
    )
    return Page(path)


def test_selection_report_is_whole_and_says_every_name(tmp_path: Path) -> None:
    page = selection_page(tmp_path)
    page.check()
    for name in (*CLASSES, *MEMBERS, "target <1>", "bad <one>", "its predictions are NaN & <worse>"):
        assert name in page.text
        assert str(escape(name)) in page.source.replace("<wbr>", "")
    assert "net" not in page.tags, "a member's name became a tag"
    assert "python finetune.py --selection" in page.text
    assert f"'{tmp_path / 'ä b'}'" in page.text, "a path with a space must be quoted"


def test_selection_report_counts_images(tmp_path: Path) -> None:
    page = selection_page(tmp_path)
    # Two images with image, truth, three members, ensemble and confidence; one plot.
    assert page.tags.count("img") == 2 * 7 + 1


def test_scores_and_order_are_those_of_the_ranking(tmp_path: Path) -> None:
    page, selection = selection_page(tmp_path), make_selection()
    order = selection.ranking.order("soft_iou_eep")
    shown = [float(value) for value in re.findall(r'data-value="(0\.\d+)">0\.', page.source)]
    assert shown == selection.ranking.scores["soft_iou_eep"][order].tolist()


def test_one_candidate(tmp_path: Path) -> None:
    page = selection_page(tmp_path, names=MEMBERS[:2], size=2)
    page.check()
    assert "It is the only candidate of its size; " in page.text
    assert "nearly all alike" not in page.text


def page_of(selection: Selection, tmp_path: Path) -> Page:
    """The page of a selection without images."""
    page = Page(write_selection_report(selection, make_pool(), make_target(), tmp_path / "r.html", report_images=[]))
    page.check()
    return page


def test_no_listed_candidate_holds_the_best_single_member(tmp_path: Path) -> None:
    selection = make_selection()
    absent = next(name for name in MEMBERS if name not in selection.members)
    page = page_of(listing_only(selection, 1, single_best=absent), tmp_path)
    assert "(B1) in it" not in page.text
    assert "(B1) in it" in page_of(listing_only(selection, 1, single_best=selection.members[0]), tmp_path).text


def test_the_leaders_of_a_search_are_not_all_candidates(tmp_path: Path) -> None:
    searched = {"search": SearchStatus("beam", 10, 30)}
    text = page_of(listing_only(make_selection(spread=0.001), 4, **searched), tmp_path).text
    assert "the best of the 4 leading candidates that beam search found" in text
    assert "Scores of the 4 leading candidates that beam search found" in text
    assert "beam, 4 candidates kept" in text
    for said_of_all in ("nearly all alike", "Do the metrics agree", "all 4 candidates", "4 candidates scored"):
        assert said_of_all not in text


def test_one_leader_of_a_search_is_not_the_only_candidate(tmp_path: Path) -> None:
    searched = {"search": SearchStatus("greedy", 10, 12)}
    text = page_of(listing_only(make_selection(), 1, **searched), tmp_path).text
    assert "It is the only candidate that greedy search found; " in text
    assert "Not all ensembles were scored (12 sets were): nothing is promised of how far it is from the best." in text


@pytest.mark.parametrize(("count", "said"), [(1, "the only candidate within"), (4, "the 4 candidates within")])
def test_limits_are_said(tmp_path: Path, count: int, said: str) -> None:
    assert f"{said} the limits" in page_of(listing_only(make_selection(), count), tmp_path).text


def test_an_interrupted_search_is_said(tmp_path: Path) -> None:
    assert "The search was interrupted" in page_of(replace(make_selection(), interrupted=True), tmp_path).text


def test_cost_of_a_size_has_its_unit(tmp_path: Path) -> None:
    members = make_selection().members
    sizes = (SizeStep(1, members[:1], 0.4, 0.04), SizeStep(2, members[:2], 0.5, 1.6), SizeStep(3, members, 0.6, 25.0))
    seconds = page_of(replace(make_selection(), sizes=sizes, cost_unit="seconds"), tmp_path)
    assert all(f">{cost}</td>" in seconds.source for cost in ("40 ms", "1.6 s", "25.0 s"))
    sizes = (SizeStep(1, members[:1], 0.4, 340_000.0), SizeStep(3, members, 0.6, 1_020_000.0))
    parameters = page_of(replace(make_selection(), sizes=sizes, cost_unit="parameters"), tmp_path)
    assert all(f">{cost}</td>" in parameters.source for cost in ("340 k", "1.02 M"))


def test_metrics_left_out_show_without_metrics_of_single_members(tmp_path: Path) -> None:
    text = page_of(replace(make_selection(), dropped={"logme": "no features"}), tmp_path).text
    assert "Metrics left out" in text
    assert "no features" in text


@pytest.mark.parametrize(
    ("predictor", "said"),
    [
        ("eep", "on the probe pixels, by EEP."),
        ("linear_probe", "on the probe pixels, by the linear probe (a classifier fitted on each member"),
    ],
)
def test_predicted_iou_names_its_predictor(tmp_path: Path, predictor: str, said: str) -> None:
    selection = replace(make_selection(), predictor=predictor)
    assert said in page_of(selection, tmp_path).text
    report_images = [make_image_of((*selection.members, "ensemble"), len(selection.classes))]
    path = write_selection_report(
        selection, make_pool(), make_target(), tmp_path / "r.html", report_images=report_images
    )
    label = {"eep": "EEP", "linear_probe": "the linear probe"}[predictor]
    assert f"s prediction by {label}; the ensemble is the mean." in Page(path).text
    assert "instead" not in Page(path).text
    translated = dict.fromkeys(selection.members, TranslatedClasses(torch.eye(4)))
    selection = replace(selection, on_images=translated)
    path = write_selection_report(
        selection, make_pool(), make_target(), tmp_path / "r.html", report_images=report_images
    )
    assert "s prediction by EEP" in Page(path).text
    assert ("rest on the linear probe instead" in Page(path).text) == (predictor == "linear_probe")


def test_what_is_no_better_than_guessing_is_said_first_and_not_claimed(tmp_path: Path) -> None:
    guessing = Guessing(-2.42, 0.02, "delta", -2.4, 0.03, -2.45, -2.36, 0.95, ())
    page = page_of(replace(make_selection(), guessing=guessing), tmp_path)
    page.check()
    header = page.source.split("</header>")[0]
    assert "No member of the pool does better on target &lt;1&gt; than guessing." in header
    assert "LEEP of -2.400" in header
    assert "Fine-tune <span" not in page.source
    assert "To fine-tune them all the same" in header
    claimed = page_of(replace(make_selection(), guessing=replace(guessing, better=("delta",))), tmp_path).source
    assert "Fine-tune <span" in claimed
    assert "than guessing" not in claimed


@pytest.mark.parametrize("better", [(), ("delta",)])
def test_whether_members_know_anything_is_asked_once(tmp_path: Path, better: tuple[str, ...]) -> None:
    # LEEP of the predictor itself says that they know next to nothing, its LEEP on other images that they know much.
    selection = make_selection()
    selection = replace(selection, member_scores=dict.fromkeys(selection.member_scores, -99.0))
    guessing = Guessing(-2.42, 0.02, "delta", -1.21, 0.03, -1.3, -1.1, 0.95, better)
    page = page_of(replace(selection, guessing=guessing), tmp_path)
    assert ("than guessing" in page.source) == (not better)
    assert "unpredictable" not in page.source
    assert "of the 2.420 of the probe pixels delta explains 50 %" in page.text


def test_says_how_hard_subsets_were_found(tmp_path: Path) -> None:
    selection = replace(make_selection(), hardness_models={"haste_cs": {"source0": "delta"}}, hard_eep="recount")
    text = page_of(selection, tmp_path).text
    assert "The hardness model is delta for members of source0." in text
    assert "EEPs were counted anew" in text


def test_one_member_alone(tmp_path: Path) -> None:
    page = selection_page(tmp_path, size=1)
    page.check()
    assert "together" not in page.source.split("</h1>")[0]


def test_sixty_classes(tmp_path: Path) -> None:
    classes = tuple(f"class {index} <{index}>" for index in range(60))
    page = selection_page(tmp_path, classes=classes)
    page.check()
    assert all(name in page.text for name in classes)


def test_alike_scores_are_said(tmp_path: Path) -> None:
    assert "nearly all alike" in selection_page(tmp_path, spread=0.005).text
    assert "nearly all alike" not in selection_page(tmp_path, spread=0.2).text


def test_a_selection_from_disk_has_no_images(tmp_path: Path) -> None:
    selection = make_selection()
    path = write_selection_report(selection, make_pool(), make_target(), tmp_path / "report.html", command="do <this>")
    page = Page(path)
    page.check()
    assert page.tags.count("img") == 1
    assert "do <this>" in page.text


@pytest.mark.parametrize("classes", [CLASSES, tuple(f"<{index}>" for index in range(60))])
def test_finetuning_report_is_whole_and_says_every_name(tmp_path: Path, classes: tuple[str, ...]) -> None:
    result = make_result(classes)
    report_images = [make_image_of((*result.members, LEARNED_HEAD), len(classes))]
    page = Page(write_finetuning_report(result, tmp_path / "report.html", report_images, command="predict <x>"))
    page.check()
    for name in (*classes, *result.members, "delta", "predict <x>"):
        assert name in page.text
    for value in result.results.values():
        assert f"{value:.3f}" in page.text
    assert "not in the test split" in page.text
    # One image with image, truth, three members, head and confidence; scatter and losses.
    assert page.tags.count("img") == 7 + 2


def test_finetuning_report_says_how_the_result_came_about(tmp_path: Path) -> None:
    text = Page(write_finetuning_report(make_result(), tmp_path / "report.html")).text
    for told in ("0.02, schedule step", "16 images", "96 pixels, longer side", "cpu (made up, 2 threads)", "32-true",
                 "2026-01-31 12:34 UTC", "muster 0.1.0, torch 2", "Resumed from step 4 of 10.",
                 "Time for an image: median of 5 forward passes <here>."):  # fmt: skip
        assert told in text


def test_every_miou_of_the_finetuning_report_has_interval_and_cost(tmp_path: Path) -> None:
    result = make_result()
    text = Page(write_finetuning_report(result, tmp_path / "report.html")).text
    for low, high in result.result_intervals.values():
        assert f"{low:.3f} to {high:.3f}" in text
    assert text.count("1 model, 1.23 M parameters, 12.3 ms an image") >= 4
    assert text.count("3 models, 3.7 M parameters, 36.9 ms an image") >= 2
    assert "3.0 times the parameters and 3.0 times the time" in text
    assert "1,000 bootstrap samples of the 4 test images" in text


@pytest.mark.parametrize(
    ("classes", "tabled"), [(2, True), (14, True), (15, True), (40, True), (41, False), (150, False)]
)
def test_confusions_can_be_read_for_few_and_many_classes(tmp_path: Path, classes: int, tabled: bool) -> None:
    page = Page(write_finetuning_report(make_result(tuple(f"c<{i}>" for i in range(classes))), tmp_path / "r.html"))
    page.check()
    assert "What is taken for what" in page.text
    assert ("A row is a true class" in page.text) == tabled
    assert (f"A table of {classes} classes is in confusion.csv" in page.text) != tabled
    assert "The largest confusions" in page.text


def test_finetuning_report_of_an_older_record(tmp_path: Path) -> None:
    full = make_result()
    new = ("learning_rates", "batch_size", "schedule", "image_size", "precision", "device", "date", "versions",
           "resumed_at_steps", "costs", "cost_measured", "result_intervals", "differences_to_single_best", "resamples",
           "confusion")  # fmt: skip
    older = {name: getattr(full, name) for name in vars(full) if name not in new}
    page = Page(write_finetuning_report(type(full)(**older), tmp_path / "report.html"))
    page.check()
    assert "What is taken for what" not in page.text
    assert "Resumed" not in page.text
    assert "No interval can be given" in page.text


def test_selection_report_says_when_and_where(tmp_path: Path) -> None:
    text = page_of(replace(make_selection(), device="cpu (made up)", date="2026-01-31T12:34:56+00:00"), tmp_path).text
    assert "cpu (made up)" in text
    assert "2026-01-31 12:34 UTC" in text
    assert "UTC" not in page_of(make_selection(), tmp_path).text  # one made before it was noted


def test_finetuning_report_says_when_the_baseline_wins(tmp_path: Path) -> None:
    result = make_result()
    result.results["delta"] = result.results[LEARNED_HEAD] + 0.123
    page = Page(write_finetuning_report(result, tmp_path / "report.html"))
    assert "12.3 points less than delta" in page.text


def test_finetuning_report_with_the_least_there_can_be(tmp_path: Path) -> None:
    full = make_result()
    values = {name: getattr(full, name) for name in vars(full)}
    values |= {"predicted_class_ious": None, "losses": {}, "head_weights": {}, "head_biases": {}}
    page = Page(write_finetuning_report(type(full)(**values), tmp_path / "report.html"))
    assert not page.open
    assert not page.addresses


def test_images_show_what_they_are_given(tmp_path: Path) -> None:
    from muster.report import label_colours

    selection = make_selection()
    report_image = make_image_of((*selection.members, "ensemble"), 4)
    path = write_selection_report(
        selection, make_pool(), make_target(), tmp_path / "r.html", report_images=[report_image]
    )
    images = [Image.open(BytesIO(base64.b64decode(a.split(",")[1]))) for a in Page(path).addresses if "png" in a[:20]]
    shown = [np.asarray(image.convert("RGB")) for image in images]
    assert np.array_equal(shown[0], report_image.image.permute(1, 2, 0).numpy())
    assert np.array_equal(shown[1], label_colours(report_image.truth))
    assert np.array_equal(shown[5], label_colours(report_image.predictions["ensemble"]))
