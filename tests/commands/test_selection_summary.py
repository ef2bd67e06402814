from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from muster.commands.selection_summary import finetune_command, print_selection
from muster.commands.terminal import make_console
from muster.pool import Pool
from muster.search import SearchStatus
from muster.selection import Selection
from muster.selection.record_parts import Guessing, SizeStep
from muster.tasks.task import TASKS, Task
from tests.report.made_up import listing_only, make_pool, make_selection

SEARCHED = {"search": SearchStatus("beam", 10, 30)}


def printed(selection: Selection, pool: Pool | None = None, chosen_size: bool = False) -> str:
    console = make_console()
    console.width = 200
    with console.capture() as capture:
        print_selection(selection, pool or make_pool(), Path("folder"), console, chosen_size)
    return capture.get()


def test_where_the_image_size_comes_from() -> None:
    selection, pool = make_selection(), make_pool()
    assert "(the median of the members' cards)" in printed(selection, pool, chosen_size=True)
    silent = [replace(member, card=replace(member.card, image_size=None)) for member in pool]
    told = printed(selection, Pool(pool.folder, tuple(silent)), chosen_size=True)
    assert "(no card says a size; --image_size gives another)" in told
    assert "median" not in told


@pytest.mark.parametrize(
    ("selection", "listed"),
    [
        (make_selection(), "the best of all 10 candidates, "),
        (make_selection(size=5), "the only candidate of its size."),
        (listing_only(make_selection(), 1), "the only candidate within the limits."),
        (listing_only(make_selection(), 4), "the best of the 4 candidates within the limits, "),
        (listing_only(make_selection(), 1, **SEARCHED), "the only candidate that beam search found."),
        (listing_only(make_selection(), 4, **SEARCHED), "of the 4 leading candidates that beam search found, "),
    ],
)
def test_says_what_the_chosen_ensemble_was_compared_with(selection: Selection, listed: str) -> None:
    assert listed in printed(selection)


def test_an_interrupted_search_is_said() -> None:
    assert "The search was interrupted." in printed(replace(make_selection(), interrupted=True))
    assert "interrupted" not in printed(make_selection())


@pytest.mark.parametrize(
    ("cost", "unit", "shown"),
    [
        (0.04, "seconds", "40 ms"),
        (0.0123456, "seconds", "12.3 ms"),
        (0.99996, "seconds", "1.0 s"),
        (1.6, "seconds", "1.6 s"),
        (1_020_000.0, "parameters", "1.02 M"),
    ],
)
def test_cost_of_a_size_has_its_unit(cost: float, unit: str, shown: str) -> None:
    selection = make_selection()
    step = SizeStep(3, selection.members, 0.5, cost)
    assert shown in printed(replace(selection, sizes=(step,), cost_unit=unit))


GUESSING = Guessing(-2.42, 0.02, "delta", -2.4, 0.03, -2.45, -2.36, 0.95, ())


def test_what_is_no_better_than_guessing_is_said_first_and_not_claimed() -> None:
    shown = printed(replace(make_selection(), guessing=GUESSING))
    assert shown.startswith("No member of this pool does better on target <1> than guessing by class frequency")
    assert "delta, has a LEEP of -2.400" in shown
    assert "(95 % interval over the images -2.450 to -2.360), guessing -2.420" in shown
    assert "explains 1 % of the entropy" in shown
    assert "The first 3 of 5 by SoftIoU-EEP, no recommendation:" in shown
    assert "To fine-tune them all the same: python finetune.py" in shown
    for better in (None, replace(GUESSING, better=("delta",))):
        claimed = printed(replace(make_selection(), guessing=better))
        assert "guessing" not in claimed
        assert "The chosen 3 of 5, by SoftIoU-EEP:" in claimed
        assert "Next: python finetune.py" in claimed


def test_equals_are_said_to_be_level() -> None:
    selection = make_selection()
    best = selection.ranking.order("soft_iou_eep")[:3]
    level = selection.ranking.scores["soft_iou_eep"].copy()
    level[best] = level[best].max()
    ranking = selection.ranking.with_scores("soft_iou_eep", level)
    assert "level with 2 others; these are the first by name." in printed(
        replace(selection, ranking=ranking, margin=0.0)
    )
    assert "level with" not in printed(selection)


def test_says_which_predictor_leep_and_b1_rest_on() -> None:
    scores = make_selection().member_scores
    shown = printed(replace(make_selection(), predictor="linear_probe", single_scores={"leep": scores}))
    assert "LEEP, single (B1, linear probe)" in shown
    assert "LEEP by the linear probe" in shown


def test_says_how_hard_subsets_were_found() -> None:
    assert "hardness model" not in printed(make_selection())
    shown = printed(replace(make_selection(), hardness_models={"haste_cs": {"source0": "delta"}}, hard_eep="whole"))
    assert "The hardness model is delta for members of source0." in shown
    assert "with the EEPs of the whole probe set" in shown


@pytest.mark.parametrize("task", list(TASKS), ids=lambda task: task.name)
def test_built_in_datasets_go_with_a_recipe_of_their_task(task: Task) -> None:
    selection = replace(make_selection(), target_reference="boxes/harbour_drive", task=task.name)
    recipe = finetune_command(Path("chosen"), selection).split("--config ")[1].split()
    training = yaml.safe_load(Path(recipe[0]).read_text())["training"]
    assert (recipe[-1] if len(recipe) > 1 else training.get("loss", "scores")) in task.losses
