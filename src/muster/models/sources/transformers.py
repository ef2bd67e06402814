"""Models of Hugging Face transformers, from a folder or a hub: semantic segmentation, classifiers of images and texts.

Encoders of texts without a classifier become backbones, which have no source classes.

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

from muster.errors import ConfigError
from muster.extras import needs_extra
from muster.models import text_loading
from muster.models.adapted import adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.cutting import scores_in
from muster.models.hub_files import licence_in, local_or_hub
from muster.models.image_processing import image_processing
from muster.models.model_source import SOURCES, Facts, ModelSource
from muster.models.source_model import SourceModel
from muster.models.text_adoption import adopt_text, build_text_model
from muster.models.text_encoder import TEXT

_FILES = ("config.json", "preprocessor_config.json", "README.md")
_OF_MASKS = {"mask2former": "model.pixel_level_module", "maskformer": "model.pixel_level_module"}
"""Models that classify masks, and the part of each whose output is the feature map."""

_NOT_OF_NETWORKS = ("label2id", "transformers_version", "torch_dtype", "dtype", "architectures", "_name_or_path")


class Transformers(ModelSource):
    """``from: transformers``: ``model`` is a folder or a name on a hub."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("model")
        entry.unused("weights", "architecture", "encoder", "pretraining")
        folder = local_or_hub(entry.model, (*_FILES, *text_loading.FILES, "*.safetensors", "*.safetensors.index.json"))
        if (config := _text_config(folder)) is not None:
            return adopt_text(entry, folder, config)
        entry.unused("arguments")
        if not list(folder.glob("*.safetensors")):
            folder = local_or_hub(entry.model, (*_FILES, "*.bin", "*.bin.index.json"))
        network = _loaded(folder)
        blueprint = Blueprint("transformers", type(network).__name__, _config_of(network))
        own = image_processing(folder, is_whole=_is_classifier(network))
        side = max(own.size.fixed) if own is not None and own.size is not None and own.size.fixed else 0
        layer = entry.layer or _OF_MASKS.get(network.config.model_type)
        model = adapt(blueprint, network, layer, scores_of=_scores_of(network), usual_side=side)
        said = self.facts_of(network) or Facts()
        classes = entry.complete(model, own, said.classes)
        return Adopted(model, classes, licence_in(folder), task=said.task)

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (its config says it)
        """See :meth:`ModelSource.build`."""
        if TEXT in blueprint.config:
            return build_text_model(blueprint)
        transformers = needs_extra("transformers", "huggingface")
        content = deepcopy(blueprint.config["config"])  # configs of some releases take theirs apart
        try:
            config = transformers.AutoConfig.for_model(content.pop("model_type"), **content)
            network = _kind_of(config, blueprint.architecture)(config)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"transformers cannot build {blueprint.architecture!r}: {error}") from error
        return cut(blueprint, _told_all(network), _scores_of(network))

    def facts_of(self, network: nn.Module) -> Facts | None:
        """See :meth:`ModelSource.facts_of`; an image processor lies beside a model, not in it."""
        config: Any = getattr(network, "config", None)
        if not type(network).__module__.startswith("transformers.") or config is None:
            return None
        side = getattr(config, "image_size", 0)
        # Scores do not tell whether an image may have several classes.
        has_several = getattr(config, "problem_type", None) == "multi_label_classification"
        return Facts(
            None, _classes_of(network), side if isinstance(side, int) else 0, task="multilabel" if has_several else ""
        )


def _text_config(folder: Path) -> Any:
    """The config of a model of texts; ``None`` of one of images, and where there is none that can be read."""
    transformers = needs_extra("transformers", "huggingface")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError):
        return None  # told when the model is loaded
    return config if type(config) in transformers.AutoModelForSequenceClassification._model_mapping else None


def _loaded(folder: Path) -> Any:
    """The network with its weights, none of which may be missing."""
    transformers = needs_extra("transformers", "huggingface")
    safe = bool(list(folder.glob("*.safetensors")))
    transformers.utils.logging.disable_progress_bar()
    try:
        # Code of a repository is never run, and a file that is no safetensors is read with weights_only=True.
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        named = (config.architectures or [""])[0]
        network, info = _kind_of(config, named).from_pretrained(
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
            "trained for something else than semantic segmentation or image classification."
        )
    return _told_all(network)


def _told_all(network: Any) -> Any:
    """The network, asked for the maps of its stages too."""
    network.config.output_hidden_states = True
    network.eval()
    return network


def _kind_of(config: Any, named: str) -> Any:
    """The class of transformers that a model is of: the one that is named if it is known, or what the config is for."""
    transformers = needs_extra("transformers", "huggingface")
    autos = [transformers.AutoModelForSemanticSegmentation, transformers.AutoModelForImageClassification]
    if config.model_type in _OF_MASKS:
        autos = [transformers.AutoModelForUniversalSegmentation]
    kinds = [kind for auto in autos for kind in _kinds(auto, config)]
    if not kinds:
        raise ConfigError(
            f"model: {config.model_type!r} is no model of transformers that can be taken over. Known are those of "
            "AutoModelForSemanticSegmentation and AutoModelForImageClassification, Mask2Former and MaskFormer."
        )
    return next((kind for kind in kinds if kind.__name__ == named), kinds[0])


def _kinds(auto: Any, config: Any) -> tuple[Any, ...]:
    if type(config) not in auto._model_mapping:
        return ()
    found = auto._model_mapping[type(config)]
    return found if isinstance(found, tuple) else (found,)


def _is_classifier(network: Any) -> bool:
    transformers = needs_extra("transformers", "huggingface")
    return type(network) in _kinds(transformers.AutoModelForImageClassification, network.config)


def _config_of(network: Any) -> dict[str, Any]:
    content = json.loads(network.config.to_json_string(use_diff=False))
    return {"config": {key: value for key, value in content.items() if key not in _NOT_OF_NETWORKS}}


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


SOURCES.add("transformers", Transformers())
