"""Whole images by the commands alone, on built-in scenes: from training to an exported file, by one process and two."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image

from muster.commands.main import start
from muster.data import open_dataset
from muster.errors import ConfigError
from muster.files import read_yaml
from tests.execution.this_process import without_workers
from tests.scripts.processes import ROOT, run
from tests.scripts.test_two_processes import BOTH, require_same_result

TARGET = "scenes/waters"
SMALL = {"steps": "6", "batch_size": "8", "crop_size": "32", "learning_rate": "0.02"}
FINETUNING = [word for name, value in SMALL.items() for word in (f"--training.{name}", value)]


@dataclass(frozen=True)
class Way:
    """Where each command put what it made."""

    home: Path
    selection: Path
    run: Path

    def finetuning(self, output: Path) -> list[str]:
        """What finetune.py is told."""
        config = str(ROOT / "configs" / "finetune" / "worlds.yaml")
        return ["--config", config, "--selection", str(self.selection), *FINETUNING, "--output", str(output)]


def command(name: str, *words: str | Path) -> None:
    with without_workers():
        assert start(name, arguments=[str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    """Two members, the choice of both, and its fine-tuning."""
    home = tmp_path_factory.mktemp("scenes")
    way = Way(home, home / "selection", home / "run")
    config = str(ROOT / "configs" / "train" / "scenes.yaml")
    plan = ["--config", config, "--plan.datasets", "[scenes/rooms, scenes/land]", "--workers", "1"]
    command("train", *plan, *FINETUNING, "--training.image_size", "32", "--output", home / "pool",
            "--hardware.device", "cpu")  # fmt: skip
    command("select", "--pool", home / "pool", "--target", TARGET, "--size", "2", "--output", way.selection,
            "--device", "cpu", "--cache_dir", home / "cache")  # fmt: skip
    command("finetune", *way.finetuning(way.run), "--hardware.device", "cpu")
    return way


@pytest.fixture(scope="module")
def photos(way: Way) -> Path:
    folder = way.home / "photos"
    folder.mkdir()
    for sample in list(open_dataset(TARGET).test)[:3]:
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / f"photo {sample.identifier}.png")
    return folder


def test_select_chooses_by_the_metric_of_the_task(way: Way) -> None:
    selection = read_yaml(way.selection / "selection.yaml", ConfigError)
    assert (selection["metric"], selection["task"]) == ("e_leep", "classification")
    assert len(selection["members"]) == 2
    assert (way.selection / "report.html").stat().st_size > 10_000


def test_the_choice_is_fine_tuned_and_reported(way: Way) -> None:
    result = read_yaml(way.run / "result.yaml", ConfigError)
    assert result["task"] == "classification"
    assert {"plain mean", "learned head", *result["members"]} <= set(result["results"])
    assert "top-1 accuracy" in (way.run / "report.html").read_text("utf-8")


def test_predictions_and_the_exported_file_agree(way: Way, photos: Path) -> None:
    command("predict", photos, "--ensemble", way.run, "--output", way.home / "predicted", "--hardware.device", "cpu")
    table = pd.read_csv(way.home / "predicted" / "classes.csv")
    assert len(table) == 3
    command("export", "--ensemble", way.run, "--output", way.home / "waters.onnx")
    session = onnxruntime.InferenceSession(way.home / "waters.onnx")
    classes = open_dataset(TARGET).spec.classes
    for row in table.to_dict("records"):
        (photo,) = photos.glob(f"{row['image']}*")
        image = np.asarray(Image.open(BytesIO(photo.read_bytes()))).transpose(2, 0, 1)[None]
        probabilities = session.run(None, {session.get_inputs()[0].name: image})[0][0]
        assert classes[int(probabilities.argmax())] == row["class"]
        assert row["probability"] == pytest.approx(float(probabilities.max()), abs=1e-3)


@pytest.mark.slow  # what two processes share is tested for segmentation
def test_two_processes_fine_tune_like_one(way: Way) -> None:
    two = way.home / "two"
    run(["finetune.py", *way.finetuning(two), *BOTH], way.home)
    require_same_result(way.run, two)
