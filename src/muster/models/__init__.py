"""Segmentation networks by name, behind one interface."""

from __future__ import annotations

from muster.models.blueprint import Blueprint
from muster.models.build import (
    build_model,
    check_architecture,
    list_architectures,
    pretraining_statistics,
    weights_file,
)
from muster.models.family import FAMILIES, Family
from muster.models.model_source import SOURCES, ModelSource, rebuild
from muster.models.padding import ImageMap, Part
from muster.models.prediction import upsample_probabilities
from muster.models.pretraining import SCHEMES, Scheme, StartedBody, list_pretrainings
from muster.models.segmenter import Body, Segmenter, StageMaps
from muster.models.source_heads import SourceHeads, put_source_heads, source_heads
from muster.models.source_model import SourceModel
from muster.models.stages import parameter_stages
from muster.models.tta import TTASettings, Variant

__all__ = [
    "FAMILIES",
    "SCHEMES",
    "SOURCES",
    "Blueprint",
    "Body",
    "Family",
    "ImageMap",
    "ModelSource",
    "Part",
    "Scheme",
    "Segmenter",
    "SourceHeads",
    "SourceModel",
    "StageMaps",
    "StartedBody",
    "TTASettings",
    "Variant",
    "build_model",
    "check_architecture",
    "list_architectures",
    "list_pretrainings",
    "parameter_stages",
    "pretraining_statistics",
    "put_source_heads",
    "rebuild",
    "source_heads",
    "upsample_probabilities",
    "weights_file",
]
