"""Colours change at random, by a generator that is handed in, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from muster.data.colour_jitter import HUE_SHARE, jitter_colours
from muster.data.statistics import ChannelStatistics
from muster.data.transforms import Crop, TrainingTransform
from tests.helpers import shown

PLAIN = ChannelStatistics((0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (3, 40, 52), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(image: torch.Tensor, jitter: float, seed: int) -> Crop:
    mask = (image[0] // 64).to(torch.uint8)
    transform = TrainingTransform(shown(PLAIN, 52), 32, (0.8, 1.2), colour_jitter=jitter)
    return transform.draw(image, mask, np.random.default_rng(seed))


def test_only_colours_change_and_only_by_the_seed(image: torch.Tensor) -> None:
    state = torch.random.get_rng_state()
    plain, one, again, other = (drawn(image, *how) for how in ((0.0, 1), (0.5, 1), (0.5, 1), (0.5, 2)))
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image, plain.image)
    assert not torch.equal(one.image, other.image)
    assert torch.equal(one.mask, plain.mask)  # place, size and flip are drawn before
    assert torch.equal(one.box, plain.box)
    assert torch.equal(state, torch.random.get_rng_state())


def test_it_is_torchvision_with_the_drawn_factors(image: torch.Tensor) -> None:
    generator = np.random.default_rng(5)
    brightness, contrast, saturation = generator.uniform(0.6, 1.4, 3)
    hue = generator.uniform(-0.4, 0.4) * HUE_SHARE
    steps = [
        lambda x: v2.functional.adjust_brightness(x, brightness),
        lambda x: v2.functional.adjust_contrast(x, contrast),
        lambda x: v2.functional.adjust_saturation(x, saturation),
        lambda x: v2.functional.adjust_hue(x, hue),
    ]
    expected = image
    for place in generator.permutation(4):
        expected = steps[place](expected)
    assert torch.equal(jitter_colours(image, 0.4, np.random.default_rng(5)), expected)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_than_three_channels_change_each_by_itself(channels: int, image: torch.Tensor) -> None:
    stacked = image[:1].expand(channels, -1, -1)
    changed = jitter_colours(stacked, 0.4, np.random.default_rng(1))
    assert changed.shape == stacked.shape
    assert torch.equal(changed, changed[:1].expand_as(changed))
    assert not torch.equal(changed, stacked)
