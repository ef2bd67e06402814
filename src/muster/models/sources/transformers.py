"""Semantic segmentation models of Hugging Face transformers, from a folder or a hub.

Axis names: ``b`` images, ``q`` queries, ``c`` classes, ``h`` and ``w`` the model's own resolution.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.data.preprocessing import Interpolation
from muster.errors import ConfigError
from muster.extras import needs_extra
from muster.models.adapted import Adapted, adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.cutting import scores_in
from muster.models.hub_files import licence_in, local_or_hub
from muster.models.model_source import SOURCES, ModelSource
from muster.models.source_model import SourceModel

_FILES = ("config.json", "preprocessor_config.json", "README.md")
_OF_MASKS = {"mask2former": "model.pixel_level_module", "maskformer": "model.pixel_level_module"}
"""Models that classify masks, and the part of each whose output is the feature map."""

_RESAMPLING: dict[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_NOT_OF_NETWORKS = ("label2id", "transformers_version", "torch_dtype", "dtype", "architectures", "_name_or_path")


class Transformers(ModelSource):
    """``from: transformers``: ``model`` is a folder or a name on a hub."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("model")
        entry.unused("weights", "architecture", "encoder", "pretraining", "arguments")
        folder = local_or_hub(entry.model, (*_FILES, "*.safetensors", "*.safetensors.index.json"))
        if not list(folder.glob("*.safetensors")):
            folder = local_or_hub(entry.model, (*_FILES, "*.bin", "*.bin.index.json"))
        network = _loaded(folder)
        blueprint = Blueprint("transformers", type(network).__name__, _config_of(network))
        own = _preprocessing(folder)
        layer = entry.layer or _OF_MASKS.get(network.config.model_type)
        side = max(own.size.exact) if own is not None and own.size is not None and own.size.exact else 0
        model = _adapted(blueprint, network, layer, side)
        return Adopted(model, entry.complete(model, own, _classes_of(network)), licence_in(folder))

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (its config says it)
        """See :meth:`ModelSource.build`."""
        transformers = needs_extra("transformers", "huggingface")
        content = deepcopy(blueprint.config["config"])  # configs of some releases take theirs apart
        try:
            config = transformers.AutoConfig.for_model(content.pop("model_type"), **content)
            network = _kind_of(config).from_config(config)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"transformers cannot build {blueprint.architecture!r}: {error}") from error
        return cut(blueprint, _told_all(network), _scores_of(network))


def _loaded(folder: Path) -> Any:
    """The network with its weights, none of which may be missing."""
    transformers = needs_extra("transformers", "huggingface")
    safe = bool(list(folder.glob("*.safetensors")))
    transformers.utils.logging.disable_progress_bar()
    try:
        # Code of a repository is never run, and a file that is no safetensors is read with weights_only=True.
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        network, info = _kind_of(config).from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=safe,
            weights_only=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (ValueError, OSError, KeyError, RuntimeError, ImportError) as error:
        raise ConfigError(
            f"model: transformers cannot load {folder}: {error} (Code that comes with a model is never run.)"
        ) from error
    lost = [str(key) for key in (*info["missing_keys"], *info["mismatched_keys"]) if "auxiliary_head" not in str(key)]
    if lost:
        raise ConfigError(
            f"model: {folder} lacks weights of {type(network).__name__}, e.g. {lost[0]}: it is a backbone, or was "
            "trained for something else than semantic segmentation."
        )
    return _told_all(network)


def _told_all(network: Any) -> Any:
    """The network, asked for the maps of its stages too."""
    network.config.output_hidden_states = True
    network.eval()
    return network


def _kind_of(config: Any) -> Any:
    """The class of transformers that makes a segmentation model of a config."""
    transformers = needs_extra("transformers", "huggingface")
    if config.model_type in _OF_MASKS:
        return transformers.AutoModelForUniversalSegmentation
    if type(config) in transformers.AutoModelForSemanticSegmentation._model_mapping:
        return transformers.AutoModelForSemanticSegmentation
    raise ConfigError(
        f"model: {config.model_type!r} is no semantic segmentation model of transformers that can be taken over. Known "
        "are those of AutoModelForSemanticSegmentation, Mask2Former and MaskFormer."
    )


def _config_of(network: Any) -> dict[str, Any]:
    content = json.loads(network.config.to_json_string(use_diff=False))
    return {"config": {key: value for key, value in content.items() if key not in _NOT_OF_NETWORKS}}


def _adapted(blueprint: Blueprint, network: nn.Module, layer: str | None, side: int) -> Adapted:
    """Cut at any size if the network takes any, and otherwise at the one that its image processor gives."""
    scores_of = _scores_of(network)
    try:
        return adapt(blueprint, network, layer, scores_of=scores_of)
    except ConfigError:
        if not side:
            raise
        return adapt(blueprint, network, layer, minimum_side=side, scores_of=scores_of)


def _scores_of(network: Any) -> Any:
    return semantic_scores if network.config.model_type in _OF_MASKS else scores_in


def semantic_scores(output: Any) -> Tensor:
    """Scores of classes from a model that classifies masks.

    Args:
        output: With ``class_queries_logits`` ``[b, q, c + 1]``, the last being none of them, and
            ``masks_queries_logits`` ``[b, q, h, w]``.

    Returns:
        ``[b, c, h, w]``: the logarithm of the semantic maps, sum over q of P(class of q) P(place in the mask of q),
        divided by their sum over the classes, so that softmax gives probabilities.

    Source:
        Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, 2022, section 3 (inference of
        MaskFormer, 2021, section 3.4), https://arxiv.org/abs/2112.01527. We divide the maps by their sum.
    """
    classes = output.class_queries_logits.float().softmax(dim=-1)[..., :-1]
    masks = output.masks_queries_logits.float().sigmoid()
    maps = torch.einsum("bqc,bqhw->bchw", classes, masks).clamp(min=torch.finfo(torch.float32).tiny)
    return maps.log() - maps.sum(dim=1, keepdim=True).log()


def _classes_of(network: Any) -> tuple[str, ...]:
    """Class names in the order of the scores; none if they are only numbered."""
    names: Mapping[int, str] = network.config.id2label
    ordered = tuple(str(names[index]) for index in sorted(names))
    return () if all(name == f"LABEL_{index}" for index, name in enumerate(ordered)) else ordered


def _preprocessing(folder: Path) -> Preprocessing | None:
    """What the image processor beside a model does to an image; nothing if there is none."""
    if not (folder / "preprocessor_config.json").is_file():
        return None
    transformers = needs_extra("transformers", "huggingface")
    try:
        does = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ConfigError(f"model: the image processor in {folder} cannot be read: {error}") from error
    scale = (does.rescale_factor if getattr(does, "do_rescale", True) else 1.0) * 255
    normalises = getattr(does, "do_normalize", False)
    mean = does.image_mean if normalises else (0.0, 0.0, 0.0)
    std = does.image_std if normalises else (1.0, 1.0, 1.0)
    return Preprocessing(
        ChannelStatistics(_three(mean, scale), _three(std, scale)),
        _size_of(does) if getattr(does, "do_resize", True) else None,
        "bgr" if getattr(does, "do_flip_channel_order", False) else "rgb",
        _RESAMPLING.get(int(getattr(does, "resample", None) or 2), "bilinear"),
    )


def _three(values: Any, scale: float) -> tuple[float, float, float]:
    """Numbers for pixels scaled to 0..1, whatever scale the model sees."""
    red, green, blue = (float(value) / scale for value in ((values,) * 3 if isinstance(values, float) else values))
    return red, green, blue


def _size_of(processor: Any) -> ImageSize | None:
    said = processor.size if isinstance(processor.size, Mapping) else vars(processor.size)
    size = {key: int(value) for key, value in said.items() if value is not None}
    if "height" in size:
        return ImageSize(exact=(size["height"], size["width"]))
    if "shortest_edge" in size:
        return ImageSize(shorter=size["shortest_edge"])
    return ImageSize(longer=size["longest_edge"]) if "longest_edge" in size else None


SOURCES.add("transformers", Transformers())
