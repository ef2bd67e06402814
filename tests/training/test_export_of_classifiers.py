"""Exported ensembles that classify whole images: files that do what the ensemble does."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from muster.commands.main import main
from muster.data import ChannelStatistics
from muster.data.preprocessing import ImageSize, Preprocessing
from muster.models import SOURCES, build_model
from muster.models.adoption import Adoption
from muster.models.pooled import pooled
from muster.tasks.task import TASKS
from muster.training.export import FORMATS, export_ensemble
from muster.training.finetuned_ensemble import Ensemble
from tests.models import classifier_makers as makers

STATISTICS = ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
SHOWN = Preprocessing(STATISTICS, ImageSize(longer=75))
"""A size that is no multiple of 32: maps are padded."""


def adopted(source: str, **said: Any) -> Any:
    return SOURCES[source].adopt(Adoption("x", source, **said)).model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of muster's whose padded map is averaged, and one of timm that sees the middle of images."""
    folder = tmp_path_factory.mktemp("run")
    makers.save_timm(folder / "timm", seed=1)
    members = [
        pooled(build_model("small_unet", 4, seed=1)),
        adopted("timm", model=str(folder / "timm"), image_size="shorter:50/40x48"),
    ]
    made = Ensemble(("small", "timm"), members, ("a", "b", "c", "d"), SHOWN, TASKS["classification"])
    with torch.no_grad():
        next(made.members[0].inner.head.parameters()).mul_(20)
        made.head.weights.copy_(torch.rand(2, 4, generator=torch.Generator().manual_seed(0)) + 0.5)
    made.eval().save(folder / "ensemble", "animals", {"muster": "0"})
    return folder


def make_images(count: int, height: int, width: int) -> Tensor:
    coarse = torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(height)) * 255
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").to(torch.uint8)


@pytest.mark.parametrize("name", FORMATS.names())
def test_a_file_does_what_the_ensemble_does(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import muster

    path = tmp_path / f"made{FORMATS[name].suffix}"
    assert main(["export", "--format", name, str(run), "--output", str(path)]) == 0
    assert "of the images or more have the same class" in capsys.readouterr().out
    ensemble, classify = muster.load_ensemble(run), FORMATS[name].open(path)
    for shape in ((1, 41, 130), (3, 75, 64), (2, 90, 33)):
        images = make_images(*shape)
        probabilities, classes = classify(images)
        expected = torch.stack([ensemble.classify(image) for image in images])
        assert probabilities.shape == (shape[0], 4)
        torch.testing.assert_close(torch.from_numpy(probabilities), expected, rtol=0, atol=1e-4)
        assert np.array_equal(classes, expected.argmax(dim=1).numpy())
    said = FORMATS[name].metadata(path)
    assert (said["muster.task"], said["muster.outputs"][:45]) == (
        "classification", "probabilities: float32 [batch, classes]; clas",
    )  # fmt: skip
    if name == "onnx":
        Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
        script = Path(__file__).parents[2] / "docs" / "classify.py"
        monkeypatch.setattr("sys.argv", ["classify.py", str(path), str(tmp_path / "a.png")])
        runpy.run_path(str(script))
        best = "abcd"[int(expected[0].argmax())]
        assert f"a.png {best} {float(expected[0].max()):.0%}" in capsys.readouterr().out


def test_networks_of_transformers_are_written_for_the_one_size_that_they_see(tmp_path: Path) -> None:
    makers.save_vit(tmp_path / "vit")
    model = adopted("transformers", model=str(tmp_path / "vit"))
    made = Ensemble(("vit",), [model], ("a", "b", "c", "d"), SHOWN, TASKS["classification"]).eval()
    done = export_ensemble(made, tmp_path / "made.onnx")
    assert done.agreement.holds


def test_classes_that_do_not_exclude_one_another_are_told_one_by_one(tmp_path: Path) -> None:
    members = [pooled(build_model("small_fpn", 3, seed=seed)) for seed in (1, 2)]
    made = Ensemble(("x", "y"), members, ("a", "b", "c"), SHOWN, TASKS["multilabel"]).eval()
    with torch.no_grad():
        next(made.members[0].inner.head.parameters()).mul_(20)
    assert export_ensemble(made, tmp_path / "model.pt2", "torch").agreement.holds
    images = make_images(2, 41, 130)
    probabilities, classes = FORMATS["torch"].open(tmp_path / "model.pt2")(images)
    expected = torch.stack([made.classify(image) for image in images])
    torch.testing.assert_close(torch.from_numpy(probabilities), expected, rtol=0, atol=1e-4)
    assert classes.dtype == np.uint8
    assert np.array_equal(classes, (expected >= 0.5).numpy())
