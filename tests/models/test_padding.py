"""Images of any size: padded for the network, and read back where they lie, as slow and plain code does it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from muster.data import ChannelStatistics, ImageSize, Preprocessing, prepare_image
from muster.models import ImageMap, Segmenter, build_model, upsample_probabilities
from muster.models.padding import Part, padded_size, spatial_mean, upsample
from muster.probe import read_batch, read_pixels
from muster.probe.interpolation import PixelPlaces
from muster.tasks.loss import LossOptions
from muster.tasks.segmentation import SEGMENTATION
from muster.training import finetuned_ensemble as ensemble_module
from muster.training.finetuned_ensemble import Ensemble

SIZES = ((45, 60), (64, 33), (31, 97), (32, 64))


@pytest.fixture(scope="module")
def model() -> Segmenter:
    model = build_model("small_fpn", 3, seed=1).eval()
    with torch.no_grad():
        model.head.weight *= 20
    return model


def images_of(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(height))


def slowly(maps: Tensor, part: Part) -> Tensor:
    """The whole padded map at the size of the padded image, in double precision, and the image cut out of it."""
    whole = functional.interpolate(maps.double(), (part.padded_height, part.padded_width), mode="bilinear")
    return whole[..., : part.height, : part.width]


@pytest.mark.parametrize("size", SIZES)
def test_the_network_sees_the_padded_image(model: Segmenter, size: tuple[int, int]) -> None:
    images = images_of(*size)
    rows, columns = padded_size(*size, 32, 32)
    padded = torch.zeros(2, 3, rows, columns)
    padded[..., : size[0], : size[1]] = images
    assert torch.equal(model(images), model(padded))
    part = model.part_of(images)
    assert part == (None if size == (rows, columns) else Part(*size, rows, columns))
    assert model.part_of(padded) is None
    assert model.pad(padded) is padded


@pytest.mark.parametrize("size", SIZES[:3])
def test_pixels_lie_where_they_lie_in_the_padded_map(model: Segmenter, size: tuple[int, int]) -> None:
    images = images_of(*size)
    maps, part = model.predict(images), model.part_of(images)
    assert part is not None
    expected = slowly(maps, part)
    assert torch.allclose(upsample_probabilities(maps, size, part).double(), expected, atol=1e-5)
    rows, columns = (index.flatten() for index in torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    for place in range(2):
        found = read_pixels(maps[place].double(), rows, columns, size, part)
        assert torch.allclose(found, expected[place].flatten(1).T, rtol=0, atol=1e-9)
    alike = torch.full_like(rows, 1)
    places = PixelPlaces(alike, rows, columns, alike * size[0], alike * size[1], torch.arange(len(rows)))
    assert torch.allclose(read_batch(maps.double(), places, part), expected[1].flatten(1).T, rtol=0, atol=1e-9)


def test_a_mask_of_another_size_is_read_at_the_same_places() -> None:
    # A map that says where it is: rows of a padded image of 64 rows, of which the image has 40.
    maps = ((torch.arange(16.0) + 0.5) * 4)[None, None, :, None].expand(1, 1, 16, 8)
    part = Part(40, 32, 64, 32)
    for rows in (40, 80, 400):
        found = upsample(maps, (rows, 32), part)[0, 0, :, 0]
        inside = slice(rows // 10, None)  # above the first centre there is nothing to interpolate
        assert torch.allclose(found[inside], ((torch.arange(rows) + 0.5) * 40 / rows)[inside], atol=1e-4)


def test_a_mirrored_map_is_the_mirror_of_the_map(model: Segmenter) -> None:
    images = images_of(45, 60)
    maps, part = model.predict(images), model.part_of(images)
    assert part is not None
    plain = upsample(maps, (90, 50), part)
    assert torch.allclose(upsample(maps.flip(-1), (90, 50), part.mirrored()), plain.flip(-1))
    assert torch.allclose(spatial_mean(maps.flip(-1), part.mirrored()), spatial_mean(maps, part))


def test_means_are_those_of_the_image_alone(model: Segmenter) -> None:
    images = images_of(48, 40)
    maps, part = model.features(images), model.part_of(images)
    assert maps.shape[2:] == (16, 16)
    assert torch.allclose(spatial_mean(maps, part), maps[..., :12, :10].mean(dim=(2, 3)), atol=1e-6)
    stages = model.features_and_embeddings(images)[1]
    assert torch.allclose(stages[-1], spatial_mean(maps, part), atol=1e-6)
    fine = torch.arange(16.0).repeat_interleave(10)[:155].mean()  # of the last cell, half is the image
    cells = torch.arange(16.0)[None, None, :, None].expand(1, 1, 16, 16)
    assert spatial_mean(cells, Part(155, 160, 160, 160)).item() == pytest.approx(fine.item())


@pytest.mark.parametrize("loss", ["scores", "probabilities", "dice", "focal"])
def test_losses_are_those_of_padded_masks(model: Segmenter, loss: str) -> None:
    images = images_of(45, 60)
    masks = torch.randint(0, 3, (2, 45, 60), generator=torch.Generator().manual_seed(0))
    void = torch.full((2, 64, 64), 255)
    void[:, :45, :60] = masks
    found = SEGMENTATION.loss(model(images), masks, loss, LossOptions(part=model.part_of(images)))
    assert found.item() == pytest.approx(SEGMENTATION.loss(model(images), void, loss).item(), rel=1e-5)


def test_gradients_flow_from_the_image_alone() -> None:
    model = build_model("small_fpn", 3, seed=1)
    images = images_of(45, 60)
    scores = model(images)
    scores.retain_grad()
    upsample(scores, (45, 60), model.part_of(images)).sum().backward()
    assert scores.grad is not None
    assert scores.grad[..., 13:, :].abs().max() == 0  # rows from 52 on; the image ends at 45
    assert scores.grad.sum() == pytest.approx(2 * 3 * 45 * 60, rel=1e-4)


@pytest.mark.parametrize(("stored", "size"), [((50, 70), ImageSize(60)), ((75, 100), ImageSize(shorter=45))])
def test_an_ensemble_predicts_in_strips_what_it_predicts_whole(
    model: Segmenter, stored: tuple[int, int], size: ImageSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Preprocessing(ChannelStatistics((0.5,) * 3, (0.2,) * 3), size)
    ensemble = Ensemble("a", [model], "xyz", shown).eval()
    image = torch.randint(0, 256, (3, *stored), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    prepared = prepare_image(image, shown)[None]
    assert max(prepared.shape[-2:]) == 60
    whole = ensemble(prepared, stored)[0]
    expected = slowly(model.predict(prepared), model.part_of(prepared) or Part(0, 0, 0, 0))
    close = functional.interpolate(expected, stored, mode="bilinear")[0]
    assert (whole - close).abs().mean() < 0.02  # interpolated twice, it is nearly the same
    monkeypatch.setattr(ensemble_module, "PIXELS_AT_ONCE", 3 * stored[1] * 7)
    assert (ensemble.predict(image) != whole.argmax(dim=0)).sum() <= 2
    maps = ensemble.member_maps(prepared)
    assert isinstance(maps[0], ImageMap)


def test_a_size_that_a_side_needs_at_least() -> None:
    assert padded_size(20, 100, 32, 64) == (64, 128)
    assert padded_size(65, 64, 14, 1) == (70, 70)
