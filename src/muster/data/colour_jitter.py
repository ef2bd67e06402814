"""Random changes of brightness, contrast, saturation and hue, drawn from a generator that is handed in.

Axis names: ``channels`` of the image, ``h`` and ``w`` its rows and columns.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num
from torch import Tensor

from muster.late import late

transforms = late("torchvision.transforms.v2.functional")

HUE_SHARE = 0.25
"""Turn of the hue at strength 1, as a share of the whole circle: a quarter of what the others change (SimCLR, 2020)."""

_RGB = 3


def jitter_colours(
    image: Num[Tensor, "channels h w"], strength: float, generator: np.random.Generator
) -> Num[Tensor, "channels h w"]:
    """Change brightness, contrast, saturation and hue, in a random order.

    Args:
        image: RGB; of any other number of channels only brightness and contrast are changed, of each by itself.
        strength: In 0..1: brightness, contrast and saturation are multiplied by a factor from 1 - strength to
            1 + strength, and hue turned by up to strength * :data:`HUE_SHARE` of the circle either way.
        generator: Where the randomness comes from; the same number of draws whatever the image.

    Returns:
        The image of the same shape; the given one is left as it is.

    Source:
        The changes are torchvision's; their distribution is that of its ``ColorJitter``, drawn from our generator so
        that an example depends on the seed and its number alone.
    """
    brightness, contrast, saturation = (float(each) for each in generator.uniform(1 - strength, 1 + strength, 3))
    hue = float(generator.uniform(-strength, strength)) * HUE_SHARE
    order = generator.permutation(4)
    in_colour = image.shape[0] == _RGB
    changed = image if in_colour else image[:, None]
    for which in order:
        if which == 0:
            changed = transforms.adjust_brightness(changed, brightness)
        elif which == 1:
            changed = transforms.adjust_contrast(changed, contrast)
        elif which == 2 and in_colour:
            changed = transforms.adjust_saturation(changed, saturation)
        elif in_colour:
            changed = transforms.adjust_hue(changed, hue)
    found: Tensor = changed if in_colour else changed[:, 0]
    return found
