"""``muster distil``: from a fine-tuned ensemble to one network and to soups, with a report."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from muster.commands.main import main
from muster.data import read_image
from muster.models import build_model
from muster.training.finetuned_ensemble import load_ensemble
from tests.odd_inputs.bench import Bench


def test_from_an_ensemble_to_one_network(
    stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    Bench(tmp_path, stock).ensemble()
    (tmp_path / "more").mkdir()
    Image.new("RGB", (64, 48), (90, 200, 30)).save(tmp_path / "more" / "x.png")
    quick = ["--training.steps", "4", "--training.crop_size", "64", "--training.batch_size", "2"]
    words = ["distil", "run", "--architecture", "small_unet", "--unlabelled", "more", *quick]
    capsys.readouterr()
    assert main([*words, "--hardware.device", "cpu", "--output", "small"]) == 0
    assert "Report: small/report.html" in capsys.readouterr().out
    record = yaml.safe_load(Path("small/distillation.yaml").read_text("utf-8"))
    assert set(record["models"]) == {"ensemble", "distilled", "uniform soup", "greedy soup", "B1"}
    assert (record["train_images"], record["unlabelled_images"], record["test_images"]) == (4, 1, 2)
    assert record["models"]["distilled"]["parameters"] < record["models"]["ensemble"]["parameters"]
    page = Path("small/report.html").read_text("utf-8")
    assert all(name in page for name in record["models"])
    made = {name: model["result"] for name, model in record["models"].items() if name not in ("ensemble", "B1")}
    places = {"distilled": "small", "uniform soup": "small/uniform_soup", "greedy soup": "small/greedy_soup"}
    best = max(made, key=lambda name: made[name])  # what the headline names is what is exported next
    assert f"One network ({best}" in page
    assert f"export --ensemble {places[best]}\n" in page or f"export --ensemble {places[best]}<" in page
    image = read_image(tmp_path / "more" / "x.png")
    for place in ("small", "small/uniform_soup", "small/greedy_soup"):
        assert load_ensemble(place).predict(image).shape == (48, 64)
    taught = load_ensemble("small").members[0].state_dict()
    fresh = build_model("small_unet", 3).state_dict()
    assert not torch.equal(taught["head.weight"], fresh["head.weight"])
    assert main(["distil", "run", "--unlabelled", "more"]) == 2
    assert "Give its --architecture" in capsys.readouterr().err
    assert main([*words[:4], "--training.adapt", "frozen"]) == 2
    assert "the taught network learns everything, but got frozen" in capsys.readouterr().err
    for more, why in (
        (["--architecture", "small_unet", "--training.learning_rates", "[0.1, 0.01]"], "it learns at one rate"),
        (["--training.steps", "4"], "without --architecture"),
        (["--label_weight", "0.2"], "without --architecture"),
    ):
        assert main(["distil", "run", *more]) == 2
        assert why in " ".join(capsys.readouterr().err.split())
