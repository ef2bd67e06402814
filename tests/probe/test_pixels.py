"""Which pixels are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muster.data import VOID, DatasetSpec, Sample, Split
from muster.errors import DatasetError, SelectionError
from muster.probe import draw_probe_set
from tests.helpers import make_target


def split_of(*masks: list[list[int]]) -> Split:
    spec = DatasetSpec("by hand", "", ("a", "b", "c"))

    def read(identifier: str) -> Sample:
        mask = torch.tensor(masks[int(identifier)], dtype=torch.uint8)
        return Sample(identifier, torch.zeros(3, *mask.shape, dtype=torch.uint8), mask)

    return Split(spec, "train", tuple(map(str, range(len(masks)))), read)


def test_labels_are_those_at_the_places_and_never_void() -> None:
    split = make_target(4).train
    probe = draw_probe_set(split, 50, seed=3)
    assert len(probe) == 200
    assert probe.starts == (0, 50, 100, 150, 200)
    for place in range(4):
        pixels = probe.pixels_of(place)
        mask = split[place].mask
        assert probe.sizes[place] == tuple(mask.shape)
        assert torch.equal(mask[probe.rows[pixels], probe.columns[pixels]].long(), probe.labels[pixels])
    assert not (probe.labels == VOID).any()


def test_rare_classes_are_drawn_as_the_inverse_of_their_frequency_over_all_images() -> None:
    # Frequencies over both images: a 12, b 4. The first has 8 a of weight 1/12, 1 b of weight 1/4: shares 8/11, 3/11.
    split = split_of([[0, 0, 0], [0, VOID, 0], [0, 0, 0], [1, VOID, VOID]], [[0, 0, 0, 0], [1, 1, 1, VOID]])
    probe = draw_probe_set(split, 40_000, seed=0)
    first, second = (probe.labels[probe.pixels_of(i)].double() for i in range(2))
    assert first.mean().item() == pytest.approx(3 / 11, abs=0.01)
    assert second.mean().item() == pytest.approx((3 / 4) / (3 / 4 + 4 / 12), abs=0.01)
    # Within a class every pixel is as likely as another.
    zeros = probe.labels[probe.pixels_of(0)] == 0
    rows, columns = (p[probe.pixels_of(0)][zeros] for p in (probe.rows, probe.columns))
    counts = torch.bincount(rows * 3 + columns, minlength=9)[[0, 1, 2, 3, 5, 6, 7, 8]].double()
    assert (counts / counts.sum()).sub(1 / 8).abs().max() < 0.01


def test_an_image_does_not_depend_on_how_many_pixels_others_have() -> None:
    probe = draw_probe_set(split_of([[0, 1]], [[0, 1]], [[1, 0]]), 20, seed=5)
    other = draw_probe_set(split_of([[VOID, VOID]], [[0, 1]], [[1, 0]]), 20, seed=5)
    assert torch.equal(probe.columns[40:], other.columns[20:])
    assert not torch.equal(probe.columns[:20], probe.columns[20:40])


def test_seeds_repeat_and_differ() -> None:
    split = make_target(3).train
    first, again, other = (draw_probe_set(split, 30, seed) for seed in (1, 1, 2))
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.columns, again.columns)
    assert not torch.equal(first.rows, other.rows)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    draw_probe_set(make_target(2).train, 10, seed=1)
    after = torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    assert after == (torch.rand(1).item(), np.random.rand())  # noqa: NPY002


def test_a_void_image_contributes_nothing_and_is_named() -> None:
    probe = draw_probe_set(make_target(4, void=("01", "03")).train, 25, seed=0)
    assert probe.void_images == ("01", "03")
    assert probe.starts == (0, 25, 25, 50, 50)
    assert len(probe) == 50


def test_a_class_without_pixels_is_fine() -> None:
    probe = draw_probe_set(make_target(3, highest=1).train, 40, seed=0)
    assert set(probe.labels.tolist()) == {0, 1}


def test_content_follows_the_images_not_the_labels() -> None:
    plain, again = make_target(3).train, make_target(3, void=("01",)).train
    assert draw_probe_set(plain, 5).content == draw_probe_set(again, 5).content
    assert draw_probe_set(plain, 5).content != draw_probe_set(plain[:2], 5).content


def test_void_everywhere_is_an_error() -> None:
    with pytest.raises(SelectionError, match="All 2 training images used of dataset 'tiny' are void"):
        draw_probe_set(make_target(2, void=("00", "01")).train)


def test_no_image_is_an_error() -> None:
    with pytest.raises(SelectionError, match="no training image"):
        draw_probe_set(make_target(2).train[:0])


@pytest.mark.parametrize(("pixels", "seed"), [(0, 0), (10, -1)])
def test_numbers_out_of_range_are_errors(pixels: int, seed: int) -> None:
    with pytest.raises(SelectionError, match="pixels_per_image of at least 1 and a seed of at least 0"):
        draw_probe_set(make_target(2).train, pixels, seed)


def test_a_label_outside_the_label_space_is_an_error() -> None:
    with pytest.raises(DatasetError, match=r"'0' of dataset 'by hand' holds \[7\]"):
        draw_probe_set(split_of([[0, 7]]), 5)


def test_says_which_image_each_pixel_is_from_and_what_each_image_holds() -> None:
    split = make_target(4, void=("02",)).train
    probe = draw_probe_set(split, 30, seed=0)
    assert probe.image_of_pixel.tolist() == [0] * 30 + [1] * 30 + [3] * 30
    assert probe.images == (0, 1, 3)
    for place in range(4):
        labelled = split[place].mask[split[place].mask < 3]
        expected = [float((labelled == value).sum()) / max(1, len(labelled)) for value in range(3)]
        assert probe.class_shares[place].tolist() == pytest.approx(expected)
    assert probe.class_shares[2].tolist() == [0, 0, 0]
