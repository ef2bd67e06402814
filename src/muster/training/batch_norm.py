"""Batch normalisation whose statistics are those of the batches of all processes together.

On a GPU timm's conversion puts torch's SyncBatchNorm in place of each layer, and keeps an activation that a layer has
built in. torch's layer refuses the CPU: there layers stay what they are, and only their way of normalising is exchanged
for the time of a fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.distributed as dist
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from muster.late import late
from muster.ranks import sum_with_gradients

timm = late("timm")


class SynchronisedBatchNorm(LayerSync):
    """For a Trainer's ``plugins``: every batch normalisation layer of the module is synchronised during the fit."""

    def __init__(self) -> None:
        """Synchronise nothing yet."""
        self._replaced: dict[str, _BatchNorm] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Begin to synchronise the layers of a model."""
        if any(value.is_cuda for value in model.parameters()):
            self._replaced = replace_layers(model)
            return model
        for layer in _layers(model):
            layer.forward = partial(_forward, layer, layer.forward)  # type: ignore[method-assign]
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Make the layers what they were."""
        restore_layers(model, self._replaced)
        self._replaced = {}
        for layer in _layers(model):
            layer.__dict__.pop("forward", None)
        return model


def replace_layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """Put synchronised layers in place of a model's batch normalisations; they share weights and statistics.

    Args:
        model: It is changed; it is no such layer itself.

    Returns:
        The layers that were there, by their places.
    """
    replaced = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
    timm.layers.convert_sync_batchnorm(model)
    return replaced


def restore_layers(model: nn.Module, replaced: Mapping[str, _BatchNorm]) -> None:
    """Put layers back, with the weights and statistics that their substitutes have now.

    Args:
        model: It is changed.
        replaced: What :func:`replace_layers` gave.
    """
    for place, layer in replaced.items():
        parent, _, name = place.rpartition(".")
        substitute = model.get_submodule(place)
        layer._parameters.update(substitute._parameters)
        layer._buffers.update(substitute._buffers)  # another device gives a module new ones
        layer.train(substitute.training)
        setattr(model.get_submodule(parent), name, layer)


def _layers(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _forward(layer: _BatchNorm, alone: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What the layer computes, with the mean and variance over all processes."""
    if not layer.training or not dist.is_initialized():
        return alone(images)
    values = images.float()
    axes = [axis for axis in range(values.ndim) if axis != 1]
    count = values.new_full((1,), values.numel() / values.shape[1])
    shape = [1, -1] + [1] * (values.ndim - 2)
    # Around the mean that is expected, as a variance from two large numbers would lose digits.
    expected = values.new_zeros(values.shape[1]) if layer.running_mean is None else layer.running_mean.clone()
    shifted = values - expected.view(shape)
    sums: Tensor = sum_with_gradients(torch.cat([shifted.sum(axes), shifted.square().sum(axes), count]))
    total, channels = sums[-1].detach(), values.shape[1]
    mean, square = sums[:channels] / total, sums[channels:-1] / total
    variance = (square - mean.square()).clamp(min=0)
    _update_running(layer, (mean + expected).detach(), variance.detach(), float(total))
    normalised = (shifted - mean.view(shape)) * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        normalised = normalised * layer.weight.view(shape) + layer.bias.view(shape)
    normalised = normalised.to(images.dtype)
    for name in ("drop", "act"):  # of timm's layers
        if isinstance(after := getattr(layer, name, None), nn.Module):
            normalised = after(normalised)
    return normalised


@torch.no_grad()
def _update_running(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: float) -> None:
    if not layer.track_running_stats:
        return
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked += 1
    share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance * count / max(1.0, count - 1), share)
