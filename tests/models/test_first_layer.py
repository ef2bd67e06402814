"""Networks adapted to images of other than three channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from muster.data import DatasetSpec
from muster.errors import ConfigError, UnfitMemberError
from muster.models import build_model, rebuild
from muster.pool import Pool
from tests.helpers import make_member

SPEC = DatasetSpec("bands", "none", ("a", "b"), channels=4)


@pytest.mark.parametrize("architecture", ["small_fpn", "fpn:resnet18", "unet:tu-tf_efficientnet_lite0", "hrnet_w8"])
def test_a_grey_image_gives_what_it_gave_in_three_channels(architecture: str) -> None:
    model = build_model(architecture, 3).eval()
    grey = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(grey.expand(-1, 3, -1, -1))
        model.adapt_channels(1)
        assert torch.allclose(model(grey), before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_an_adapted_network_is_built_again_from_its_blueprint(channels: int) -> None:
    model = build_model("small_fpn", 3).eval()
    rgb = model.num_parameters
    model.adapt_channels(channels)
    again = rebuild(model.blueprint, 3).eval()
    again.load_state_dict(model.state_dict())
    images = torch.randn(1, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(images), model(images))
    assert again.in_channels == channels
    assert model.num_parameters != rgb
    model.adapt_channels(channels)
    with pytest.raises(ConfigError, match=f"made for images of {channels} channels"):
        model.adapt_channels(3)


def test_repeated_channels_give_what_three_gave() -> None:
    model = build_model("small_unet", 3).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(images)
        model.adapt_channels(6)
        assert torch.allclose(model(images.repeat(1, 2, 1, 1)), before, atol=1e-4)


def test_members_are_adapted_to_a_target(tmp_path: Path) -> None:
    pool = Pool.open(make_member(tmp_path, "a", 0).folder.parents[1])
    assert pool.used_for(SPEC)["a"].load_model()(torch.zeros(1, 4, 64, 64)).shape == (1, 4, 16, 16)
    assert pool["a"].load_model().in_channels == 3
    with pytest.raises(UnfitMemberError, match=r"Member 'a'.*0 channel"):
        pool.used_for(replace(SPEC, channels=0))["a"].load_model()
