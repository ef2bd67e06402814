"""The built-in worlds: what they promise about sizes, label spaces and splits, and that they never change."""

from __future__ import annotations

import pickle
import zlib
from functools import cache

import numpy as np
import pytest
import torch

from muster.data.spec import VOID, Dataset, Split
from muster.data.worlds import WORLD_NAMES, open_world
from muster.data.worlds.catalogue import WORLDS
from muster.data.worlds.random_generator import Generator, hash_number, hash_numbers, noise
from muster.data.worlds.textures import texture
from muster.errors import DatasetError

# CRC32 of images, then masks, of training images 0 to 3 in order, written down when the worlds were first drawn. All
# arithmetic is exactly rounded, so there is no tolerance. Who changes a world on purpose writes the new numbers here,
# and results reported on that world are no longer comparable.
GOLDEN = {
    "harbour_drive": 0x68E2EF7D,
    "city_drive": 0x72036B6A,
    "night_drive": 0x538BDE40,
    "country_drive": 0x3C9E4028,
    "farmland": 0x32EF2ABF,
    "suburb": 0x11661519,
    "delta": 0xCE9FC799,
    "parlour": 0x82C95DC3,
    "office": 0x608716B6,
    "attic": 0xC6154F5E,
    "reef": 0x4B20AE8B,
    "trench": 0x60D0EB86,
    "almanac": 0x8402E604,
}


@pytest.fixture(params=WORLD_NAMES)
def world(request: pytest.FixtureRequest) -> Dataset:
    return open_world(request.param)


@cache
def all_masks(name: str, split: str) -> torch.Tensor:
    """The masks of the first 80 images."""
    return torch.stack([sample.mask for sample in getattr(open_world(name), split)[:80]])


def checksum(split: Split, count: int) -> int:
    crc = 0
    samples = split[:count]
    for part in (1, 2):
        for index in range(count):
            crc = zlib.crc32(samples[index][part].numpy().tobytes(), crc)
    return crc


def test_there_are_worlds_in_four_domains_one_broad_and_one_tiny() -> None:
    domains = [open_world(name).spec.domain for name in WORLD_NAMES]
    assert len(WORLD_NAMES) >= 10
    assert min(domains.count(domain) for domain in ("driving", "aerial", "indoor", "underwater")) >= 2
    assert [
        len(WORLDS[name].scenes) for name, domain in zip(WORLD_NAMES, domains, strict=True) if domain == "broad"
    ] == [4]
    assert min(len(open_world(name).train) for name in WORLD_NAMES) == 12
    assert len(open_world("harbour_drive").train) >= 150


def test_images_never_change(world: Dataset) -> None:
    assert checksum(world.train, 4) == GOLDEN[world.spec.name]


def test_images_have_the_size_and_types_of_the_contract(world: Dataset) -> None:
    height, width = WORLDS[world.spec.name].size
    for split in (world.train, world.test):
        sample = split[len(split) - 1]
        assert sample.identifier == split.identifiers[-1]
        assert sample.image.shape == (3, height, width)
        assert sample.mask.shape == (height, width)
        assert sample.image.dtype == sample.mask.dtype == torch.uint8


@pytest.mark.parametrize("split", ["train", "test"])
def test_masks_use_every_class_and_nothing_else(world: Dataset, split: str) -> None:
    found = set(all_masks(world.spec.name, split).unique().tolist())
    assert found - {VOID} == set(range(world.spec.num_classes))


def test_no_class_owns_the_world(world: Dataset) -> None:
    masks = all_masks(world.spec.name, "train")
    shares = torch.bincount(masks[masks != VOID].long()).double()
    assert (shares.max() / shares.sum()).item() < 0.7
    assert (masks == VOID).double().mean().item() < 0.35


def test_some_worlds_have_void_borders_between_classes() -> None:
    mask = open_world("night_drive").train[0].mask
    down = (mask[1:] != mask[:-1]) & (mask[1:] != VOID) & (mask[:-1] != VOID)
    across = (mask[:, 1:] != mask[:, :-1]) & (mask[:, 1:] != VOID) & (mask[:, :-1] != VOID)
    assert (mask == VOID).any()
    assert not down.any()
    assert not across.any()


def test_label_spaces_name_fine_classes_of_their_scenes_once(world: Dataset) -> None:
    entry = WORLDS[world.spec.name]
    merged = [fine for names in entry.labels.values() for fine in names.split()]
    assert len(merged) == len(set(merged))
    assert set(merged) <= {fine for domain, _ in entry.scenes for fine in domain.fine}
    assert 4 <= world.spec.num_classes <= 12


def test_fine_class_lists_and_palettes_have_no_double() -> None:
    for world in WORLDS.values():
        for domain, style in world.scenes:
            assert len(set(domain.fine)) == len(domain.fine)
            assert set(style.palette) <= set(domain.palette)


def test_splits_share_neither_names_nor_images(world: Dataset) -> None:
    assert not set(world.train.identifiers) & set(world.test.identifiers)
    seen = {sample.image.numpy().tobytes() for split in (world.train, world.test) for sample in split[:12]}
    assert len(seen) == 24


def test_worlds_of_one_domain_show_different_scenes() -> None:
    first, second = (open_world(name).train[0] for name in ("harbour_drive", "night_drive"))
    assert not torch.equal(first.image, second.image)


def test_two_reads_are_equal_and_independent() -> None:
    train = open_world("reef").train
    first, second = train[3], train[3]
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.mask, second.mask)
    first.image.zero_()
    first.mask.zero_()
    assert torch.equal(train[3].image, second.image)
    assert torch.equal(train[3].mask, second.mask)


def test_global_generators_are_left_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the legacy global generator is what must not be touched
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    open_world("office").train[0]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_splits_survive_pickling(world: Dataset) -> None:
    copy = pickle.loads(pickle.dumps(world))
    assert (copy.spec, copy.reference) == (world.spec, world.reference)
    assert copy.test.identifiers == world.test.identifiers
    assert torch.equal(copy.train[1].image, world.train[1].image)


def test_reference_opens_the_world_again(world: Dataset) -> None:
    assert world.reference == f"worlds/{world.spec.name}"


def test_an_unknown_world_is_named_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match="Did you mean 'harbour_drive'"):
        open_world("harbor_drive")


@pytest.mark.parametrize("identifier", ["", "seven", "-1", "²"])
def test_an_identifier_that_is_no_number_is_refused(identifier: str) -> None:
    with pytest.raises(DatasetError, match="Expected the number of an image of world 'reef'"):
        open_world("reef").train.read(identifier)


def test_hashing_many_numbers_equals_hashing_each() -> None:
    start = (1 << 64) - 3
    assert hash_numbers(start, 6).tolist() == [hash_number(start + step) for step in range(6)]


def test_hash_is_splitmix64() -> None:
    # First output of the reference generator seeded with 0: it hashes one golden increment.
    assert hash_number(1) == 0xE220A8397B1DCDAF


def test_dice_are_fair_and_repeat() -> None:
    one, two = Generator(5), Generator(5)
    draws = [one.uniform() for _ in range(2000)]
    assert draws == [two.uniform() for _ in range(2000)]
    assert abs(sum(draws) / 2000 - 0.5) < 0.03
    assert {one.below(3) for _ in range(50)} == {0, 1, 2}
    assert abs(sum(one.count(1.5) for _ in range(2000)) / 2000 - 1.5) < 0.1


def test_noise_is_centred_and_in_range() -> None:
    values = noise(3, 40, 50)
    assert values.shape == (40, 50)
    assert values.min() >= -1
    assert values.max() < 1
    assert abs(float(values.mean())) < 0.05


def test_textures_are_shared_and_read_only() -> None:
    tile = texture("bricks", 5)
    assert texture("bricks", 5) is tile
    with pytest.raises(ValueError, match="read-only"):
        tile[0, 0] = 1


class TestSizes:
    def test_a_larger_world_has_the_images_of_a_smaller_one_and_more(self) -> None:
        usual, large, small = open_world("attic"), open_world("attic", 2000), open_world("attic", 3)
        assert (len(large.train), len(small.train)) == (2000, 3)
        assert large.train.identifiers[:12] == usual.train.identifiers
        assert small.train.identifiers == usual.train.identifiers[:3]
        assert large.test.identifiers == usual.test.identifiers
        assert (large.spec, large.reference) == (usual.spec, "worlds/attic@2000")
        assert torch.equal(large.train[3].image, usual.train[3].image)
        assert not torch.equal(large.train[1999].image, large.train[0].image)

    def test_training_images_never_get_the_number_of_a_test_image(self) -> None:
        world = open_world("reef", 6000)
        assert world.train.identifiers[4998:5002] == ("4998", "4999", "10000", "10001")
        assert len(set(world.train.identifiers)) == 6000
        assert not set(world.train.identifiers) & set(world.test.identifiers)
        assert world.train[-1:][0].mask.shape == (64, 64)

    @pytest.mark.parametrize("count", [0, 100_001])
    def test_what_cannot_be_drawn_is_refused(self, count: int) -> None:
        with pytest.raises(DatasetError, match="1 to 100,000 training images"):
            open_world("reef", count)
