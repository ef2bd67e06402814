"""What a model sees of an image."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.data import ImageSize
from muster.data.spec import VOID
from muster.data.statistics import ChannelStatistics
from muster.data.transforms import TrainingTransform, prepare_image
from muster.errors import ConfigError
from tests.helpers import shown

PLAIN = ChannelStatistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image whose red is the row and whose green is the column, and a mask of 8 x 8 squares (8 to a row)."""
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8).expand(height, width)
    mask = (rows // 8) * 8 + columns // 8
    return torch.stack((rows, columns, torch.full_like(rows, 255))), mask


@pytest.mark.parametrize(
    ("height", "width", "image_size", "expected"),
    [
        (240, 320, 128, (96, 128)),
        (320, 240, 128, (128, 96)),
        (120, 120, 128, (128, 128)),
        (100, 1000, 128, (32, 128)),  # 12.8 rows: the nearest positive multiple is 32
        (80, 128, 128, (96, 128)),  # half way between 64 and 96
        (79, 128, 128, (64, 128)),
        (64, 64, 100, (96, 96)),
        (1, 1, 1, (32, 32)),
    ],
)
def test_fit_size(height: int, width: int, image_size: int, expected: tuple[int, int]) -> None:
    assert ImageSize(image_size).fit(height, width) == expected


def test_fit_size_is_the_nearest_multiple() -> None:
    generator = np.random.default_rng(0)
    for height, width, image_size in generator.integers(1, 700, (300, 3)).tolist():
        for side, fitted in zip((height, width), ImageSize(image_size).fit(height, width, 8), strict=True):
            exact = Fraction(side * image_size, max(height, width))
            nearest = min(range(8, 800, 8), key=lambda multiple, exact=exact: (abs(multiple - exact), -multiple))
            assert fitted == nearest


def test_fit_size_of_nothing() -> None:
    with pytest.raises(ConfigError, match="height 0"):
        ImageSize(10).fit(0, 10)


class TestPrepareImage:
    def test_an_image_of_the_right_size_is_only_normalised(self) -> None:
        image, _ = coordinates(32, 64)
        statistics = ChannelStatistics((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
        prepared = prepare_image(image, shown(statistics, 64))
        mean, std = (torch.tensor(value)[:, None, None] for value in (statistics.mean, statistics.std))
        assert prepared.dtype == torch.float32
        torch.testing.assert_close(prepared, (image / 255 - mean) / std)

    def test_halving_averages(self) -> None:
        image, _ = coordinates(64, 128)
        prepared = prepare_image(image, shown(PLAIN, 64)) * 255
        assert prepared.shape == (3, 32, 64)
        # Away from the border a linear ramp stays one: pixel k covers 2k and 2k + 1.
        torch.testing.assert_close(prepared[0, 2:-2, 5], torch.arange(32.0)[2:-2] * 2 + 0.5)
        torch.testing.assert_close(prepared[1, 5, 2:-2], torch.arange(64.0)[2:-2] * 2 + 0.5)

    def test_the_stored_image_stays_as_it_is(self) -> None:
        image, _ = coordinates(32, 64)
        before = image.clone()
        prepare_image(image, shown(PLAIN, 64))
        assert torch.equal(image, before)


class TestTrainingTransform:
    def test_image_and_mask_move_together(self) -> None:
        image, mask = coordinates(48, 64)
        transform = TrainingTransform(shown(PLAIN, 64), crop_size=64)
        factors = set()
        for seed in range(40):
            example, labels = transform(image, mask, np.random.default_rng(seed))
            assert example.shape == (3, 64, 64)
            assert (example.dtype, labels.dtype) == (torch.float32, torch.int64)
            known = labels != VOID
            assert torch.equal(known, example[2] > 0.5)  # blue is full wherever there is image
            rows, columns = example[0] * 255, example[1] * 255
            # A pixel's colour says where it came from: within one stored pixel of the square its label names.
            row_error = (rows - (labels // 8) * 8 - 3.5).abs()[known]
            column_error = (columns - (labels % 8) * 8 - 3.5).abs()[known]
            assert row_error.max() <= 5
            assert column_error.max() <= 5
            factors.add(int(known.sum()))
        assert len(factors) > 10

    def test_at_factor_one_it_cuts_out_exactly(self) -> None:
        image, mask = coordinates(64, 64)
        transform = TrainingTransform(shown(PLAIN, 64), crop_size=32, scale_range=(1.0, 1.0), flip=False)
        corners = set()
        for seed in range(300):
            example, labels = transform(image, mask, np.random.default_rng(seed))
            top, left = (round(float(example[channel, 0, 0]) * 255) for channel in (0, 1))
            window = (slice(top, top + 32), slice(left, left + 32))
            torch.testing.assert_close(example, image[(slice(None), *window)] / 255)
            assert torch.equal(labels, mask[window].long())
            corners.add((top, left))
        tops, lefts = (set(side) for side in zip(*corners, strict=True))
        assert {0, 32} <= tops  # both ends are reached,
        assert {0, 32} <= lefts
        assert len(corners) > 200  # and much in between: of 33 * 33 places

    def test_what_is_outside_the_image(self) -> None:
        image, mask = coordinates(32, 32)
        statistics = ChannelStatistics((0.9, 0.9, 0.9), (0.1, 0.1, 0.1))
        transform = TrainingTransform(shown(statistics, 32), crop_size=64, scale_range=(1.0, 1.0))
        places = set()
        for seed in range(50):
            example, labels = transform(image, mask, np.random.default_rng(seed))
            outside = labels == VOID
            assert int((~outside).sum()) == 32 * 32
            assert example[:, outside].abs().max() == 0
            places.add(tuple((~outside).nonzero()[0].tolist()))
        assert len(places) > 40

    def test_factors_are_log_uniform_within_the_range(self) -> None:
        image, mask = coordinates(64, 64)
        transform = TrainingTransform(shown(PLAIN, 64), crop_size=128, scale_range=(0.5, 2.0))
        sides = []
        for seed in range(400):
            _, labels = transform(image, mask, np.random.default_rng(seed))
            sides.append(int((labels != VOID).any(dim=1).sum()))
        assert min(sides) >= 32
        assert max(sides) <= 128
        logs = np.log2(np.array(sides) / 64)
        shares = np.histogram(logs, bins=4, range=(-1, 1))[0] / len(logs)
        assert shares == pytest.approx([0.25] * 4, abs=0.09)  # four standard deviations of a share of 400

    @pytest.mark.parametrize(("flip", "low", "high"), [(True, 0.35, 0.65), (False, 0.0, 0.0)])
    def test_flip(self, flip: bool, low: float, high: float) -> None:
        image, mask = coordinates(32, 32)
        transform = TrainingTransform(shown(PLAIN, 32), crop_size=32, scale_range=(1.0, 1.0), flip=flip)
        mirrored = 0
        for seed in range(200):
            example, labels = transform(image, mask, np.random.default_rng(seed))
            if example[1, 0, 0] > example[1, 0, -1]:
                mirrored += 1
                assert torch.equal(labels, mask.flip(-1).long())
        assert low <= mirrored / 200 <= high

    def test_same_generator_same_example_and_no_global_randomness(self) -> None:
        image, mask = coordinates(48, 64)
        transform = TrainingTransform(shown(PLAIN, 64), crop_size=32)
        states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        first = transform(image, mask, np.random.default_rng(5))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
        torch.manual_seed(1)
        again = transform(image, mask, np.random.default_rng(5))
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (200, 3), (33, 31)])
    def test_odd_sizes_and_void_everywhere(self, height: int, width: int) -> None:
        image = torch.full((3, height, width), 7, dtype=torch.uint8)
        mask = torch.full((height, width), VOID, dtype=torch.uint8)
        transform = TrainingTransform(shown(PLAIN, 64), crop_size=32)
        for seed in range(20):
            example, labels = transform(image, mask, np.random.default_rng(seed))
            assert torch.isfinite(example).all()
            assert labels.unique().tolist() == [VOID]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"crop_size": 0}, "crop_size to be positive, but got 0"),
            ({"crop_size": (32, 0)}, "crop_size to be positive"),
            ({"scale_range": (2.0, 0.5)}, "scale_range"),
            ({"scale_range": (0.0, 1.0)}, "scale_range"),
            ({"scale_range": (1.0, math.inf)}, "scale_range"),
        ],
    )
    def test_what_cannot_be_asked_for(self, changes: dict[str, object], message: str) -> None:
        settings = {"crop_size": 32} | changes
        with pytest.raises(ConfigError, match=message):
            TrainingTransform(shown(PLAIN, 64), **settings)
