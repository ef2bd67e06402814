from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from muster.report import image_sheet
from tests.report.made_up import CLASSES, MEMBERS, make_image_of


@pytest.mark.parametrize("classes", [CLASSES, tuple(f"class {index}" for index in range(150))])
def test_a_sheet_is_a_png_of_moderate_size(classes: tuple[str, ...]) -> None:
    names = (*MEMBERS[:3], "ensemble")
    content = image_sheet([make_image_of(names, len(classes), seed) for seed in range(5)], classes)
    image = Image.open(BytesIO(content))
    assert image.format == "PNG"
    assert image.width == 900  # six columns
    assert 300 < image.height < 1000
    assert len(content) < 150_000
    assert np.asarray(image.convert("RGB")).std() > 10


def test_one_image_of_one_member() -> None:
    image = Image.open(BytesIO(image_sheet([make_image_of(("alone",), 4)], CLASSES)))
    assert image.width == 450
