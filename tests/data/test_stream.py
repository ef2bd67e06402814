"""The order of training examples, and the loader that resumes it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from muster.data import open_folder
from muster.data.spec import Sample, Split
from muster.data.statistics import ChannelStatistics
from muster.data.stream import TrainingStream, cached, make_loader, preload
from muster.data.transforms import TrainingTransform, normalise_crops
from muster.errors import ConfigError, DatasetError
from tests.helpers import shown

TRANSFORM = TrainingTransform(shown(ChannelStatistics((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), 32), crop_size=32)


@pytest.fixture
def split(write_folder: Callable[..., Path]) -> Split:
    return open_folder(write_folder({"train": [f"{number}" for number in range(7)], "val": ["x"]})).train


@pytest.fixture
def stream(split: Split) -> TrainingStream:
    return TrainingStream(split, TRANSFORM, steps=5, batch_size=4, seed=3)


def same(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> bool:
    return torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


class TestOrder:
    def test_every_epoch_sees_every_image_once(self, stream: TrainingStream) -> None:
        assert len(stream) == 20
        order = [stream.position(index) for index in range(20)]
        epochs = [order[:7], order[7:14]]
        assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 2
        assert epochs[0] != epochs[1]
        assert len(set(order[14:])) == 6

    @pytest.mark.parametrize("seed", [4, -1, 2**40])
    def test_another_seed_is_another_order(self, split: Split, stream: TrainingStream, seed: int) -> None:
        other = TrainingStream(split, TRANSFORM, steps=5, batch_size=4, seed=seed)
        assert [other.position(index) for index in range(20)] != [stream.position(index) for index in range(20)]

    def test_an_item_depends_on_seed_and_number_only(self, split: Split, stream: TrainingStream) -> None:
        expected = [stream[index] for index in range(20)]
        longer = TrainingStream(split, TRANSFORM, steps=50, batch_size=2, seed=3)
        torch.manual_seed(99)
        for index in (19, 3, 3, 11, 0):
            assert same(longer[index], expected[index])

    def test_an_image_looks_different_each_time(self, stream: TrainingStream) -> None:
        first, second = (index for index in range(14) if stream.position(index) == 2)
        assert not same(stream[first], stream[second])

    def test_global_randomness_is_left_alone(self, stream: TrainingStream) -> None:
        # Not that of the module `random`, which the shape checks of the test run draw from.
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        list(make_loader(stream))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002

    @pytest.mark.parametrize("index", [-1, 20])
    def test_no_such_item(self, stream: TrainingStream, index: int) -> None:
        with pytest.raises(IndexError, match="0 to 19"):
            stream[index]

    def test_what_cannot_be_asked_for(self, split: Split) -> None:
        with pytest.raises(ConfigError, match="0 and 4"):
            TrainingStream(split, TRANSFORM, steps=0, batch_size=4, seed=0)
        with pytest.raises(DatasetError, match="'tiny' has no image"):
            TrainingStream(split[:0], TRANSFORM, steps=1, batch_size=4, seed=0)


class TestLoader:
    def test_batches_are_the_items_in_order(self, stream: TrainingStream) -> None:
        batches = list(make_loader(stream, 4))
        assert len(batches) == len(make_loader(stream)) == 5
        images, masks = batches[2]
        assert (images.shape, images.dtype) == ((4, 3, 32, 32), torch.float32)
        assert (masks.shape, masks.dtype) == ((4, 32, 32), torch.int64)
        for place in range(4):
            assert same((images[place], masks[place]), stream[8 + place])

    def test_a_resumed_run_goes_on_exactly(self, stream: TrainingStream) -> None:
        whole = list(make_loader(stream))
        rest = list(make_loader(stream, start_step=3))
        assert len(rest) == 2
        assert all(same(*pair) for pair in zip(whole[3:], rest, strict=True))
        assert list(make_loader(stream, start_step=5)) == []

    def test_two_ranks_see_what_one_sees(self, stream: TrainingStream) -> None:
        ranks = [make_loader(stream, rank=rank, world_size=2, start_step=1) for rank in range(2)]
        for whole, even, odd in zip(make_loader(stream, start_step=1), *ranks, strict=True):
            for both, first, second in zip(whole, even, odd, strict=True):
                assert torch.equal(both, torch.stack((first, second), dim=1).flatten(0, 1))

    @pytest.mark.parametrize("start_method", ["fork", "spawn"])
    def test_workers_change_nothing(self, stream: TrainingStream, start_method: str) -> None:
        loader = make_loader(stream, num_workers=2 if start_method == "fork" else 1)
        loader.multiprocessing_context = start_method
        assert all(same(*pair) for pair in zip(make_loader(stream), loader, strict=True))

    def test_a_worker_names_the_damaged_file(self, split: Split) -> None:
        stream = TrainingStream(split, TRANSFORM, steps=1, batch_size=7, seed=0)
        file = split.read.images.files["4"]  # type: ignore[attr-defined]
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(DatasetError, match=r"4\.png of dataset 'tiny' cannot be read"):
            list(make_loader(stream, num_workers=1))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"batch_size": 2}, "batch_size 4 .of all ranks together., but got 2"),
            ({"rank": 2, "world_size": 2}, "rank 2"),
            ({"world_size": 3}, "world_size 3 and batch_size 4"),
            ({"start_step": 6}, "0 to 5, but got 6"),
        ],
    )
    def test_what_cannot_be_asked_for(self, stream: TrainingStream, settings: dict[str, int], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            make_loader(stream, **settings)


class TestCache:
    def test_each_image_is_read_once_while_there_is_room(self, split: Split) -> None:
        reads: list[str] = []

        def counting(identifier: str) -> Sample:
            reads.append(identifier)
            return split.read(identifier)

        size = 16 * 24 * 4  # three channels and the mask
        for room, expected in ((7 * size, 7), (3 * size, 3 + 2 * 4), (0, 14)):
            reads.clear()
            kept = cached(replace(split, read=counting), max_bytes=room)
            for index in [*range(7), *range(7)]:
                sample, expected_sample = kept[index], split[index]
                assert torch.equal(sample.image, expected_sample.image)
                assert torch.equal(sample.mask, expected_sample.mask)
            assert len(reads) == expected

    def test_images_are_not_pickled(self, split: Split) -> None:
        kept = cached(split)
        empty = len(pickle.dumps(kept))
        first = kept[0]
        assert kept[0].image is first.image
        assert len(pickle.dumps(kept)) == empty
        assert torch.equal(pickle.loads(pickle.dumps(kept))[0].image, first.image)

    def test_loader_workers_share_what_was_read_before_them(self, split: Split, tmp_path: Path) -> None:
        record = tmp_path / "reads"

        def noting(identifier: str) -> Sample:
            with record.open("a") as file:
                file.write(f"{identifier}\n")
            return split.read(identifier)

        kept = cached(replace(split, read=noting))
        preload(kept)
        assert sorted(record.read_text().split()) == sorted(split.identifiers)
        loader = make_loader(TrainingStream(kept, TRANSFORM, steps=4, batch_size=4, seed=3), num_workers=2)
        loader.multiprocessing_context = "fork"
        expected = make_loader(TrainingStream(split, TRANSFORM, steps=4, batch_size=4, seed=3))
        assert all(same(*pair) for pair in zip(loader, expected, strict=True))
        assert len(record.read_text().split()) == len(split)

    def test_preloading_ends_when_there_is_no_room(self, split: Split) -> None:
        kept = cached(split, max_bytes=3 * 16 * 24 * 4)
        preload(kept)
        assert len(kept.read.kept) == 3  # type: ignore[attr-defined]
        preload(split)  # keeps nothing, and is not read

    def test_examples_in_whole_numbers_are_loaded_too(self, split: Split, stream: TrainingStream) -> None:
        drawn = TrainingStream(split, TRANSFORM.draw, steps=5, batch_size=4, seed=3)
        for (images, masks, boxes), expected in zip(make_loader(drawn), make_loader(stream), strict=True):
            assert images.dtype == masks.dtype == torch.uint8
            assert torch.equal(normalise_crops(images, boxes, TRANSFORM.preprocessing), expected[0])
            assert torch.equal(masks.long(), expected[1])
