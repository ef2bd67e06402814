from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muster.commands.finetuning_summary import print_finetuning
from muster.commands.terminal import make_console
from muster.report import FinetuneResult
from tests.report.made_up import make_result


def printed(result: FinetuneResult, width: int = 140) -> str:
    console = make_console()
    console.width = width
    with console.capture() as capture:
        print_finetuning(result, Path("a folder"), console)
    return capture.get()


@pytest.mark.parametrize("width", [80, 140])
def test_every_miou_stands_beside_its_cost(width: int) -> None:
    result = make_result()
    lines = printed(result, width).splitlines()
    heading = next(line for line in lines if "95 % interval" in line)
    assert all(word in heading for word in ("mIoU", "models", "parameters", "an image"))
    for name, reached in result.results.items():
        low, high = result.result_intervals[name]
        models, parameters, seconds = ("1", "1.23 M", "12.3 ms")
        if result.costs[name].models == 3:
            models, parameters, seconds = ("3", "3.7 M", "36.9 ms")
        ends = [f"{reached:.3f}", f"{low:.3f} to {high:.3f}", models, parameters, seconds]
        assert any(all(f" {cell}" in line for cell in ends) for line in lines), name


def test_sentences_and_what_to_type_next() -> None:
    text = printed(make_result())
    assert "The ensemble with the learned head reaches" in text
    assert "the single best member by LEEP (B1)" in text
    assert "3.0 times the parameters and 3.0 times the time" in text
    assert "1,000 bootstrap samples of the 4 test images" in text
    assert "Time for an image: median of 5 forward passes <here>." in text
    assert "Resumed from step 4 of 10." in text
    assert "--ensemble 'a folder'" in text


def test_names_are_no_markup() -> None:
    result = make_result(members=("[red]one[/red]", "[two]", "three"))
    text = printed(replace(result, target="[bold]"))
    for name in ("[red]one[/red]", "[two]", "[bold]"):
        assert name in text


def test_an_older_result_is_printed_without_what_it_lacks() -> None:
    older = replace(make_result(), costs={}, cost_measured="", result_intervals={}, differences_to_single_best={},
                    resumed_at_steps=())  # fmt: skip
    text = printed(older)
    assert "No interval can be given for 4 test images." in text
    assert "Resumed" not in text
    assert "Time for an image" not in text
