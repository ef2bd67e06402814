"""The sentences beside an mIoU: whatever the sign, and what cannot be told is not claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muster.report import LEARNED_HEAD, PLAIN_MEAN, Cost, Difference, FinetuneResult, write_finetuning_report
from muster.report.tables import finetuning_tables, result_names, result_table
from muster.report.wording.confirmation import confirmation_sentence
from muster.report.wording.equal_cost import equal_cost_sentence, single_wins, spent_on_text
from muster.report.wording.finetuning import (
    cost_sentence,
    cost_text,
    difference_sentence,
    head_sentence,
    interval_sentence,
    result_label,
    resumed_text,
)
from muster.tasks.segmentation import SEGMENTATION
from muster.tasks.text_classification import TEXT_CLASSIFICATION
from muster.training.results import EQUAL_COST, Confirmation, ConfirmationRound, EqualCost, HeadChoice, SpentOn
from tests.report.made_up import make_result


def compared(points: float, low: float | None, high: float | None) -> FinetuneResult:
    result = make_result()
    results = result.results | {LEARNED_HEAD: result.results["delta"] + points / 100}
    ends = [None if end is None else end / 100 for end in (low, high)]
    return replace(result, results=results, differences_to_single_best={LEARNED_HEAD: Difference(points / 100, *ends)})


@pytest.mark.parametrize(
    ("points", "low", "high", "told", "doubted"),
    [
        (4.8, 2.1, 7.3, "4.8 points more than delta", False),
        (-4.8, -7.3, -2.1, "4.8 points less than delta", False),
        (0.4, -1.2, 2.0, "0.4 points more than delta", True),
        (0.01, -1.2, 2.0, "as much as delta", True),
        (0.0, 0.0, 0.0, "as much as delta", True),
    ],
)
def test_difference(points: float, low: float, high: float, told: str, doubted: bool) -> None:
    sentence = difference_sentence(compared(points, low, high))
    assert sentence.startswith(told)
    assert f"{low:+.1f} to {high:+.1f} points".replace("-", "\N{MINUS SIGN}") in sentence
    assert ("cannot tell that from no difference" in sentence) == doubted


def test_difference_without_interval_claims_none() -> None:
    sentence = difference_sentence(compared(4.8, None, None))
    assert sentence == "4.8 points more than delta, the single best member by LEEP (B1), fine-tuned likewise."


def test_no_baseline_no_sentence() -> None:
    result = make_result()
    results = {name: value for name, value in result.results.items() if name != "delta"}
    assert difference_sentence(replace(result, results=results)) == ""


def test_costs() -> None:
    assert cost_text(Cost(1, 338_000, 0.0031), SEGMENTATION) == "1 model, 338 k parameters, 3.1 ms an image"
    assert cost_text(Cost(3, 1_020_000, 1.6), TEXT_CLASSIFICATION) == "3 models, 1.02 M parameters, 1.6 s a text"
    assert "3.0 times the parameters and 3.0 times the time" in cost_sentence(make_result())
    alone = make_result(members=("delta",))
    same = alone.costs | {LEARNED_HEAD: replace(alone.costs["delta"], parameters=alone.costs["delta"].parameters + 12)}
    assert "times" not in cost_sentence(replace(alone, costs=same))
    assert cost_sentence(replace(alone, costs={})) == ""


@pytest.mark.parametrize(("images", "few"), [(4, True), (29, True), (30, False), (2000, False)])
def test_few_images_are_called_few(images: int, few: bool) -> None:
    sentence = interval_sentence(replace(make_result(), test_images=images))
    assert f"{images:,} test images" in sentence
    assert ("too narrow" in sentence) == few


def test_one_image_gives_no_interval() -> None:
    one = replace(make_result(), test_images=1, result_intervals={})
    assert interval_sentence(one) == "No interval can be given for 1 test image."


def test_resumed() -> None:
    assert resumed_text(replace(make_result(), resumed_at_steps=())) == ""
    assert resumed_text(make_result()) == "Resumed from step 4 of 10."
    often = replace(make_result(), resumed_at_steps=(200, 400, 1000), steps=2000)
    assert resumed_text(often) == "Resumed from steps 200, 400 and 1,000 of 2,000."


def test_labels_tell_members_from_the_baseline() -> None:
    result = make_result()
    assert result_label(result, LEARNED_HEAD) == "ensemble, learned head"
    assert result_label(result, "delta") == "delta (B1, the best single by LEEP)"
    assert result_label(result, result.members[0]) == f"member {result.members[0]}"
    inside = replace(result, single_best=result.members[0])
    assert result_label(inside, result.members[0]) == f"member {result.members[0]} (B1, the best single by LEEP)"


def test_the_table_for_trackers_has_every_number() -> None:
    result = make_result()
    table = result_table(result)
    assert len(table.rows) == len(result.results)
    for row in table.rows:
        assert len(row) == len(table.columns)
        assert row[-2] == result.costs[str(row[0])].parameters
    older = result_table(replace(result, costs={}, result_intervals={}, differences_to_single_best={}))
    assert older.rows[0][2:] == (None, None, "", *[None] * 6)


def _confirmed(*rounds: ConfirmationRound, chosen: tuple[str, ...]) -> FinetuneResult:
    confirmation = Confirmation(("a", "b"), chosen, rounds, 120, 30, 75.2)
    return replace(make_result(), metric="soft_iou_eep", confirmation=confirmation)


def test_a_confirmation_says_what_it_changed_and_what_it_cost() -> None:
    first = ConfirmationRound(20, (("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")), (0.31, 0.42, None, 0.4))
    second = ConfirmationRound(40, (("a", "c"), ("c", "d")), (0.45, 0.47))
    told = confirmation_sentence(_confirmed(first, second, chosen=("c", "d")))
    assert told == (
        "The 4 leading candidates by SoftIoU-EEP (4 members) were fine-tuned briefly on 120 training images and "
        "compared on the other 30, which took 1 min 15 s. This replaced the metric's choice, a + b, by c + d: held-out "
        "mIoU 0.400 against 0.310 after 20 steps."
    )
    stays = ConfirmationRound(20, (("a", "b"), ("a", "c")), (0.4, 0.4))
    assert "This confirmed the metric's choice, a + b." in confirmation_sentence(_confirmed(stays, chosen=("a", "b")))
    alone = ConfirmationRound(20, (("a", "b"),), (0.4,))
    told = confirmation_sentence(_confirmed(alone, chosen=("a", "b")))
    assert "The only candidate by SoftIoU-EEP (2 members) was fine-tuned briefly" in told
    assert confirmation_sentence(make_result()) == ""


def test_the_table_of_a_confirmation_has_a_column_a_round() -> None:
    first = ConfirmationRound(20, (("a", "b"), ("a", "c"), ("b", "c")), (0.31, 0.42, None))
    second = ConfirmationRound(40, (("a", "c"),), (0.45,))
    table = finetuning_tables(_confirmed(first, second, chosen=("a", "c")))["confirmation"]
    assert table.columns[2:] == ("held-out mIoU, 20 steps", "held-out mIoU, 40 steps", "choice")
    assert table.rows == [
        (1, "a + b", 0.31, None, ""), (2, "a + c", 0.42, 0.45, "chosen"), (3, "b + c", None, None, "")
    ]  # fmt: skip


def _with_single(points: float, **of_option: object) -> FinetuneResult:
    """The ensemble ``points`` beyond a single model of equal cost."""
    result = make_result()
    option = SpentOn(**{"image_size": 96, "scales": (1.0,), "flip": False, "seconds_per_image": 0.03} | of_option)  # type: ignore[arg-type]
    beyond = Difference(points / 100, points / 100 - 0.01, points / 100 + 0.01)
    single = EqualCost("delta", "soft_iou_eep", 30, (option,), 0, 0.037, 10, 120, 30, 75.0, beyond)
    reached = result.results[LEARNED_HEAD] - points / 100
    costs = result.costs | {EQUAL_COST: Cost(1, 1_234_567, 0.031)}
    classes = result.class_ious | {EQUAL_COST: result.class_ious["delta"]}
    return replace(
        result, results=result.results | {EQUAL_COST: reached}, costs=costs, class_ious=classes, equal_cost=single
    )


@pytest.mark.parametrize(
    ("points", "told", "wins"), [(1.5, "1.5 points more than", False), (-2.0, "2.0 points less than", True)]
)
def test_the_single_model_of_equal_cost_is_told_whatever_the_sign(
    points: float, told: str, wins: bool, tmp_path: Path
) -> None:
    result = _with_single(points)
    sentence = equal_cost_sentence(result)
    assert sentence.startswith(f"The ensemble reaches {told} a single model of equal cost, which reaches ")
    assert "95 % interval of the difference" in sentence
    assert (
        "delta, the best member by SoftIoU-EEP alone, fine-tuned for 30 steps, with one view of images of" in sentence
    )
    assert "31 ms an image against the ensemble's 36.9 ms" in sentence
    assert single_wins(result) == wins
    page = write_finetuning_report(result, tmp_path / "report.html").read_text("utf-8")
    assert ("A single model of equal cost reaches" in page) == wins
    against = difference_sentence(result)
    assert (f"The ensemble reaches {against}" in page) == wins  # the headline speaks of another model then
    assert "decided by trials of 10 steps on 120 training images and mIoU on the other 30" in page
    assert equal_cost_sentence(make_result()) == ""


def test_what_the_time_is_spent_on() -> None:
    told = spent_on_text(SpentOn(96, (0.75, 1.0), True, 0.1))
    assert told == "images of 96 pixels, longer side, at scales 0.75, 1, mirrored too"
    assert result_label(_with_single(1.0), EQUAL_COST) == "single model of equal cost, delta"


def test_an_ensemble_of_one_is_called_by_its_member(tmp_path: Path) -> None:
    """Its plain mean is that member, and it costs what the member costs: neither is told twice."""
    one = replace(make_result(members=("alpha",)), single_best="alpha")
    one = replace(one, results=one.results | {LEARNED_HEAD: one.results["alpha"] + 0.004}, equal_cost=None)
    assert difference_sentence(one).startswith("0.4 points more than without it")
    assert cost_sentence(one) == ""
    assert (result_label(one, LEARNED_HEAD), PLAIN_MEAN in result_names(one)) == ("with the learned head", False)
    page = write_finetuning_report(one, tmp_path / "page.html").read_text("utf-8")
    assert "alpha reaches" in page
    assert "With the learned head it reaches 0.4 points more than without it" in page
    assert "The ensemble" not in page
    assert page.count("plain mean") == 1  # what the head's weights are measured by
    two = make_result(members=("alpha", "beta"))
    assert "The ensemble" in write_finetuning_report(two, tmp_path / "two.html").read_text("utf-8")


def without_head(result: FinetuneResult) -> FinetuneResult:
    """The same where no head did better on held-out images."""
    results = result.results | {LEARNED_HEAD: result.results[PLAIN_MEAN]}
    return replace(result, results=results, head_choice=HeadChoice(None, 0.51, {1e-4: 0.48, 0.1: 0.51}, 150, 5))


def test_a_head_that_was_not_kept_is_called_none(tmp_path: Path) -> None:
    result = without_head(make_result())
    assert head_sentence(result) == (
        "The learned head was not kept: on held-out images none of the heads that were tried did better than the plain "
        "mean (mIoU 0.510, the plain mean 0.510). Compared on 150 training images left out in 5 parts, one after the "
        "other; the members had learned from them."
    )
    assert PLAIN_MEAN not in result_names(result)
    assert result_label(result, LEARNED_HEAD) == "ensemble, plain mean (no head was kept)"
    page = write_finetuning_report(result, tmp_path / "report.html").read_text("utf-8")
    assert "The learned head was not kept: on held-out images" in page
    assert "What the ensemble head learned" not in page
    assert page.count("learned head") == 1
    assert [row[0] for row in result_table(result).rows][:2] == [PLAIN_MEAN, *result_names(result)[1:2]]


def test_a_head_that_was_kept_says_why(tmp_path: Path) -> None:
    kept = replace(make_result(), head_choice=HeadChoice(0.01, 0.5, {1e-4: 0.51, 0.01: 0.52}, 150, 5))
    assert head_sentence(kept) == (
        "The learned head was kept, with a penalty of 0.01: on held-out images it reached mIoU 0.520, the plain mean "
        "0.500. Compared on 150 training images left out in 5 parts, one after the other; the members had learned from "
        "them."
    )
    once = replace(kept, head_choice=HeadChoice(None, 0.5, {0.0: 0.49}, 30, 1))
    assert "on held-out images it did no better than the plain mean (mIoU 0.490, the plain mean 0.500)" in (
        head_sentence(once)
    )
    assert head_sentence(once).endswith("Compared on 30 training images left out; the members had learned from them.")
    assert "no held-out training images" in head_sentence(replace(kept, head_choice=HeadChoice(None)))
    assert head_sentence(make_result()) == ""
    assert "What the ensemble head learned" in write_finetuning_report(kept, tmp_path / "a.html").read_text("utf-8")


def test_b1_alone_without_a_head_is_compared_with_nothing() -> None:
    alone = make_result(members=("delta",))
    assert difference_sentence(without_head(alone)) == ""
    assert result_label(without_head(alone), LEARNED_HEAD) == "with no head, as none was kept"
