"""Batch normalisation over processes: the layers that a GPU is given, and what comes back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from muster.models import build_model
from muster.training.batch_norm import SynchronisedBatchNorm, replace_layers, restore_layers


@pytest.mark.parametrize("architecture", ["small_fpn", "hrnet_w18"])
def test_replaced_layers_share_all_numbers_and_are_put_back(architecture: str) -> None:
    model = nn.ModuleList([build_model(architecture, 3, seed=0)])
    original = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
    images, keys = torch.randn(2, 3, 64, 64), list(model.state_dict())
    model.eval()
    before = model[0](images)

    replaced = replace_layers(model)
    assert replaced == original
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    assert len(layers) == len(original)
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
    assert list(model.state_dict()) == keys
    torch.testing.assert_close(model[0](images), before)

    with torch.no_grad():
        for layer in layers:
            layer.weight += 1
            layer._buffers["running_mean"] = layer._buffers["running_mean"] + 1  # as a move to a device does
    model.train()
    restore_layers(model, replaced)
    assert {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)} == original
    assert list(model.state_dict()) == keys
    for layer in original.values():
        assert layer.training
        assert (layer.weight >= 1).all()
        assert layer.running_mean.mean() == 1


def test_on_a_cpu_layers_stay_and_only_their_forward_is_exchanged() -> None:
    model = build_model("small_fpn", 3, seed=0)
    sync = SynchronisedBatchNorm()
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    assert sync.apply(model) is model
    assert all("forward" in layer.__dict__ for layer in layers)
    sync.revert(model)
    assert not any("forward" in layer.__dict__ for layer in layers)
