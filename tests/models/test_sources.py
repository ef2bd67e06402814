"""Adapters beside the libraries themselves, and what is refused."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from muster.data import prepare_image
from muster.errors import ConfigError
from muster.metrics import leep
from muster.models import SOURCES, SourceModel, build_model, rebuild
from muster.models.adoption import Adopted, Adoption
from muster.models.exported_program import open_program
from muster.models.prediction import probabilities_of
from tests.models import makers

BUILDERS = "makers_for_sources"
STATISTICS: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
CLASSES = ("sky", "wall", "ground")


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    sys.modules[BUILDERS] = makers
    yield
    del sys.modules[BUILDERS]


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def adopted(source: str, **said: Any) -> Adopted:
    return SOURCES[source].adopt(Adoption("x", source, **said))


@torch.no_grad()
def require_interface(model: SourceModel, batch: Tensor) -> None:
    """What every adapted model does, as it is, built anew, and with a new head."""
    scores, features, embeddings = model.read(batch, stages=True)
    torch.testing.assert_close(model(batch), scores)
    torch.testing.assert_close(model.features(batch), features)
    assert features.shape[1] == model.feature_channels
    assert all(each.shape[0] == len(batch) and each.ndim == 2 for each in embeddings)
    again = rebuild(model.blueprint, model.num_classes)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(batch), scores)
    model.replace_head(5, seed=1)
    again = rebuild(model.blueprint, 5)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(batch), model.eval()(batch))
    torch.testing.assert_close(model.features(batch), features)
    assert model.depth > 1


@torch.no_grad()
def test_smp(tmp_path: Path) -> None:
    network = makers.save_smp(tmp_path / "smp")
    found = adopted("smp", model=str(tmp_path / "smp"), classes=CLASSES, **STATISTICS)
    torch.testing.assert_close(found.model(images()), network(images()))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    alone = adopted(
        "smp", architecture="unet", encoder="tu-test_efficientnet", weights=str(tmp_path / "weights.pth"),
        arguments={"decoder_channels": [16, 16, 8, 8, 8]}, classes=CLASSES, **STATISTICS,
    )  # fmt: skip
    torch.testing.assert_close(alone.model(images()), network(images()))
    require_interface(found.model, images())
    with pytest.raises(
        ConfigError, match=r"'x': mean and std are not known\. .* classes: the model has 3 and does not"
    ):
        adopted("smp", model=str(tmp_path / "smp"))


@torch.no_grad()
def test_images_are_padded_for_networks_that_refuse_some_sizes(tmp_path: Path) -> None:
    network = makers.save_smp_fpn(tmp_path / "fpn")
    model = adopted("smp", model=str(tmp_path / "fpn"), classes=CLASSES, **STATISTICS).model
    assert model.side_multiple == 32
    odd = images()[:, :, :49, :61]
    with pytest.raises(RuntimeError, match="divisible by 32"):
        network(odd)
    padded = torch.nn.functional.pad(odd, (0, 3, 0, 15))
    scores = interpolate(model(odd), (64, 64), mode="bilinear", align_corners=True)  # as SMP upsamples
    torch.testing.assert_close(scores, network(padded), rtol=1e-4, atol=1e-4)
    require_interface(model, odd)
    plain = makers.save_plain(tmp_path / "plain.safetensors")
    entry = {"model": f"{BUILDERS}:build_plain", "weights": str(tmp_path / "plain.safetensors")}
    taken = adopted("python", classes=CLASSES, **entry, **STATISTICS).model
    assert taken.side_multiple == 1
    torch.testing.assert_close(taken.features(odd), plain.deep(plain.stem(odd)))


@torch.no_grad()
@pytest.mark.parametrize("builder", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_torchvision(tmp_path: Path, builder: str) -> None:
    from torchvision.models import get_model

    more = {} if builder.startswith("lraspp") else {"aux_loss": True}
    network = makers.lively(get_model(builder, weights=None, weights_backbone=None, num_classes=3, **more))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    found = adopted("torchvision", model=builder, weights=str(tmp_path / "w.pth"), classes=CLASSES)
    own = network(images())["out"]
    torch.testing.assert_close(interpolate(found.model(images()), (64, 64), mode="bilinear"), own, rtol=1e-4, atol=1e-4)
    require_interface(found.model, images())
    with pytest.raises(ConfigError, match="Did you mean 'COCO_WITH_VOC_LABELS_V1'"):
        adopted("torchvision", model=builder, weights="COCO_WITH_VOC_LABELS")


@torch.no_grad()
def test_python_finds_the_classifier_or_takes_the_layer_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    network = makers.save_plain(file)
    said: dict[str, Any] = {"weights": str(file), "classes": CLASSES, **STATISTICS}
    found = adopted("python", model=f"{BUILDERS}:build_plain", **said)
    assert found.model.blueprint.config["cut"]["classifier"] == "classify"
    torch.testing.assert_close(found.model.features(images()), network.deep(network.stem(images())))
    require_interface(found.model, images())
    with pytest.raises(ConfigError, match="not the output of one convolution or linear layer"):
        adopted("python", model=f"{BUILDERS}:build_product", **said)
    product = makers.save_plain(file, makers.ProductNetwork())
    tapped = adopted("python", model=f"{BUILDERS}:build_product", layer="deep", **said)
    torch.testing.assert_close(tapped.model(images()), product(images())["out"])
    require_interface(tapped.model, images())


@torch.no_grad()
def test_transformers_gives_what_its_own_processing_gives(tmp_path: Path) -> None:
    import transformers

    network = makers.save_segformer(tmp_path)
    found = adopted("transformers", model=str(tmp_path))
    assert found.classes == CLASSES
    assert found.model.preprocessing is not None
    picture = torch.randint(0, 255, (3, 90, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    given = processor(images=picture, return_tensors="pt")["pixel_values"]
    ours = prepare_image(picture, found.model.preprocessing)[None]
    torch.testing.assert_close(ours, given, rtol=0, atol=0.02)  # it rounds resized pixels to whole numbers
    output = network(given)
    torch.testing.assert_close(found.model(given), output.logits)
    (own,) = processor.post_process_semantic_segmentation(output)
    assert torch.equal(found.model.predict(given)[0].argmax(dim=0), own)
    require_interface(found.model, images())


@torch.no_grad()
def test_mask2former_gives_normalised_semantic_maps(tmp_path: Path) -> None:
    import transformers

    network = makers.save_mask2former(tmp_path)
    found = adopted("transformers", model=str(tmp_path))
    output = network(images())
    maps = torch.einsum(
        "bqc,bqhw->bchw", output.class_queries_logits.softmax(-1)[..., :-1], output.masks_queries_logits.sigmoid()
    )
    torch.testing.assert_close(probabilities_of(found.model(images())), maps / maps.sum(1, keepdim=True))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    own = torch.stack(processor.post_process_semantic_segmentation(output, target_sizes=[(384, 384)] * 2))
    ours = interpolate(probabilities_of(found.model(images())), (384, 384), mode="bilinear").argmax(dim=1)
    assert (own == ours).float().mean() > 0.99  # it enlarges masks before the sigmoid
    require_interface(found.model, images())


@torch.no_grad()
def test_a_native_network_adopted_again_has_its_own_leep(tmp_path: Path) -> None:
    """As an SMP folder, as a plain module and as a program."""
    import segmentation_models_pytorch as smp

    native = makers.lively(build_model("unet:tu-test_efficientnet", 4, seed=2))
    classes, labels = list("abcd"), np.random.default_rng(0).integers(0, 3, 2 * 64 * 64)
    network = smp.Unet("tu-test_efficientnet", encoder_weights=None, classes=4)
    network.encoder.load_state_dict(native.body.encoder.state_dict())
    network.decoder.load_state_dict(native.body.decoder.state_dict())
    network.segmentation_head[0].weight.zero_()
    network.segmentation_head[0].weight[:, :, 1, 1] = native.head.weight[:, :, 0, 0]
    network.segmentation_head[0].bias.copy_(native.head.bias)
    network.eval().save_pretrained(tmp_path / "smp")
    save_file(network.state_dict(), tmp_path / "plain.safetensors")
    torch.export.save(torch.export.export(network, (images(1),)), tmp_path / "program.pt2")
    said: dict[str, Any] = {"classes": classes, **STATISTICS}
    others = [
        adopted("smp", model=str(tmp_path / "smp"), **said),
        adopted("python", model=f"{BUILDERS}:build_unet", weights=str(tmp_path / "plain.safetensors"), **said),
        adopted("exported", model=str(tmp_path / "program.pt2"), **said),
    ]
    expected = leep(_pixels(native), labels)
    for other in others:
        assert leep(_pixels(other.model), labels) == pytest.approx(expected, abs=1e-5)


def _pixels(model: nn.Module) -> Tensor:
    assert isinstance(model, SourceModel)
    return model.predict(images()).permute(0, 2, 3, 1).flatten(0, 2)


@torch.no_grad()
def test_backbone(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    makers.save_backbone(file, "unet:tu-test_efficientnet")
    found = adopted("backbone", architecture="unet:tu-test_efficientnet", pretraining="imagenet", weights=str(file))
    model, batch = found.model, images()
    scores, features, embeddings = model.read(batch, stages=True)
    assert scores.shape[1] == model.num_classes == 0
    assert features.shape[2:] == (16, 16)
    assert features.shape[1] == sum(each.shape[1] for each in embeddings)
    start = 0
    for maps in model.get_submodule("body.encoder")(batch)[1:]:
        joined = features[:, start : (start := start + maps.shape[1])]
        same = interpolate(maps, (16, 16), mode="bilinear") if maps.shape[-1] < 16 else maps.unfold(
            2, maps.shape[-1] // 16, maps.shape[-1] // 16).unfold(3, maps.shape[-1] // 16, maps.shape[-1] // 16).mean(
            dim=(4, 5))  # fmt: skip
        torch.testing.assert_close(joined, same)
    again = rebuild(model.blueprint, 0)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.features(batch), features)
    model.replace_head(4, seed=1, decoder=False)  # linear in the same features
    torch.testing.assert_close(model.features(batch), features)
    torch.testing.assert_close(model(batch), model.head(features))
    require_same_when_rebuilt(model, batch)
    model.replace_head(4, seed=1)
    assert model.blueprint.source == "native"
    assert model.features(batch).shape[1] != features.shape[1]
    require_same_when_rebuilt(model, batch)


def require_same_when_rebuilt(model: SourceModel, batch: Tensor) -> None:
    again = rebuild(model.blueprint, model.num_classes)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(batch), model.eval()(batch))
    counted = sum(parameter.numel() for parameter in again.parameters() if parameter.requires_grad)
    assert model.num_parameters == again.num_parameters == counted


class _Sneaky:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this code must not run",)


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(1), "more": _Sneaky()}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="more than tensors"):
        adopted("python", model=f"{BUILDERS}:build_plain", weights=str(tmp_path / "w.pth"), classes=CLASSES)
    assert capsys.readouterr().out == ""


def _changed(source: Path, target: Path, part: str, old: bytes, new: bytes) -> bytes:
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            changed.writestr(name, content.replace(old, new) if part in name else content)
    return target.read_bytes()


def test_a_program_that_could_run_code_is_not_opened(tmp_path: Path) -> None:
    makers.save_program(tmp_path / "p.pt2")
    source, target = tmp_path / "p.pt2", tmp_path / "q.pt2"
    assert open_program(source.read_bytes(), "it") is not None
    for part, old, new, told in (
        ("/models/", b"torch.ops.aten.relu.default", b"torch.load", "calls 'torch.load'"),
        ("/models/", b"Mul(", b"__import__(", "has the size"),
        ("/models/", b'"guards_code": []', b'"guards_code": ["print()"]', "has the guard"),
        ("weights_config", b'"use_pickle": false', b'"use_pickle": true', "pickled tensors"),
        ("sample_inputs", b"PK", b"XX", "more than tensors"),
    ):
        with pytest.raises(ConfigError, match=told):
            open_program(_changed(source, target, part, old, new), "it")


@pytest.mark.parametrize(
    ("source", "said", "told"),
    [
        ("python", {"model": "no.such:thing", "weights": "w"}, "cannot be imported"),
        ("python", {"model": "os.system", "weights": "w"}, "package.module:function"),
        ("python", {"model": f"{BUILDERS}:build_nothing", "weights": "w"}, "gave a str"),
        ("torchvision", {"model": "deeplabv3_resnet5", "weights": "w.pth"}, "Did you mean 'deeplabv3_resnet50'"),
        ("smp", {}, "needs weights, architecture"),
        ("smp", {"model": "/nowhere/at/all"}, "no folder"),
        ("transformers", {"model": "/nowhere/at/all"}, "no folder"),
        ("exported", {"model": "/nowhere.pt", **STATISTICS}, "TorchScript"),
        ("backbone", {"architecture": "fpn:resnet18"}, "needs pretraining"),
        ("backbone", {"architecture": "small_fpn", "pretraining": "none"}, "mean and std are not known"),
        ("native", {}, "as they are"),
    ],
)
def test_what_is_refused(source: str, said: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        adopted(source, **said)


def test_an_entry_is_read_as_it_is_written() -> None:
    written = {"name": "x", "from": "smp", "model": "folder", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    assert Adoption.from_mapping(written).to_mapping() == written
    with pytest.raises(ConfigError, match="Did you mean 'dataset'"):
        Adoption.from_mapping({**written, "datset": "y"})
    with pytest.raises(ConfigError, match=r"missing key\(s\) from"):
        Adoption.from_mapping({"name": "x"})
