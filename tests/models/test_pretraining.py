"""Weights to start from: hubs that are out of reach, and local files of every quality."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from muster.errors import PretrainingError
from muster.models import Segmenter, build_model


@pytest.fixture
def unreachable_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no retries, and nothing in the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Segmenter, Path]:
    """A model that differs from a fresh one in weights and batch statistics, and the file it is saved in."""
    model = build_model("small_fpn", num_classes=4, seed=11)
    model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path)
    return model, path


@pytest.mark.usefixtures("unreachable_hub")
@pytest.mark.parametrize("architecture", ["hrnet_w18", "fpn:resnet18", "unet:tu-resnet10t"])
def test_an_unreachable_hub_names_the_weights_and_the_ways_out(architecture: str) -> None:
    with pytest.raises(PretrainingError) as raised:
        build_model(architecture, num_classes=2, pretraining="imagenet")
    message = str(raised.value)
    assert architecture.partition(":")[2] in message
    for part in ("not reachable", "pretraining=none", ".safetensors"):
        assert part in message


@pytest.mark.usefixtures("unreachable_hub")
@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("hrnet_w28", "no ImageNet weights for 'hrnet_w28'.* 18, 30, 32, 40, 44, 48, 64"),
        ("small_fpn", "no ImageNet weights for 'small_fpn'"),
        ("fpn:tu-resnet50t", "no ImageNet weights for encoder 'tu-resnet50t'"),
    ],
)
def test_architectures_without_imagenet_weights_say_so(architecture: str, told: str) -> None:
    with pytest.raises(PretrainingError, match=told):
        build_model(architecture, num_classes=2, pretraining="imagenet")


@pytest.mark.parametrize("num_classes", [4, 7])  # the file has a head of 4
@pytest.mark.parametrize("drop_head", [False, True])
def test_the_body_of_a_local_file_is_loaded_and_its_head_is_not(
    trained: tuple[Segmenter, Path], drop_head: bool, num_classes: int
) -> None:
    model, path = trained
    if drop_head:
        save_file({k: v for k, v in load_file(path).items() if not k.startswith("head.")}, path)
    again = build_model("small_fpn", num_classes=num_classes, pretraining=str(path), seed=5)
    fresh = build_model("small_fpn", num_classes=num_classes, seed=5).state_dict()
    expected = model.state_dict() | {key: tensor for key, tensor in fresh.items() if key.startswith("head.")}
    assert all(torch.equal(tensor, expected[key]) for key, tensor in again.state_dict().items())


def test_keys_that_do_not_fit_are_named_and_counted(trained: tuple[Segmenter, Path]) -> None:
    _, path = trained
    tensors = load_file(path)
    del tensors["body.stem.0.weight"]
    tensors["body.extra"] = torch.zeros(1)
    tensors["body.smooth.0.weight"] = torch.zeros(3, 3)
    tensors["body.smooth.1.bias"] = torch.zeros(48, dtype=torch.long)
    tensors["body.smooth.1.weight"] = torch.full((48,), float("nan"))
    save_file(tensors, path)
    with pytest.raises(PretrainingError) as raised:
        build_model("small_fpn", num_classes=4, pretraining=str(path))
    message = str(raised.value)
    assert "1 missing: body.stem.0.weight" in message
    assert "1 unexpected: body.extra" in message
    assert "1 of another shape: body.smooth.0.weight (expected [48, 48, 3, 3], got [3, 3])" in message
    assert "1 of another kind of number: body.smooth.1.bias" in message
    assert "1 not finite: body.smooth.1.weight" in message


def test_weights_of_another_architecture_are_refused_in_few_words(trained: tuple[Segmenter, Path]) -> None:
    with pytest.raises(PretrainingError, match=r"missing: .* and \d+ more; \d+ unexpected: ") as raised:
        build_model("hrnet_w2", num_classes=4, pretraining=str(trained[1]))
    assert len(str(raised.value)) < 1500


def test_a_damaged_file_is_refused(trained: tuple[Segmenter, Path]) -> None:
    _, path = trained
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PretrainingError, match=r"model\.safetensors.*Is it complete"):
        build_model("small_fpn", num_classes=4, pretraining=str(path))


def test_a_file_that_could_hold_pickled_objects_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(PretrainingError, match="can run code"):
        build_model("small_fpn", num_classes=2, pretraining=str(path))


@pytest.mark.parametrize(
    ("pretraining", "told"),
    [("imagnet", "Did you mean 'imagenet'"), ("nowhere/model.safetensors", "do not exist"), ("", "Known: ")],
)
def test_a_scheme_that_is_neither_name_nor_file_is_refused(pretraining: str, told: str) -> None:
    with pytest.raises(PretrainingError, match=told):
        build_model("small_fpn", num_classes=2, pretraining=pretraining)
