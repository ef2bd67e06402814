"""Tiny models of other libraries, saved in the formats that users have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

NAMES = {0: "sky", 1: "wall", 2: "ground"}


class PlainNetwork(nn.Module):
    """A user's own module: scores at the size of the image, in a mapping, and an auxiliary output after them."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.classify = nn.Conv2d(12, classes, 1)
        self.auxiliary = nn.Conv2d(8, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        fine = self.stem(images)
        scores = self.classify(self.deep(fine))
        full = interpolate(scores, images.shape[-2:], mode="bilinear", align_corners=False)
        return {"out": full, "aux": self.auxiliary(fine)}


class ProductNetwork(PlainNetwork):
    """One whose scores are no linear function of a map."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        scores = super().forward(images)["out"]
        return {"out": scores * scores.mean(dim=(2, 3), keepdim=True) ** 2 + scores}


def build_plain() -> nn.Module:
    """What ``from: python`` names."""
    return PlainNetwork()


def build_product() -> nn.Module:
    return ProductNetwork()


def build_nothing() -> str:
    return "no network"


def build_unet() -> nn.Module:
    """SMP's own network as a plain module."""
    network: nn.Module = smp.Unet("tu-test_efficientnet", encoder_weights=None, classes=4)
    return network


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Seeded weights, whose scores tell places apart."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1:
                fan = value[0].numel()
                value.normal_(0, 1.5 * fan**-0.5, generator=generator)
            elif "bias" in name:
                value.normal_(0, 0.1, generator=generator)
    return network.eval()


def save_smp(folder: Path, seed: int = 0) -> nn.Module:
    network = lively(
        smp.Unet("tu-test_efficientnet", encoder_weights=None, classes=3, decoder_channels=(16, 16, 8, 8, 8)), seed
    )
    network.save_pretrained(folder)
    return network


def save_smp_fpn(folder: Path, seed: int = 0) -> nn.Module:
    """One that takes images of sides of multiples of 32 only."""
    network = lively(
        smp.FPN(
            "tu-test_efficientnet", encoder_weights=None, classes=3, decoder_pyramid_channels=16,
            decoder_segmentation_channels=32,
        ),
        seed,
    )  # fmt: skip
    network.save_pretrained(folder)
    return network


def save_torchvision(file: Path, seed: int = 0) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=3)
    lively(network, seed)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, file)
    return network


def save_plain(file: Path, network: nn.Module | None = None, seed: int = 0) -> nn.Module:
    network = lively(PlainNetwork() if network is None else network, seed)
    save_file({f"module.{key}": value for key, value in network.state_dict().items()}, file)
    return network


def save_segformer(folder: Path, seed: int = 0) -> Any:
    import transformers

    config = transformers.SegformerConfig(
        num_labels=3, id2label=NAMES, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1] * 4,
        decoder_hidden_size=16,
    )  # fmt: skip
    network = lively(transformers.SegformerForSemanticSegmentation(config), seed)
    network.save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 64, "width": 64}, do_reduce_labels=True).save_pretrained(
        folder
    )
    return network


def write_target(folder: Path, images: int = 6) -> Path:
    """A dataset folder of blobs with a colour each."""
    import numpy as np
    from PIL import Image

    for split, count, first in (("train", images, 0), ("val", 2, 50)):
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(first, first + count):
            random = np.random.default_rng(number)
            mask = np.zeros((48, 64), dtype=np.uint8)
            mask[int(random.integers(10, 30)) :] = 2
            mask[:, : int(random.integers(10, 50))] = 1
            image = np.stack([mask * 60 + 40, 200 - mask * 50, mask * 20], axis=-1) + random.integers(
                0, 30, (48, 64, 3)
            )
            Image.fromarray(image.astype(np.uint8)).save(folder / split / "images" / f"{number:02}.png")
            Image.fromarray(mask).save(folder / split / "masks" / f"{number:02}.png")
    text = "name: tiny\ndomain: made up\nclasses: [ground, wall, sky]\n"
    (folder / "dataset.yaml").write_text(text, "utf-8")
    return folder


def save_mask2former(folder: Path, seed: int = 0) -> Any:
    import transformers

    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, num_labels=3, id2label=NAMES, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
        num_queries=5,
    )  # fmt: skip
    torch.manual_seed(seed)
    network = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    network.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 200}
    transformers.Mask2FormerImageProcessor(size=size).save_pretrained(folder)
    return network


def save_program(file: Path, seed: int = 0) -> nn.Module:
    network = lively(PlainNetwork(), seed)
    batch, rows, columns = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "rows", "columns"))
    shapes = {"images": {0: batch, 2: 32 * rows, 3: 32 * columns}}
    program = torch.export.export(network, (torch.zeros(2, 3, 64, 64),), dynamic_shapes=shapes)
    torch.export.save(program, file)
    return network


def save_backbone(file: Path, architecture: str) -> None:
    from muster.models import build_model

    save_file(build_model(architecture, 1, seed=7).state_dict(), file)
