"""Networks whose map is averaged over the image."""

from __future__ import annotations

import pytest
import torch

from muster.errors import ConfigError
from muster.models import build_model, rebuild
from muster.models.pooled import Pooled

IMAGES = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))


def made(architecture: str = "small_fpn", classes: int = 4) -> Pooled:
    return Pooled(build_model(architecture, classes, seed=1)).eval()


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["small_fpn", "unet:resnet18"])
def test_scores_are_those_of_the_mean_of_the_map(architecture: str) -> None:
    model = made(architecture)
    images = IMAGES[:, :, :32, :32]  # a size that needs no padding
    features = model.inner.features(images).mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(model.features(images), features, atol=1e-6)
    assert torch.allclose(model(images), model.inner.score(features), atol=1e-6)
    assert model(images).shape == (2, 4, 1, 1)
    assert model.part_of(IMAGES) is None


@torch.no_grad()
def test_padding_does_not_count() -> None:
    model = made()
    images = torch.zeros(1, 3, 35, 64)
    part = model.inner.part_of(images)
    assert part is not None
    maps = model.inner.features(images)
    rows = maps.shape[2] * part.height / part.padded_height
    weights = (rows - torch.arange(maps.shape[2])).clamp(0, 1)
    expected = (maps.mean(dim=3) * weights).sum(dim=2) / weights.sum()
    assert torch.allclose(model.features(images)[:, :, 0, 0], expected, atol=1e-5)


@torch.no_grad()
def test_it_is_built_again_from_its_blueprint_after_every_change() -> None:
    model = made()
    model.replace_head(7, seed=3)
    model.adapt_channels(4)
    again = rebuild(model.blueprint, 7).eval()
    again.load_state_dict(model.state_dict())
    images = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.equal(again(images), model(images))
    assert (again.num_classes, again.in_channels, again.num_parameters) == (7, 4, model.num_parameters)


def test_a_blueprint_without_a_network_is_refused() -> None:
    blueprint = made().blueprint
    blueprint.config.clear()
    with pytest.raises(ConfigError, match="of: missing key"):
        rebuild(blueprint, 4)
