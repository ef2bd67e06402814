"""Image classifiers of timm: a folder as hubs have them, or an architecture by name with a file of weights."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.data.preprocessing import Interpolation
from muster.errors import ConfigError, unknown_name
from muster.late import late
from muster.models.adapted import adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.hub_files import licence_in, local_or_hub
from muster.models.model_source import SOURCES, Facts, ModelSource
from muster.models.source_model import SourceModel
from muster.models.tensors import load_tensors, read_tensors

timm = late("timm")

_SAFE, _PICKLED = "model.safetensors", "pytorch_model.bin"
_TRAINED_ON_IMAGENET = re.compile(r"in\d+k")


class Timm(ModelSource):
    """``from: timm``: ``model`` is a folder or a name on a hub; or ``architecture`` and ``weights``."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.unused("encoder", "pretraining")
        if entry.model:
            entry.unused("weights", "architecture", "arguments")
            folder = local_or_hub(entry.model, ("config.json", "README.md", _SAFE))
            if not (folder / _SAFE).is_file():
                folder = local_or_hub(entry.model, ("config.json", "README.md", _PICKLED))
            config, file, licence = _read_config(folder), _weights_of(folder), licence_in(folder)
            tensors = read_tensors(file)
        else:
            entry.required("architecture", "weights")
            file, licence = Path(str(entry.weights)).expanduser(), ""
            tensors = read_tensors(file)
            config = _config_of(entry, tensors)
        network = _built(config)
        load_tensors(network, tensors, str(file))
        known = self.facts_of(network)
        assert known is not None  # every network of timm says where it comes from
        blueprint = Blueprint("timm", str(config["architecture"]), config)
        model = adapt(blueprint, network, entry.layer, usual_side=known.usual_side)
        is_known = bool(entry.model) or "." in str(entry.architecture)  # a tag says which weights they are
        names = _label_names(config) or (known.classes if is_known else ())
        classes = entry.complete(model, known.preprocessing, names)
        return Adopted(model, classes, licence or str(known.licence))

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (its config says it)
        """See :meth:`ModelSource.build`."""
        return cut(blueprint, _built(blueprint.config))

    def facts_of(self, network: nn.Module) -> Facts | None:
        """See :meth:`ModelSource.facts_of`."""
        config: Any = getattr(network, "pretrained_cfg", None)
        if not isinstance(config, Mapping):
            return None
        found: dict[str, Any] = timm.data.resolve_data_config({}, pretrained_cfg=dict(config))
        return Facts(
            _preprocessing(found),
            _classes_of(config, int(getattr(network, "num_classes", 0))),
            max(found["input_size"][1:]),
            str(config.get("license") or ""),
        )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Expected a folder as timm puts it on a hub.") from error
    if not isinstance(content, dict) or "architecture" not in content:
        raise ConfigError(f"{path} does not name a network of timm (architecture). Was it written by timm?")
    kept = ("architecture", "num_classes", "global_pool", "model_args", "pretrained_cfg", "label_names",
            "label_descriptions")  # fmt: skip
    return {key: content[key] for key in kept if content.get(key) is not None}


def _weights_of(folder: Path) -> Path:
    for name in (_SAFE, _PICKLED):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{folder} holds no weights: expected {_SAFE} or {_PICKLED}.")


def _config_of(entry: Adoption, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config of an architecture by name; its weights say how many classes there are."""
    architecture = str(entry.architecture)
    if not timm.is_model(architecture):
        raise entry.error(unknown_name("network of timm", architecture, timm.list_models()).rstrip("."))
    try:
        said = timm.get_pretrained_cfg(architecture)
    except (RuntimeError, KeyError) as error:
        raise entry.error(f"architecture: timm knows no weights {architecture!r} ({error})") from error
    layers = (said.classifier if said else None) or ()
    names = [layers] if isinstance(layers, str) else list(layers)
    heads = [value for key, value in tensors.items() if any(key.endswith(f"{name}.weight") for name in names)]
    config = {"architecture": architecture, "model_args": dict(entry.arguments)}
    return {**config, **({"num_classes": len(heads[-1])} if heads else {})}


def _built(config: Mapping[str, Any]) -> nn.Module:
    """The network with random weights."""
    known = {field.name for field in fields(timm.models.PretrainedCfg)}
    said = {key: value for key, value in (config.get("pretrained_cfg") or {}).items() if key in known}
    passed = {key: config[key] for key in ("num_classes", "global_pool") if key in config} | config.get(
        "model_args", {}
    )
    name = str(config["architecture"])
    if not timm.is_model(name):
        raise ConfigError(unknown_name("network of timm", name, timm.list_models()))
    if said:
        passed["pretrained_cfg"] = said
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **passed)
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        raise ConfigError(f"timm cannot build {name!r} of {passed}: {error}") from error
    return network.eval()


def _preprocessing(found: Mapping[str, Any]) -> Preprocessing:
    """What timm evaluates a network with; where it cannot be done here, a warning says what is done instead."""
    rows, columns = (int(side) for side in found["input_size"][1:])
    resized = tuple(math.floor(side / found["crop_pct"]) for side in (rows, columns))
    if found["crop_mode"] == "center" and rows == columns:
        size = ImageSize(shorter=resized[0], crop=(rows, columns))
    else:
        size = ImageSize(exact=resized, crop=(rows, columns))
        if found["crop_mode"] != "squash":
            warnings.warn(f"timm brings images to {rows} x {columns} otherwise; here: {size}.", stacklevel=2)
    interpolation = str(found["interpolation"])
    if interpolation not in get_args(Interpolation):
        warnings.warn(f"timm resizes images by {interpolation!r}; here it is done by bicubic.", stacklevel=2)
        interpolation = "bicubic"
    statistics = ChannelStatistics(tuple(map(float, found["mean"])), tuple(map(float, found["std"])))
    return Preprocessing(statistics, size, "rgb", interpolation)  # type: ignore[arg-type]  # (checked)


def _label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names that a folder's config has: descriptions where there are any, made distinct by the names."""
    names = config.get("label_names") or (config.get("pretrained_cfg") or {}).get("label_names") or ()
    ordered = [names[key] for key in sorted(names, key=int)] if isinstance(names, Mapping) else list(names)
    told = config.get("label_descriptions") or (config.get("pretrained_cfg") or {}).get("label_descriptions") or {}
    return _distinct([str(name) for name in ordered], [str(told.get(name, name)) for name in ordered])


def _classes_of(config: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Those of ImageNet, where the weights' name says that they were trained on it and the number is right."""
    if not count or config.get("num_classes") != count or not _TRAINED_ON_IMAGENET.search(str(config.get("tag") or "")):
        return ()
    subset = timm.data.infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return ()
    known: Any = timm.data.ImageNetInfo(subset)
    return _distinct(list(known.label_names()), list(known.label_descriptions()))


def _distinct(names: list[str], told: list[str]) -> tuple[str, ...]:
    """What classes are called, with the name behind it where two are called the same."""
    twice = {each for each in told if told.count(each) > 1} if len(set(told)) < len(told) else set()
    return tuple(f"{each} ({name})" if each in twice else each for name, each in zip(names, told, strict=True))


SOURCES.add("timm", Timm())
