"""Segmentation models, classifiers and detectors of torchvision: weights from a file, or published ones by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models import detection, get_model, get_model_weights, list_models, segmentation
from torchvision.models.segmentation.lraspp import LRASPP

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.errors import ConfigError, unknown_name
from muster.models.adapted import Adapted, adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.hub import IMAGENET, hub_weights
from muster.models.model_source import SOURCES, ModelSource
from muster.models.segmenter import Body, StageMaps
from muster.models.source_model import SourceModel
from muster.models.sources._torchvision_detectors import DETECTOR, adopt_detector, detector
from muster.models.tensors import load_tensors, read_tensors

_HEADS = ("classifier.4.bias", "classifier.low_classifier.bias")
_OPTIONAL = ("aux_classifier.",)
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_USUAL = 1000

ARGUMENTS = "arguments"
"""Key of a classifier's blueprint for what its builder is told; those of segmentation networks have none."""


class Torchvision(ModelSource):
    """``from: torchvision``: ``model`` is a builder's name, ``weights`` a file or the name of published weights."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("model", "weights")
        entry.unused("architecture", "encoder", "pretraining")
        builders = list_models(module=segmentation)
        if entry.model in (classifiers := list_models(module=models)):
            return _classifier(entry)
        if entry.model in (detectors := list_models(module=detection)):
            return _detector(entry)
        if entry.model not in builders:
            both = [*builders, *classifiers, *detectors]
            raise entry.error(unknown_name("torchvision model", entry.model, both).rstrip("."))
        entry.unused("layer", "arguments")
        published = None if Path(str(entry.weights)).suffix else _published(entry)
        tensors = read_tensors(Path(str(entry.weights)).expanduser()) if published is None else _download(published)
        network, config = _network(entry.model, tensors)
        load_tensors(network, tensors, str(entry.weights), _OPTIONAL)
        blueprint = Blueprint("torchvision", entry.model, config)
        model = _lraspp(blueprint, network) if isinstance(network, LRASPP) else adapt(blueprint, network)
        size = ImageSize(shorter=520)  # what torchvision evaluates all of them at
        known: list[str] = [] if published is None else published.meta["categories"]
        classes = entry.complete(model, Preprocessing(IMAGENET, size), known)
        return Adopted(model, classes, "BSD-3-Clause" if known else "")

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (its config says it)
        """See :meth:`ModelSource.build`."""
        if DETECTOR in blueprint.config:
            return detector(blueprint.config[DETECTOR])
        if ARGUMENTS in blueprint.config:
            return cut(blueprint, _built_classifier(blueprint.config))
        network = _built(blueprint.config["builder"], blueprint.config["num_classes"])
        return _lraspp(blueprint, network) if isinstance(network, LRASPP) else cut(blueprint, network)


def _detector(entry: Adoption) -> Adopted:
    """A model that finds objects, of which the backbone is taken."""
    entry.unused("layer", "arguments", "classes", "data")
    path = Path(str(entry.weights)).expanduser()
    published = None if path.suffix else _published(entry)
    tensors = read_tensors(path) if published is None else _download(published)
    return adopt_detector(entry, dict(tensors), "" if published is None else "BSD-3-Clause")


def _classifier(entry: Adoption) -> Adopted:
    """A model that classifies whole images."""
    known = get_model_weights(entry.model).__members__
    path = Path(str(entry.weights)).expanduser()
    # A file that is called as torchvision calls it is taken for the weights of that name.
    published = _published(entry) if not path.suffix else _called(path, known.values())
    tensors = read_tensors(path) if path.suffix else _download(published)
    config: dict[str, Any] = {"builder": entry.model, "num_classes": _count(entry, tensors)}
    config[ARGUMENTS] = {**_arguments(entry.model, tensors, published is not None), **entry.arguments}
    network = _built_classifier(config)
    load_tensors(network, tensors, str(entry.weights), _AUXILIARY)
    shown = _shown(published or next(iter(known.values())), config[ARGUMENTS].get("image_size"))
    assert shown.size is not None
    assert shown.size.crop is not None
    blueprint = Blueprint("torchvision", entry.model, config)
    model = adapt(blueprint, network, entry.layer, usual_side=shown.size.crop[0])
    classes = entry.complete(model, shown, () if published is None else published.meta["categories"])
    return Adopted(model, classes, "" if published is None else str(published.meta.get("license", "BSD-3-Clause")))


def _called(path: Path, known: Iterable[Any]) -> Any:
    return next((each for each in known if Path(each.url).name == path.name), None)


def _count(entry: Adoption, tensors: Mapping[str, Tensor]) -> int:
    """How many classes weights tell apart: the length of the last of those that would have as many as classes."""
    with torch.device("meta"):
        names = [
            name
            for name, value in get_model(entry.model).state_dict().items()
            if len(value.shape) and len(value) == _USUAL
        ]
    found = next((value for key, value in tensors.items() if key.endswith(names[-1])), None)
    if found is None:
        raise entry.error(f"weights: they are not of {entry.model!r}: they hold no {names[-1]!r}")
    return len(found)


def _arguments(builder: str, tensors: Mapping[str, Tensor], published: bool) -> dict[str, Any]:
    """What a builder has to be told beside the number of classes."""
    if builder in ("googlenet", "inception_v3"):
        # The published ones were trained on images that were normalised otherwise than ImageNet's usually are.
        return {"aux_logits": False, "init_weights": False, "transform_input": published}
    if builder.startswith("vit_"):
        places = next((value.shape[1] for key, value in tensors.items() if key.endswith("pos_embedding")), 0)
        patch = next((value.shape[-1] for key, value in tensors.items() if key.endswith("conv_proj.weight")), 0)
        return {"image_size": patch * math.isqrt(max(places - 1, 0))}
    return {}


def _built_classifier(config: Mapping[str, Any]) -> nn.Module:
    try:
        network: nn.Module = get_model(
            config["builder"], weights=None, num_classes=config["num_classes"], **config[ARGUMENTS]
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"torchvision cannot build {config['builder']!r}: {error}") from error
    return network


def _shown(weights: Any, side: int | None) -> Preprocessing:
    """How torchvision evaluates published weights; those of another side see all of the shorter side."""
    does = weights.transforms()
    resized, cut_out = (does.resize_size[0], does.crop_size[0])
    if side and side != cut_out:
        resized = cut_out = side
    statistics = ChannelStatistics(tuple(does.mean), tuple(does.std))
    return Preprocessing(
        statistics, ImageSize(shorter=resized, crop=(cut_out, cut_out)), "rgb", does.interpolation.value
    )


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
