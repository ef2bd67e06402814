"""Checks before a fit begins: whether devices share its batches, and whether its networks take batches so small."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from muster.data import ImageSize
from muster.errors import ConfigError
from muster.models import SourceModel
from muster.training.settings import TrainingSettings


def require_shared_batches(settings: TrainingSettings, processes: int) -> None:
    """Check that every device gets as many images of a batch as any other.

    Args:
        settings: Say how many images a batch has.
        processes: How many devices share it.

    Raises:
        ConfigError: If they do not divide it.
    """
    if settings.batch_size % processes == 0:
        return
    above = -(-settings.batch_size // processes) * processes
    below = above - processes
    raise ConfigError(
        f"batch_size: expected a multiple of the {processes} devices that share each batch, but got "
        f"{settings.batch_size}. Try {f'{below} or ' if below else ''}{above}, or another number of devices."
    )


def require_trainable(models: Mapping[str, SourceModel], settings: TrainingSettings, image_size: ImageSize) -> None:
    """Check that networks can take batches so small.

    Args:
        models: By the names that errors use.
        settings: Batches and crops.
        image_size: Size of the images.

    Raises:
        ConfigError: If the batch is a single crop of which some batch normalisation sees a single value, whose variance
            is not defined.
    """
    crop = settings.crop_for(image_size)
    for name, model in models.items():
        own = model.preprocessing
        seen = crop if own is None or own.size is None else own.size.fixed or crop
        if settings.batch_size == 1 and _has_single_values(model, seen):
            raise ConfigError(
                f"batch_size: expected at least 2 for {name} ({model.architecture}) with crops of {crop[0]} x "
                f"{crop[1]} pixels, but got 1: one of its batch normalisations would see a single value, whose "
                "variance is not defined. Give larger batches or larger crops."
            )


@torch.no_grad()
def _has_single_values(model: SourceModel, crop: tuple[int, int]) -> bool:
    """Whether some batch normalisation has one value a channel for a single crop: one pass, which changes nothing."""
    fewest = [2]

    def look(fewest: list[int], layer: nn.Module, arrived: tuple[Tensor, ...]) -> None:  # noqa: ARG001 (a hook's)
        fewest.append(arrived[0].numel() // arrived[0].shape[1])

    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    handles = [layer.register_forward_pre_hook(partial(look, fewest)) for layer in layers]
    was_training = model.training
    try:
        model.eval()
        model(model.blank_images(1, *crop))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return min(fewest) < 2
