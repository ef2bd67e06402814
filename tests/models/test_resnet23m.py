"""ResNet23M: its size, its layers, and what its weights may come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import resnet50

from muster.models import Segmenter, build_model
from muster.models.pooled import Pooled

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return build_model("resnet23m", num_classes=5, seed=2).eval()


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """torchvision's network with the dilations of the paper, its batch statistics unlike those of a fresh one."""
    network = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def test_it_has_the_size_of_the_paper(model: Segmenter) -> None:
    body = sum(parameter.numel() for parameter in model.body.parameters())
    # By hand: a ResNet-50 without its classifier, without its last block and without the last convolution of the block
    # before, and five 3x3 convolutions with their normalisations.
    cut = 23_508_032 - 4_462_592 - (512 * 2048 + 2 * 2048)
    assert body == cut + 5 * (512 * 216 * 9 + 2 * 216)
    assert body == pytest.approx(23e6, rel=0.02)
    assert model.num_parameters == body + 5 * (5 * 216 + 1)
    # By hand: stem 1, thirteen whole bottlenecks of 3, one more, two convolutions, the five side by side, the head.
    assert model.depth == 1 + 13 * 3 + 3 + 2 + 1 + 1


def test_weights_of_a_published_resnet_start_it_up_to_the_cut(published: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "resnet50.safetensors"
    save_file({f"module.{name}": tensor for name, tensor in published.state_dict().items()}, path)
    started = build_model("resnet23m", 3, str(path)).eval()
    seen: list[Tensor] = []
    published.get_submodule("layer4.1.bn2").register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        published(IMAGES)
        stages = started.body(IMAGES)
        expected = seen[0].relu()
        assert expected.shape == (2, 512, 8, 12)
        torch.testing.assert_close(stages[-2][0], expected)
        columns = [nn.functional.conv2d(expected, b[0].weight, padding=d, dilation=d)
                   for b, d in zip(started.body.branches, (1, 6, 12, 18, 24), strict=True)]  # fmt: skip
        joined = torch.cat([b[1](c).relu() for b, c in zip(started.body.branches, columns, strict=True)], dim=1)
        torch.testing.assert_close(started.features(IMAGES), joined)
    assert "of the backbone resnet50" in started.started_from["tensors"]


def test_a_member_that_classifies_whole_images_starts_it(model: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "same.safetensors"
    save_file(Pooled(model).state_dict(), path)
    started = build_model("resnet23m", 3, str(path))
    assert all(torch.equal(value, started.body.state_dict()[name]) for name, value in model.body.state_dict().items())
    other = tmp_path / "encoder.safetensors"
    classifier = Pooled(build_model("encoder:resnet50", 7, seed=4))
    save_file(classifier.state_dict(), other)
    found, expected = build_model("resnet23m", 3, str(other)).body.state_dict(), load_file(other)
    for name in ("conv1.weight", "layer3.5.conv3.weight", "layer4.1.conv2.weight"):
        assert torch.equal(found[f"trunk.{name}"], expected[f"inner.body.encoder.{name}"])
