"""finetune.py --confirm and --equal_cost: from a selection made before, and with members chosen at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import muster
from muster.commands.main import start
from muster.selection.candidates import leading_candidates
from muster.selection.record import Selection
from muster.training.ensemble_card import read_card
from tests.odd_inputs.bench import Bench


@pytest.mark.parametrize("before", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_choice_is_confirmed_and_the_record_says_so(
    before: bool, stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path, stock)
    options = [] if before else ["--pool", str(stock / "pool"), "--target", str(stock / "tiny"), "--size", "2"]
    options += ["--equal_cost", str(before).lower()]
    _, *words = bench.finetuning("--confirm", "4", *options, selection=None if before else "")
    assert start("finetune", arguments=words) == 0
    selection = Selection.load(stock / "selection" if before else Path("tuned/selection"))
    result = yaml.safe_load(Path("tuned/result.yaml").read_text("utf-8"))
    confirmation = result["confirmation"]
    tried = [tuple(names) for names in confirmation["rounds"][0]["candidates"]]
    assert tried == leading_candidates(selection, 4)
    assert confirmation["by_metric"] == list(selection.members)
    assert confirmation["chosen"] == result["members"]
    assert tuple(result["members"]) in tried
    assert set(result["learning_rates"]) == {*result["members"], selection.single_best}
    assert yaml.safe_load(Path("tuned/config.yaml").read_text("utf-8"))["confirm"] == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "The 4 leading candidates by SoftIoU-EEP (4 members) were fine-tuned briefly on 3 training images" in printed
    changed = confirmation["chosen"] != confirmation["by_metric"]
    assert ("This replaced the metric's choice" if changed else "This confirmed the metric's choice") in printed
    assert "Confirmation by brief fine-tuning" in Path("tuned/report.html").read_text("utf-8")
    assert not Path("tuned/work").exists()
    if not before:
        assert result["equal_cost"] is None
        return
    single = result["equal_cost"]
    assert single["member"] == max(selection.scores_alone, key=lambda name: selection.scores_alone[name])
    assert (single["chosen_by"], single["steps"]) == ("soft_iou_eep", 10)
    assert {"equal cost", *result["members"]} <= set(result["results"])
    assert result["costs"]["equal cost"]["models"] == 1
    beyond = result["results"]["learned head"] - result["results"]["equal cost"]
    assert single["ensemble_beyond"]["result"] == pytest.approx(beyond)
    assert "a single model of equal cost" in printed
    loaded = muster.load_ensemble(Path("tuned/equal_cost"))
    assert loaded.names == (single["member"],)
    alone, together = (read_card(Path("tuned") / name) for name in ("equal_cost", "ensemble"))
    assert {"data of tiny", "data of elsewhere"} <= set(alone.licences) <= set(together.licences)
    assert alone.stored_size == together.stored_size is not None
    assert loaded.predict(torch.zeros(3, 40, 50, dtype=torch.uint8)).shape == (40, 50)
