"""Every family of architectures, built and run by name."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor

from muster.data.texts import words_of_length
from muster.errors import ConfigError
from muster.models import Segmenter, build_model, check_architecture, list_architectures

SMP_ENCODERS = {"dpt": "tu-vit_tiny_patch16_224"}  # the one that takes nothing but vision transformers
ARCHITECTURES = [
    name.replace("hrnet_wN", "hrnet_w4").replace("ENCODER", SMP_ENCODERS.get(name.partition(":")[0], "resnet18"))
    for name in list_architectures()
    if not name.startswith("transformers")  # a folder each: tests/models/test_text_encoder.py
]
# Other kinds of encoder: timm's, one that skips a resolution, and one made for a fixed image size.
ARCHITECTURES += ["unet:tu-resnet10t", "fpn:mit_b0", "fpn:tu-swin_tiny_patch4_window7_224"]


def images(architecture: str, count: int = 2) -> Tensor:
    """Noise of the smallest size that is promised to work: PAN pools too often for less than 128."""
    if architecture.startswith("text:"):
        return words_of_length(count, 64, torch.device("cpu"))
    side = 128 if architecture.startswith("pan:") else 64
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_family_keeps_the_interface(architecture: str) -> None:
    before = torch.random.get_rng_state()
    model = build_model(architecture, num_classes=5, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (model.architecture, model.num_classes) == (architecture, 5)

    batch = images(architecture)
    features = model.features(batch)
    assert features.shape[:2] == (2, model.feature_channels)
    model.eval()
    scores = model(batch)
    assert scores.shape == (2, 5, *features.shape[2:])
    torch.testing.assert_close(scores, model.head(model.features(batch)))
    assert model.num_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_trainable_parameter_gets_a_gradient(architecture: str) -> None:
    model = build_model(architecture, num_classes=3)
    model(images(architecture)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize("architecture", ["small_fpn", "hrnet_w4", "unet:tu-resnet10t"])
def test_weights_follow_from_the_seed_alone(architecture: str) -> None:
    first = build_model(architecture, num_classes=4, seed=7).state_dict()
    torch.rand(5)  # wherever the global generator stands
    same = build_model(architecture, num_classes=4, seed=7).state_dict()
    other = build_model(architecture, num_classes=4, seed=8).state_dict()
    wider = build_model(architecture, num_classes=6, seed=7).state_dict()
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    body = [key for key in first if key.startswith("body.")]
    assert len(body) == len(first) - 2
    assert all(torch.equal(first[key], wider[key]) for key in body)
    assert any(not torch.equal(first[key], other[key]) for key in body)


@pytest.mark.parametrize("architecture", ["small_unet", "hrnet_w2", "fpn:resnet18"])
def test_a_new_head_leaves_the_body_alone(architecture: str) -> None:
    model = build_model(architecture, num_classes=4)
    old = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    before = torch.random.get_rng_state()
    model.replace_head(9, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    new = model.state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old if key.startswith("body."))
    assert model.num_classes == 9
    assert model.eval()(images(architecture)).shape[1] == 9
    first = model.head.weight.detach().clone()
    model.replace_head(9, seed=1)
    assert torch.equal(model.head.weight, first)
    model.replace_head(9, seed=2)
    assert not torch.equal(model.head.weight, first)


def test_hrnet_of_width_28_has_the_size_that_was_published() -> None:
    model = build_model("hrnet_w28", num_classes=19)
    body = sum(parameter.numel() for parameter in model.body.parameters())
    assert body == pytest.approx(22.5e6, abs=0.1e6)
    assert model.num_parameters == body + 19 * (15 * 28 + 1)
    model.eval()
    assert model(images("hrnet_w28")).shape == (2, 19, 16, 16)


def test_hrnet_of_width_48_has_the_size_of_public_code_and_not_that_of_the_papers() -> None:
    with torch.device("meta"):
        body = build_model("hrnet_w48", num_classes=1).body
        network = timm.create_model("hrnet_w48")
    size, parts = (sum(p.numel() for p in body.parameters())), dict(network.named_children())
    assert size == pytest.approx(65.33e6, abs=0.01e6)
    head = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert size + head["incre_modules"] + head["final_layer"] == pytest.approx(69.2e6, abs=0.1e6)
    assert size + head["incre_modules"] + head["classifier"] == pytest.approx(69.2e6, abs=0.1e6)


def test_hrnet_stages_join_their_branches() -> None:
    model = build_model("hrnet_w2", num_classes=2).eval()
    channels = [embedding.shape[1] for embedding in model.stage_embeddings(images("hrnet_w2"))]
    assert channels == [256, 2 + 4, 2 + 4 + 8, 2 + 4 + 8 + 16]
    assert model.feature_channels == 30


@pytest.mark.parametrize("architecture", ["fpn:resnet18", "unet:resnet18", "pan:resnet18", "linknet:resnet18"])
def test_smp_stages_are_the_encoder_maps_and_the_decoder_map(architecture: str) -> None:
    model = build_model(architecture, num_classes=2).eval()
    batch = images(architecture)
    # The encoder on its own: no decoder has had the chance to change its maps in place.
    expected = [maps.mean(dim=(2, 3)) for maps in model.body.encoder(batch)[1:]]
    expected.append(model.features(batch).mean(dim=(2, 3)))
    embeddings = model.stage_embeddings(batch)
    assert len(embeddings) == len(expected)
    for found, mean in zip(embeddings, expected, strict=True):
        torch.testing.assert_close(found, mean)


@pytest.mark.parametrize(
    ("architecture", "depth"),
    # Counted by hand. small_fpn: stem 1, three blocks of 2, lateral 1, smoothing 1, head 1. small_unet: stem 1, down
    # 3 x 2, up 3, head 1. small_dilated: stem 1, quarter 1, blocks 3 x 2, context 1, union 1, head 1. FPN on ResNet-18:
    # 17 convolutions, lateral 1, three 3x3 on the way from 1/32 to 1/4, head 1.
    [("small_fpn", 10), ("small_unet", 11), ("small_dilated", 11), ("fpn:resnet18", 22)],
)
def test_depth_counts_layers_on_the_longest_path(architecture: str, depth: int) -> None:
    assert build_model(architecture, num_classes=2).depth == depth


def test_layers_that_the_decoder_does_not_read_are_frozen_and_not_counted() -> None:
    model = build_model("pspnet:resnet18", num_classes=2)  # its decoder stops at 1/8
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen
    assert all(name.startswith(("body.encoder.layer3.", "body.encoder.layer4.")) for name in frozen)
    assert model.num_parameters < sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("smal_fpn", "Did you mean 'small_fpn'"),
        ("hrnet_w0", "Did you mean 'hrnet_wN'"),
        ("fpm:resnet18", "Did you mean 'fpn'"),
        ("fpn:resnt18", "Did you mean 'resnet18'"),
        ("fpn:tu-resnet10", "Did you mean 'tu-resnet10t'"),
        ("fpn:tu-resnet10t.c3_in1", "Did you mean 'c3_in1k'"),
        ("fpn", "'fpn:resnet18'"),
        ("dpt:resnet18", "'dpt:tu-vit_tiny_patch16_224'"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_known_one(architecture: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_architecture(architecture)
    with pytest.raises(ConfigError, match=told):
        build_model(architecture, num_classes=2)


@pytest.mark.parametrize("architecture", ["unetplusplus:mit_b0", "fpn:tu-coat_tiny"])
def test_names_that_do_not_go_together_are_refused(architecture: str) -> None:
    with pytest.raises(ConfigError, match="another encoder"):
        build_model(architecture, num_classes=2)


@pytest.mark.parametrize(
    ("architecture", "size", "padded"),
    [("small_fpn", (64, 72), (64, 96)), ("pan:resnet18", (96, 130), (128, 160)), ("small_fpn", (1, 1), (32, 32))],
)
def test_images_are_padded_to_a_size_that_works(
    architecture: str, size: tuple[int, int], padded: tuple[int, int]
) -> None:
    model = build_model(architecture, num_classes=2)
    assert model.pad(torch.ones(2, 3, *size)).shape[2:] == padded
    assert model(torch.ones(2, 3, *size)).shape[:2] == (2, 2)


def test_a_head_needs_a_class() -> None:
    with pytest.raises(ConfigError, match="num_classes=0"):
        build_model("small_fpn", num_classes=0)
    with pytest.raises(ValueError, match="num_classes=0"):
        build_model("small_fpn", num_classes=1).replace_head(0, seed=0)


@pytest.mark.parametrize("architecture", ["small_dilated", "small_fpn", "small_unet"])
def test_small_networks_learn_fast(architecture: str) -> None:
    """A coloured square on noise; chance is one half."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(architecture, num_classes=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        batch, masks = _squares(generator)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(_full_size(model, batch), masks).backward()
        optimizer.step()
    model.eval()
    batch, masks = _squares(generator)
    found = _full_size(model, batch).argmax(dim=1)
    iou = ((found == 1) & (masks == 1)).sum() / ((found == 1) | (masks == 1)).sum()
    assert iou > 0.7


def _squares(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight images of noise, each with a reddish square somewhere."""
    batch = torch.randn(8, 3, 64, 64, generator=generator)
    masks = torch.zeros(8, 64, 64, dtype=torch.long)
    for image, mask in zip(batch, masks, strict=True):
        top, left = torch.randint(0, 40, (2,), generator=generator).tolist()
        mask[top : top + 24, left : left + 24] = 1
        image[0] += mask
    return batch, masks


def _full_size(model: Segmenter, batch: Tensor) -> Tensor:
    """Scores at the size of the images."""
    return torch.nn.functional.interpolate(model(batch), size=batch.shape[-2:], mode="bilinear", align_corners=False)
