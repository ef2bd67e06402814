"""Tiny image classifiers of other libraries with random weights, saved in the formats that users have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.makers import lively

NAMES = {0: "cat", 1: "dog", 2: "owl", 3: "fox"}


class PlainClassifier(nn.Module):
    """A user's own module: one score a class for a whole image."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.classify = nn.Linear(12, classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.classify(self.deep(self.stem(images)).mean(dim=(2, 3)))
        return scores


class AveragedClassifier(PlainClassifier):
    """One that classifies every place, and averages the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Conv2d(12, 4, 1)  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.classify(self.deep(self.stem(images))).mean(dim=(2, 3))
        return scores


def build_plain_classifier() -> nn.Module:
    """What ``from: python`` names."""
    return PlainClassifier()


def save_timm(folder: Path, name: str = "test_resnet", seed: int = 0, **said: Any) -> nn.Module:
    """A folder as timm puts it on a hub, of images of 160 pixels as the test networks take them."""
    import timm
    from timm.models import save_for_hf

    network = lively(timm.create_model(name, num_classes=4), seed)
    config = {"label_names": list(NAMES.values()), **said}
    save_for_hf(network, folder, model_config=config, safe_serialization=True)
    return network


def save_torchvision_classifier(file: Path, seed: int = 0) -> nn.Module:
    from torchvision.models import get_model

    network = lively(get_model("shufflenet_v2_x0_5", num_classes=4), seed)
    torch.save(network.state_dict(), file)
    return network


def save_vit(folder: Path, seed: int = 0) -> Any:
    """A transformer that takes one size of images, with its image processor."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=48, patch_size=8,
        id2label=NAMES, num_labels=4,
    )  # fmt: skip
    network = lively(transformers.ViTForImageClassification(config), seed)
    network.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 48, "width": 48}).save_pretrained(folder)
    return network


def save_resnet(folder: Path, seed: int = 0) -> Any:
    """A convolutional network whose processor cuts out the middle."""
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1] * 4, layer_type="basic", id2label=NAMES, num_labels=4
    )
    network = lively(transformers.ResNetForImageClassification(config), seed)
    network.save_pretrained(folder)
    transformers.ConvNextImageProcessor(
        size={"shortest_edge": 56}, crop_pct=0.875, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]
    ).save_pretrained(folder)
    return network


def save_own(file: Path, seed: int = 0) -> nn.Module:
    network = lively(PlainClassifier(), seed)
    save_file(network.state_dict(), file)
    return network


def without_label_names(folder: Path) -> None:
    """A config that does not say what its classes are."""
    path = folder / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content.pop("label_names", None)
    path.write_text(json.dumps(content), "utf-8")
