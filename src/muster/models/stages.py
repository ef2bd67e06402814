"""Which stage of a source model each of its parameters belongs to, whoever made the model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from muster.models._graph import trace
from muster.models.source_model import SourceModel


def parameter_stages(model: SourceModel) -> dict[Parameter, int]:
    """Number the parameters by the first stage whose output they influence; the head comes after the last stage.

    Stages are those of :meth:`SourceModel.features_and_embeddings`. Those of a convolutional encoder are timm's coarse
    layers: stem, then a number of blocks at each resolution. The record of automatic differentiation tells which
    parameters a stage needs, so nothing depends on how a model names its layers.

    Args:
        model: It is left as it is.

    Returns:
        For each trainable parameter that influences the scores, the number of its stage, from 0 on.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()  # batch statistics must not move
    try:
        with torch.inference_mode(False), torch.enable_grad():
            features, embeddings = model.features_and_embeddings(model.blank_image())
            outputs = [*embeddings, model.score(features)]
    finally:
        for module, was in training.items():
            module.training = was
    numbers: dict[Tensor, int] = {}
    for number, output in enumerate(outputs):
        for parameter in trace(output)[1]:
            numbers.setdefault(parameter, number)
    # What the features need beyond the last stage is no part of the head.
    beyond = dict.fromkeys(trace(features)[1], len(embeddings) - 1)
    return {each: min(numbers[each], beyond.get(each, numbers[each])) for each in model.parameters() if each in numbers}
