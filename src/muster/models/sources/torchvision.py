"""Segmentation models of torchvision: weights from a file, or published ones by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model, get_model_weights, list_models, segmentation
from torchvision.models.segmentation.lraspp import LRASPP

from muster.data import ImageSize, Preprocessing
from muster.errors import ConfigError, unknown_name
from muster.models.adapted import Adapted, adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.hub import IMAGENET, hub_weights
from muster.models.model_source import SOURCES, ModelSource
from muster.models.segmenter import Body, StageMaps
from muster.models.source_model import SourceModel
from muster.models.tensors import load_tensors, read_tensors

_HEADS = ("classifier.4.bias", "classifier.low_classifier.bias")
_OPTIONAL = ("aux_classifier.",)


class Torchvision(ModelSource):
    """``from: torchvision``: ``model`` is a builder's name, ``weights`` a file or the name of published weights."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("model", "weights")
        entry.unused("architecture", "encoder", "layer", "pretraining", "arguments")
        builders = list_models(module=segmentation)
        if entry.model not in builders:
            raise entry.error(unknown_name("torchvision segmentation model", entry.model, builders).rstrip("."))
        published = None if Path(str(entry.weights)).suffix else _published(entry)
        tensors = read_tensors(Path(str(entry.weights)).expanduser()) if published is None else _download(published)
        network, config = _network(entry.model, tensors)
        load_tensors(network, tensors, str(entry.weights), _OPTIONAL)
        blueprint = Blueprint("torchvision", entry.model, config)
        model = _lraspp(blueprint, network) if isinstance(network, LRASPP) else adapt(blueprint, network)
        size = ImageSize(shorter=520)  # what torchvision evaluates all of them at
        known = () if published is None else published.meta["categories"]
        classes = entry.complete(model, Preprocessing(IMAGENET, size), known)
        return Adopted(model, classes, "BSD-3-Clause" if known else "")

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (its config says it)
        """See :meth:`ModelSource.build`."""
        network = _built(blueprint.config["builder"], blueprint.config["num_classes"])
        return _lraspp(blueprint, network) if isinstance(network, LRASPP) else cut(blueprint, network)


def _published(entry: Adoption) -> Any:
    """One of a builder's own weights, by name."""
    known = get_model_weights(entry.model)
    if entry.weights not in known.__members__:
        raise entry.error(unknown_name(f"weights of {entry.model}", str(entry.weights), known.__members__).rstrip("."))
    return known[entry.weights]


def _download(weights: Any) -> Mapping[str, Tensor]:
    """Tensors from torch's own cache, or the net."""
    with hub_weights(f"the weights {weights}"):
        tensors: Mapping[str, Tensor] = torch.hub.load_state_dict_from_url(
            weights.url, progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    return tensors


def _network(builder: str, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Any]]:
    heads = [value for key, value in tensors.items() if key.endswith(_HEADS) and "aux_classifier" not in key]
    if not heads:
        raise ConfigError(f"The weights are not of {builder!r}: they hold none of {', '.join(_HEADS)}.")
    classes = len(heads[0])
    return _built(builder, classes), {"builder": builder, "num_classes": classes}


def _built(builder: str, num_classes: int) -> nn.Module:
    """The network with random weights and without its auxiliary classifier."""
    auxiliary = {} if builder.startswith("lraspp") else {"aux_loss": False}
    network: nn.Module = get_model(builder, weights=None, weights_backbone=None, num_classes=num_classes, **auxiliary)
    return network


class _LRASPPBody(Body):
    """LR-ASPP before its two classifiers: what they read, at the finer resolution, side by side."""

    side_multiple = 1

    def __init__(self, network: LRASPP) -> None:
        head: Any = network.classifier
        super().__init__(head.low_classifier.in_channels + head.high_classifier.in_channels, minimum_side=32)
        self.backbone, self.cbr, self.scale = network.backbone, head.cbr, head.scale

    def forward(self, images: Tensor) -> StageMaps:
        """Maps of the two levels of the backbone, then their union."""
        maps = self.backbone(images)
        low, high = maps["low"], maps["high"]
        gated = self.cbr(high) * self.scale(high)
        gated = functional.interpolate(gated, size=low.shape[-2:], mode="bilinear", align_corners=False)
        return [[low], [high], [torch.cat([low, gated], dim=1)]]


def _lraspp(blueprint: Blueprint, network: LRASPP) -> Adapted:
    """Two classifiers that are added up are one on what both read."""
    parts: Any = network.classifier
    low, high = parts.low_classifier, parts.high_classifier
    head = nn.Conv2d(low.in_channels + high.in_channels, low.out_channels, kernel_size=1)
    with torch.no_grad():
        head.weight.copy_(torch.cat([low.weight, high.weight], dim=1))
        assert head.bias is not None
        head.bias.copy_(low.bias + high.bias)
    model = Adapted(blueprint, _LRASPPBody(network), head, head.out_channels)
    model.eval()
    return model


SOURCES.add("torchvision", Torchvision())
