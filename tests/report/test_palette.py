from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from muster.data.spec import VOID
from muster.report import class_colours, label_colours, mask_image, overlay
from muster.report.palette import VOID_COLOUR, confidence_colours


def test_every_class_has_a_colour_of_its_own() -> None:
    colours = class_colours()
    assert colours.shape == (255, 3)
    everything = np.concatenate([colours, [VOID_COLOUR]])
    assert len(np.unique(everything, axis=0)) == 256


def test_colours_are_the_same_everywhere() -> None:
    # As first computed; a change would make old and new reports disagree.
    assert class_colours()[[0, 1, 6]].tolist() == [[0, 114, 178], [230, 159, 0], [240, 228, 66]]


def test_label_map_in_colour() -> None:
    mask = torch.tensor([[0, 3], [VOID, 1]], dtype=torch.uint8)
    shown = label_colours(mask)
    assert shown[0, 0].tolist() == class_colours()[0].tolist()
    assert shown[0, 1].tolist() == class_colours()[3].tolist()
    assert shown[1, 0].max() < 110


def test_stored_mask_reads_back_as_indices(tmp_path) -> None:  # type: ignore[no-untyped-def]
    mask = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    mask_image(mask).save(tmp_path / "mask.png")
    back = Image.open(tmp_path / "mask.png")
    assert back.mode == "P"
    assert np.array_equal(np.asarray(back), mask.numpy())
    assert np.asarray(back.convert("RGB"))[0, 3].tolist() == class_colours()[3].tolist()


def test_overlay_tints_regions_and_leaves_void() -> None:
    image = torch.full((3, 6, 6), 100, dtype=torch.uint8)
    mask = torch.full((6, 6), VOID, dtype=torch.uint8)
    mask[:, 3:] = 1
    shown = np.asarray(overlay(image, mask, strength=0.5)).astype(int)
    assert shown[2, 1].tolist() == [100, 100, 100]
    expected = (100 + class_colours()[1].astype(int)) / 2
    assert np.abs(shown[2, 5] - expected).max() <= 0.5


def test_confidence_is_brighter_where_higher_and_hatched_where_void() -> None:
    shown = confidence_colours(torch.tensor([[0.0, 0.5, 1.0, torch.nan]])).astype(int)
    luminance = shown[0] @ [0.2126, 0.7152, 0.0722]
    assert luminance[0] < luminance[1] < luminance[2]
    assert np.ptp(shown[0, 3]) <= 8, "void is grey"
