"""Segmentation networks by name, behind one interface."""

from __future__ import annotations

from muster.models.build import build_model, check_architecture, list_architectures
from muster.models.prediction import predict_probabilities, upsample_probabilities
from muster.models.pretraining import PRETRAINING_SCHEMES, load_weights, weights_file
from muster.models.segmenter import Body, Segmenter, StageMaps
from muster.models.smp import minimum_side

__all__ = [
    "PRETRAINING_SCHEMES",
    "Body",
    "Segmenter",
    "StageMaps",
    "build_model",
    "check_architecture",
    "list_architectures",
    "load_weights",
    "minimum_side",
    "predict_probabilities",
    "upsample_probabilities",
    "weights_file",
]
