"""``muster evaluate``: ensembles side by side on the test split of a dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from muster.commands.main import main
from muster.data import read_image
from muster.training.finetuned_ensemble import HEAD, Ensemble, load_ensemble
from muster.training.run_files import ENSEMBLE
from tests.odd_inputs.bench import Bench, write_dataset


def plain_miou(folder: Path, ensemble: Ensemble) -> float:
    """By counting pixels of whole images one class after the other."""
    images = sorted((folder / "test" / "images").iterdir())
    predicted = np.concatenate([ensemble.predict(read_image(path)).numpy().ravel() for path in images])
    true = np.concatenate([np.asarray(Image.open(folder / "test" / "masks" / path.name)).ravel() for path in images])
    ious = [
        ((predicted == c) & (true == c)).sum() / ((predicted == c) | (true == c)).sum()
        for c in range(3)
        if (true == c).any()
    ]
    return float(np.mean(ious))


def other_run(source: Path, place: Path) -> None:
    """A run beside another, whose head prefers the last class."""
    shutil.copytree(source, place)
    ensemble = load_ensemble(place)
    with torch.no_grad():
        ensemble.head.biases[:, -1] += 5.0
    ensemble.save(place / ENSEMBLE, "tiny", {})
    assert (place / ENSEMBLE / HEAD).is_file()


def test_ensembles_are_compared_on_the_same_images(
    stock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    Bench(tmp_path, stock).ensemble()
    shutil.copytree(stock / "tiny", "tiny")
    other_run(tmp_path / "run", tmp_path / "other")
    words = ["evaluate", "run", "--target", "tiny", "--hardware.device", "cpu"]
    capsys.readouterr()
    assert main([*words, "--beside", "[other]", "--table", "tables/found.csv"]) == 0
    printed = capsys.readouterr().out
    assert "2 test images of tiny" in printed
    assert "beyond run" in printed
    table = pd.read_csv("tables/found.csv").set_index("name")
    assert list(table.index) == ["run", "other"]
    for name in table.index:
        expected = plain_miou(tmp_path / "tiny", load_ensemble(name))
        assert table.loc[name, "result"] == pytest.approx(expected, abs=1e-5)
        classes = table.loc[name, ["iou ground", "iou wall", "iou sky"]].astype(float)
        assert classes.mean() == pytest.approx(expected, abs=1e-5)
        assert table.loc[name, "low"] <= expected + 1e-5
    difference = table.loc["other", "result"] - table.loc["run", "result"]
    assert table.loc["other", "beyond_first"] == pytest.approx(difference, abs=1e-5)
    assert difference != 0
    assert table.loc["other", "beyond_low"] <= table.loc["other", "beyond_high"]
    assert pd.isna(table.loc["run", "beyond_first"])
    assert main([*words, "--beside", "[run]"]) == 2
    assert "expected ensembles that differ" in capsys.readouterr().err
    write_dataset(tmp_path / "renamed", classes=["ground", "wall", "water"])
    assert main(["evaluate", "run", "--target", "renamed"]) == 2
    assert "run was fine-tuned for the classes ground, wall, sky" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--hardware.devices", "2"]) == 2
    assert "evaluation, which takes one device" in " ".join(capsys.readouterr().err.split())
