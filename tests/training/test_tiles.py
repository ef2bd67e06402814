"""Prediction in tiles: the same as a slow blend of whole tiles, in strips of any height."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.models import build_model
from muster.training import tiles
from muster.training.finetuned_ensemble import Ensemble
from muster.training.tiles import WholeImage, blending_weights, predict_strips, starts_of_tiles, tile_size


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Two untrained members, at different resolutions."""
    members = [build_model(name, 3, seed=seed) for seed, name in enumerate(("small_unet", "small_fpn"))]
    with torch.no_grad():
        for member in members:
            member.head.weight *= 20
    shown = Preprocessing(ChannelStatistics((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), ImageSize(longer=64))
    return Ensemble(("a", "b"), members, ("ground", "wall", "sky"), shown).eval()


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randint(0, 256, (3, 110, 150), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def predicted(ensemble: Ensemble, image: Tensor, tile: tuple[int, int]) -> Tensor:
    strips = list(predict_strips(ensemble, WholeImage(image), tile))
    assert torch.equal(torch.cat([strip.image for strip in strips], dim=1), image)
    starts = [0, *(strip.start + strip.image.shape[1] for strip in strips)]
    assert [strip.start for strip in strips] == starts[:-1]
    return torch.cat([strip.probabilities for strip in strips], dim=1)


@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
def test_blends_whole_tiles(
    ensemble: Ensemble, image: Tensor, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "NUMBERS_AT_ONCE", rows_at_once * 150 * 3)
    total, weights = torch.zeros(3, 110, 150, dtype=torch.float64), torch.zeros(110, 150, dtype=torch.float64)
    for top in starts_of_tiles(110, 48):
        for left in starts_of_tiles(150, 64):
            place = (slice(top, top + 48), slice(left, left + 64))
            alone = ensemble(ensemble.prepare(image[(slice(None), *place)][None]), (48, 64))[0].double()
            down, across = (
                torch.tensor([min(i + 0.5, side - i - 0.5, side / 4) for i in range(side)], dtype=torch.float64)
                for side in (48, 64)
            )
            total[(slice(None), *place)] += alone * down[:, None] * across
            weights[place] += down[:, None] * across
    assert torch.allclose(predicted(ensemble, image, (48, 64)).double(), total / weights, atol=1e-6)


def test_one_tile_is_the_whole_image(ensemble: Ensemble, image: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "NUMBERS_AT_ONCE", 9 * 150 * 3)
    whole = ensemble(ensemble.prepare(image[None]), (110, 150))[0]
    assert torch.allclose(predicted(ensemble, image, (110, 150)), whole, atol=1e-6)


@pytest.mark.parametrize("length", [64, 65, 80, 97, 1000])
def test_tiles_cover_a_side_and_their_weights_sum_to_one(length: int) -> None:
    starts = starts_of_tiles(length, 64)
    assert (starts[0], starts[-1] + 64) == (0, length)
    assert all(after - before <= 48 for before, after in pairwise(starts))
    total = torch.zeros(length)
    for start, weights in zip(starts, blending_weights(length, 64, starts), strict=True):
        total[start : start + 64] += weights
    assert torch.allclose(total, torch.ones(length))


def test_large_images_are_seen_at_the_scale_of_training(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tile_size(ensemble, 5000, 9000) == (5000, 9000)  # the scale is not known
    monkeypatch.setattr(ensemble, "stored_size", (300, 400))
    assert tile_size(ensemble, 500, 800) == (500, 800)
    assert tile_size(ensemble, 500, 801) == (300, 400)
    assert tile_size(ensemble, 200, 9000) == (200, 400)
    assert tile_size(ensemble, 5000, 9000, 0) == (5000, 9000)
    assert tile_size(ensemble, 5000, 9000, 800) == (600, 800)
