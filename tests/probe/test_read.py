"""Reading predictions at the probe pixels equals upsampling whole maps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from muster.data import ChannelStatistics, channel_statistics, prepare_image
from muster.data.loading import stored_batches
from muster.errors import ConfigError
from muster.metrics import linear_probe, ms_leep
from muster.models.prediction import upsample_probabilities
from muster.precision import resolve_precision
from muster.probe import ProbeReader, draw_probe_set, read_batch, read_pixels
from muster.probe import prepared as prepared_module
from muster.probe.interpolation import PixelPlaces
from tests.helpers import make_member, make_pool, make_target, shown

SIZES = [
    ((8, 8), (32, 32)),
    ((8, 12), (97, 61)),
    ((1, 1), (5, 7)),
    ((1, 9), (40, 3)),
    ((24, 32), (24, 32)),
    ((30, 40), (7, 11)),
    ((64, 64), (63, 65)),
    ((64, 64), (64, 65)),
    ((128, 96), (721, 540)),
    ((240, 320), (961, 1281)),
    ((300, 200), (77, 512)),
    ((33, 17), (1, 1)),
]


PIXELS = 100


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("num_classes", [1, 7])
@pytest.mark.parametrize(("map_size", "mask_size"), SIZES)
def test_equals_interpolating_the_whole_map(
    map_size: tuple[int, int], mask_size: tuple[int, int], num_classes: int, memory_format: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(sum(map_size) + sum(mask_size))
    maps = (4 * torch.randn(1, num_classes + 1, *map_size, generator=generator)).softmax(dim=1)[:, :num_classes]
    maps = maps.contiguous(memory_format=memory_format)
    rows = torch.randint(mask_size[0], (PIXELS,), generator=generator)
    columns = torch.randint(mask_size[1], (PIXELS,), generator=generator)
    corners = torch.tensor([0, 0, mask_size[0] - 1, mask_size[0] - 1])
    rows[:4], columns[:4] = corners, torch.tensor([0, mask_size[1] - 1] * 2)
    read = read_pixels(maps[0], rows, columns, mask_size)
    assert read.shape == (PIXELS, num_classes)
    span = float(maps.max() - maps.min())
    exact = interpolated_slowly(maps[0].double().numpy(), rows.tolist(), columns.tolist(), mask_size)
    assert np.abs(read.double().numpy() - exact).max() <= max(1e-6 * span, 1e-15)
    # torch's own kernels round coordinates: each release, processor and memory layout does so differently. A coordinate
    # of 300 in float32 is off by more than 1e-5 by itself.
    tolerance = max(1e-5, 2 * max(map_size) * torch.finfo(torch.float32).eps)
    theirs = functional.interpolate(maps, size=mask_size, mode="bilinear", align_corners=False)[0]
    assert (read - theirs[:, rows, columns].T).abs().max() <= max(tolerance * span, 1e-6)


def interpolated_slowly(
    maps: NDArray[np.float64], rows: list[int], columns: list[int], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Bilinear interpolation with pixel centres, place after place, with coordinates that are exact fractions."""

    def cells(place: int, length: int, wanted: int) -> list[tuple[int, float]]:
        exact = max(Fraction((2 * place + 1) * length, 2 * wanted) - Fraction(1, 2), Fraction(0))
        first = int(exact)
        return [(first, float(1 - (exact - first))), (min(first + 1, length - 1), float(exact - first))]

    height, width = maps.shape[1:]
    return np.array(
        [
            sum(
                down * across * maps[:, y, x]
                for y, down in cells(row, height, size[0])
                for x, across in cells(column, width, size[1])
            )
            for row, column in zip(rows, columns, strict=True)
        ]
    )


def test_pixels_where_the_map_has_centres_are_read_without_rounding() -> None:
    maps = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.tensor([1, 4, 7, 13]), torch.tensor([4, 1, 19, 10])  # centres of cells, three pixels wide
    assert torch.equal(read_pixels(maps, rows, columns, (15, 21)), maps[:, rows // 3, columns // 3].T)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (3, 0), (16, 0), (2, 1)])
def test_a_member_is_read_as_evaluation_would_see_it(tmp_path: Path, batch_size: int, num_workers: int) -> None:
    split = make_target(5, void=("02",)).train
    model = make_pool(tmp_path, 1).members[0].load_model()
    probe, statistics = draw_probe_set(split, 60, seed=1), channel_statistics(split)
    read = ProbeReader(split, probe, shown(statistics, 64), batch_size=batch_size, num_workers=num_workers).read(model)
    assert read.shape == (240, 3)
    for place, (_, image, mask) in enumerate(split):
        maps = model.predict(prepare_image(image, shown(statistics, 64))[None])
        whole = upsample_probabilities(maps.contiguous(), (mask.shape[0], mask.shape[1]))[0]
        pixels = probe.pixels_of(place)
        expected = whole[:, probe.rows[pixels], probe.columns[pixels]].T
        assert torch.allclose(read[pixels], expected, rtol=0, atol=1e-5)  # torch's float32 kernels agree no better
    assert read.max() - read.min() > 0.1  # or the comparison would say nothing


def test_kept_images_give_the_same_as_images_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = make_target(4).train
    first, second = make_pool(tmp_path, 2)
    arguments = (split, draw_probe_set(split, 20), shown(ChannelStatistics((0.5,) * 3, (0.2,) * 3), 32))
    keeping = ProbeReader(*arguments)
    keeping.read(first.load_model())
    kept = keeping.read(second.load_model())
    monkeypatch.setattr(prepared_module, "_KEPT_BYTES", 0)
    assert torch.equal(kept, ProbeReader(*arguments).read(second.load_model()))


def test_progress_counts_batches(tmp_path: Path) -> None:
    split = make_target(5).train
    reader = ProbeReader(
        split,
        draw_probe_set(split, 5),
        shown(ChannelStatistics((0.5,) * 3, (0.2,) * 3), 64),
        batch_size=2,
    )
    said: list[tuple[int, int]] = []
    reader.read(make_pool(tmp_path, 1).members[0].load_model(), lambda done, total: said.append((done, total)))
    assert said == [(1, 3), (2, 3), (3, 3)]  # two images of one prepared size, three of another


@pytest.mark.parametrize("architecture", ["small_fpn", "hrnet_w2"])
def test_one_pass_gives_probabilities_features_and_stages(tmp_path: Path, architecture: str) -> None:
    split = make_target(5, void=("02",)).train
    model = make_member(tmp_path, "a", 0, architecture=architecture).load_model()
    probe, statistics = draw_probe_set(split, 60, seed=1), channel_statistics(split)
    reader = ProbeReader(split, probe, shown(statistics, 64), batch_size=2)
    reading = reader.read_all(model)
    assert torch.allclose(reading.probabilities, reader.read(model), atol=1e-6)
    assert probe.images == (0, 1, 3, 4)
    assert reading.features.shape == (240, model.feature_channels)
    for row, place in enumerate(probe.images):
        prepared = prepare_image(split[place].image, shown(statistics, 64))[None]
        with torch.no_grad():
            maps, stages = model.features(prepared), model.stage_embeddings(prepared)
        pixels = probe.pixels_of(place)
        whole = functional.interpolate(maps, size=probe.sizes[place], mode="bilinear", align_corners=False)[0]
        expected = whole[:, probe.rows[pixels], probe.columns[pixels]].T
        assert torch.allclose(reading.features[pixels], expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
        assert torch.allclose(reading.image_features[row], maps.mean(dim=(2, 3))[0], rtol=1e-4, atol=1e-4)
        for found, stage in zip(reading.stages, stages, strict=True):
            assert torch.allclose(found[row], stage[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_batch_is_read_as_its_images_are(memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(3)
    maps = (4 * torch.randn(3, 5, 12, 20, generator=generator)).softmax(dim=1).contiguous(memory_format=memory_format)
    sizes = [(48, 80), (97, 161), (12, 20)]  # of masks whose images have one prepared size
    counts, rows, columns = [700, 0, 900], [], []
    for (height, width), count in zip(sizes, counts, strict=True):
        rows.append(torch.randint(height, (count,), generator=generator))
        columns.append(torch.randint(width, (count,), generator=generator))
    images = torch.arange(3).repeat_interleave(torch.tensor(counts))
    heights, widths = torch.tensor(sizes)[images].T
    into = torch.arange(sum(counts))
    found = read_batch(maps, PixelPlaces(images, torch.cat(rows), torch.cat(columns), heights, widths, into))
    parts = [read_pixels(*each) for each in zip(maps, rows, columns, sizes, strict=True)]
    assert (found - torch.cat(parts)).abs().max() <= 1e-6
    halved = read_batch(
        maps.bfloat16(), PixelPlaces(images, torch.cat(rows), torch.cat(columns), heights, widths, into)
    )
    assert halved.dtype == torch.float32
    assert (halved - found).abs().max() <= 4e-3  # half a unit in the last place, not rounded again


def test_images_sent_as_bytes_are_prepared_as_each_alone() -> None:
    split = make_target(5).train
    statistics = channel_statistics(split)
    (batch,) = stored_batches(split, [[4, 0, 3, 1]])
    prepared = [prepare_image(split[place].image, shown(statistics, 64)) for place in (4, 0, 3, 1)]
    alike = [place for place, image in enumerate(prepared) if image.shape == prepared[0].shape]
    (batch,) = stored_batches(split, [[(4, 0, 3, 1)[place] for place in alike]])
    found = batch.prepared(shown(statistics, 64), torch.device("cpu"))
    assert all(images.dtype == torch.uint8 for images in batch.images)
    assert torch.equal(found, torch.stack([prepared[place] for place in alike]))


class _Exchanges(TorchFunctionMode):
    """Counts what would make the host wait for a device, or copy from it."""

    names = ("cpu", "numpy", "item", "tolist", "__float__", "__int__", "__bool__", "to")

    def __init__(self) -> None:
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(func, "__name__", "") in self.names
        return func(*args, **(kwargs or {}))


def test_no_image_is_worth_a_word_between_host_and_device(tmp_path: Path) -> None:
    # Images of one batch: however many they are, the device is told once what to read.
    model = make_pool(tmp_path, 1).members[0].load_model()
    counts = []
    for images in (2, 6):
        split = make_target(2 * images).train
        chosen = split.subset(None, 0)[::2] if images > 2 else split[:2]
        probe = draw_probe_set(chosen, 20)
        reader = ProbeReader(chosen, probe, shown(ChannelStatistics((0.5,) * 3, (0.2,) * 3), 32), batch_size=32)
        reader.read_all(model)  # images are prepared and kept
        with _Exchanges() as exchanges:
            reader.read_all(model)
        counts.append(exchanges.count / len(reader.prepared_for(None).share))
    assert counts[1] <= counts[0]


def test_half_precision_keeps_scores_and_their_order(tmp_path: Path) -> None:
    split = make_target(6).train
    pool, probe, statistics = make_pool(tmp_path, 4), draw_probe_set(split, 60, seed=1), channel_statistics(split)
    leeps = {}
    for precision in ("32-true", "bf16-mixed"):
        reader = ProbeReader(split, probe, shown(statistics, 64), precision=precision)
        assert reader.precision == precision
        leeps[precision] = [leep_after_fitting(reader, member.load_model()) for member in pool]
    full, half = (np.array(leeps[precision]) for precision in ("32-true", "bf16-mixed"))
    assert np.abs(full - half).max() <= 1e-2
    assert (full != half).any()  # or it would have been the same computation
    for first in range(len(full)):
        for second in range(len(full)):
            if full[first] > full[second] + 0.02:
                assert half[first] > half[second]


def leep_after_fitting(reader: ProbeReader, model: Any) -> float:
    """LEEP of the linear probe."""
    reading = reader.read_all(model, stages=False)
    assert reading.probabilities.dtype == reading.features.dtype == torch.float32
    sums = reading.probabilities.sum(dim=1)
    assert (sums - 1).abs().max() < 1e-5  # computed in float32, whatever the network runs in
    labels: Tensor = reader.probe.labels
    return ms_leep([linear_probe(reading.features, labels, reader.probe.image_of_pixel, 3)], labels)


def test_precision_is_checked_and_resolved() -> None:
    assert resolve_precision("auto", torch.device("cpu")) == "32-true"
    assert resolve_precision("bf16-mixed", torch.device("cpu")) == "bf16-mixed"
    with pytest.raises(ConfigError, match=r"precision: .*bf16-mixed"):
        resolve_precision("bf16", torch.device("cpu"))
