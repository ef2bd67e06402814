"""Images and masks brought to a size, by torchvision.

Axis names: ``h`` and ``w`` are rows and columns before, ``y`` and ``x`` after.
"""

from __future__ import annotations

from jaxtyping import Num
from torch import Tensor

from muster.data.preprocessing import Interpolation


def resized(
    image: Num[Tensor, "*b channels h w"], size: tuple[int, int], interpolation: Interpolation
) -> Num[Tensor, "*b channels y x"]:
    """Bring images to a size, smaller ones with antialiasing.

    Args:
        image: Of any type of numbers, on any device.
        size: Rows and columns.
        interpolation: ``nearest`` takes the pixel whose centre is nearest, so that nothing is blended: for masks.

    Returns:
        Of the same type; the same images if they have the size.
    """
    # Here, since torchvision takes a second to import, which commands that see no image need not wait for.
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    mode = InterpolationMode.NEAREST_EXACT if interpolation == "nearest" else InterpolationMode(interpolation)
    found: Tensor = functional.resize(image, list(size), mode, antialias=True)
    return found
