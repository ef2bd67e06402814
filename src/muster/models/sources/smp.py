"""Models of segmentation_models_pytorch (SMP): a folder that ``save_pretrained`` wrote, or a state_dict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from muster.data import Preprocessing
from muster.errors import ConfigError
from muster.late import late
from muster.models.adapted import Adapted, adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.families.smp import encoder_statistics, minimum_side
from muster.models.hub_files import local_or_hub
from muster.models.model_source import SOURCES, ModelSource
from muster.models.source_model import SourceModel
from muster.models.tensors import load_tensors, read_tensors

smp = late("segmentation_models_pytorch")

_CLASS = "_model_class"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_OPTIONAL = ("classification_head.",)


class SMP(ModelSource):
    """``from: smp``: ``model`` is a folder or a name on a hub; or ``architecture``, ``encoder`` and ``weights``."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.unused("layer", "pretraining")
        if entry.model:
            entry.unused("weights", "architecture", "encoder", "arguments")
            folder = local_or_hub(entry.model, ("config.json", *_WEIGHTS))
            config, file = _read_config(folder), _weights_of(folder)
        else:
            entry.required("weights", "architecture")
            config, file = _config_of(entry), Path(str(entry.weights)).expanduser()
        tensors = read_tensors(file)
        if not entry.model:
            head = [value for key, value in tensors.items() if "segmentation_head" in key and key.endswith(".bias")]
            config["classes"] = config.get("classes") or (len(head[-1]) if head else 1)
        network = _built(config)
        load_tensors(network, tensors, str(file), _OPTIONAL)
        name = str(config[_CLASS]).lower()
        blueprint = Blueprint("smp", f"{name}:{config.get('encoder_name', 'resnet34')}", config)
        model = adapt(blueprint, network, minimum_side=minimum_side(name))
        classes = entry.complete(model, _preprocessing(config))
        return Adopted(model, classes, pretraining=str(config.get("encoder_weights") or ""))

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (its config says it)
        """See :meth:`ModelSource.build`."""
        config = {key: value for key, value in blueprint.config.items() if key != "cut"}
        model: Adapted = cut(blueprint, _built(config))
        return model


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}. Expected a folder that save_pretrained of SMP wrote."
        ) from error
    if not isinstance(content, dict) or _CLASS not in content:
        raise ConfigError(f"{path} does not name an SMP model ({_CLASS}). Was it saved by save_pretrained of SMP?")
    return content


def _weights_of(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{folder} holds no weights: expected {' or '.join(_WEIGHTS)}.")


def _config_of(entry: Adoption) -> dict[str, Any]:
    name, _, encoder = str(entry.architecture).partition(":")
    encoder = encoder or entry.encoder or ""
    if not encoder:
        raise entry.error("from: smp with weights needs the encoder, e.g. encoder: resnet34")
    return {**entry.arguments, _CLASS: name, "encoder_name": encoder}


def _built(config: dict[str, Any]) -> nn.Module:
    """The network with random weights."""
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    if arguments.get("in_channels", 3) != 3:
        raise ConfigError(f"Expected an SMP model of images with 3 channels, but got {arguments['in_channels']}.")
    name = str(config[_CLASS]).lower()
    if name not in smp.MODEL_ARCHITECTURES_MAPPING:
        raise ConfigError(
            f"SMP has no architecture {config[_CLASS]!r}; it has {', '.join(smp.MODEL_ARCHITECTURES_MAPPING)}."
        )
    try:
        network: nn.Module = smp.create_model(name, **{**arguments, "encoder_weights": None, "aux_params": None})
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise ConfigError(f"SMP cannot build {name!r} of {arguments}: {error}") from error
    return network


def _preprocessing(config: dict[str, Any]) -> Preprocessing | None:
    """That of the ImageNet weights which the encoder started from, if it did and it is known."""
    if config.get("encoder_weights") != "imagenet":
        return None
    statistics = encoder_statistics(str(config.get("encoder_name", "resnet34")))
    return None if statistics is None else Preprocessing(statistics)


SOURCES.add("smp", SMP())
