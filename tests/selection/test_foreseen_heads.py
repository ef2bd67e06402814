"""Scores of leading candidates with the head that fine-tuning would learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muster.errors import ConfigError
from muster.metrics import e_leep, parse_metric
from muster.report import selection_tables, write_selection_report
from muster.report.wording import foreseen_heads_sentence
from muster.selection.foreseen_heads import _Units
from muster.selection.record import Selection
from muster.selection.record_parts import ForeseenHeads
from muster.selection.run import select
from muster.tasks.segmentation import SEGMENTATION
from tests.helpers import make_pool, make_target
from tests.report import made_up
from tests.report.made_up import make_selection

CLASSES = 3


def units_of(images: int, each: int) -> _Units:
    generator = torch.Generator().manual_seed(0)
    count = images * each
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    places = torch.arange(count)
    return _Units(places, labels, places // each, places % each)


def predictions(units: _Units, bias: float, noise: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(int(10 * noise))
    scores = noise * torch.randn(len(units.labels), CLASSES, generator=generator)
    scores += 2 * torch.nn.functional.one_hot(units.labels, CLASSES) + torch.tensor([bias, 0.0, 0.0])
    return scores.softmax(dim=1)


def test_a_bias_that_a_head_sets_right_counts_for_nothing() -> None:
    units, spec = units_of(20, 15), parse_metric("e_leep")
    biased = [predictions(units, 4.0, noise) for noise in (1.0, 1.5)]
    sound = [predictions(units, 0.0, noise) for noise in (1.0, 1.5)]
    told, without = (units.score(each, spec, SEGMENTATION, 0) for each in (biased, sound))
    assert told.plain == pytest.approx(float(e_leep(biased, units.labels)), abs=1e-5)
    assert without.plain == pytest.approx(float(e_leep(sound, units.labels)), abs=1e-5)
    assert told.penalty is not None
    assert told.plain < without.plain - 0.5
    assert told.with_head == pytest.approx(without.with_head, abs=0.1)


def test_where_no_head_does_better_the_score_is_the_plain_one() -> None:
    units = units_of(8, 1)
    perfect = [predictions(units, 0.0, 0.0)] * 2
    told = units.score(perfect, parse_metric("iou_eep"), SEGMENTATION, 0)
    assert (told.plain, told.with_head, told.penalty) == (1.0, 1.0, None)


def test_a_selection_foresees_heads_and_keeps_its_choice(tmp_path: Path) -> None:
    pool, target = make_pool(tmp_path / "pool", 3), make_target(5)
    options = {"size": 2, "pixels_per_image": 20, "cache_gb": 0.0, "resamples": 0, "metrics": (), "image_size": 48}
    selection = select(pool, target, foresee_heads=2, metric="e_leep", device="cpu", **options)
    told = selection.foreseen_heads
    assert told is not None
    order = selection.ranking.order("e_leep")[:2]
    assert told.candidates == tuple(selection.names_of(int(row)) for row in order)
    assert told.plain == pytest.approx(selection.ranking.scores["e_leep"][order].tolist(), abs=1e-5)
    assert (told.images, told.units) == (5, 100)
    assert selection.members == told.candidates[0]
    selection.save(tmp_path / "selection")
    assert Selection.load(tmp_path / "selection").foreseen_heads == told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"predictor": "eep"}, "foresee_heads: expected 0 with predictor eep"),
        ({"metric": "ms_leep"}, "foresee_heads has no effect with --metric ms_leep"),
        ({"metric": "logme"}, "foresee_heads has no effect with --metric logme"),
        ({"foresee_heads": 101}, "foresee_heads"),
    ],
)
def test_what_cannot_be_foreseen_is_refused(tmp_path: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        select(tmp_path, make_target(2), **{"foresee_heads": 3, **options})


def test_the_sentence(tmp_path: Path) -> None:
    told = ForeseenHeads((("a", "b"), ("a", "c")), (0.5, 0.4), (0.55, 0.6), (0.01, None), 150, 30_000)
    assert told.leader == 1
    assert replace(told, with_head=(0.6, 0.6)).leader == 0
    selection = replace(make_selection(), metric="e_leep", foreseen_heads=told)
    assert foreseen_heads_sentence(selection) == (
        "With the head that fine-tuning would learn, fitted on other images of the probe set, the chosen ensemble "
        "scores 0.550 in place of 0.500 by E-LEEP (30,000 pixels of 150 images). Of the 2 leading candidates a + c "
        "leads then, with 0.600; the choice stays as it is."
    )
    none = replace(selection, foreseen_heads=replace(told, penalties=(None, None), with_head=(0.5, 0.4)))
    assert "scores 0.500 by E-LEEP (30,000 pixels of 150 images), as no head that was tried does better" in (
        foreseen_heads_sentence(none)
    )
    assert "it leads then too" in foreseen_heads_sentence(none)
    page = write_selection_report(selection, made_up.make_pool(), made_up.make_target(), tmp_path / "a.html", "", [])
    text = page.read_text("utf-8")
    assert "a + c leads then, with 0.600" in text
    assert "penalty of the head" in text
    assert selection_tables(selection, made_up.make_pool())["foreseen_heads"].rows[1][3:] == (0.6, None)
