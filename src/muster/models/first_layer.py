"""Make a network for red, green and blue take images of another number of channels, by its first convolution."""

from __future__ import annotations

from copy import deepcopy

from torch import nn

from muster.errors import ConfigError
from muster.late import late

timm = late("timm")

RGB = 3


def adapt_first_layer(body: nn.Module, channels: int, name: str) -> None:
    """Put another first convolution in place, whose weights are made of those for red, green and blue.

    One channel gets the sum of the three, so that a grey image gives what it gave as RGB. More channels repeat the
    three, scaled so that the sum over all channels keeps its size.

    Args:
        body: The network, changed in place.
        channels: What images have.
        name: What to call it in messages.

    Raises:
        ConfigError: If it does not have exactly one convolution that reads three channels.

    Source:
        R. Wightman, PyTorch Image Models (timm), ``adapt_input_conv``.
    """
    found = [
        (path, layer)
        for path, layer in body.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.in_channels == RGB and layer.groups == 1
    ]
    if len(found) != 1 or channels < 1:
        raise ConfigError(
            f"{name!r} cannot take images of {channels} channel(s): expected one convolution that reads red, green and "
            f"blue, to be adapted, but it has {len(found)}. Give images of three channels, or use another architecture."
        )
    path, old = found[0]
    new = deepcopy(old)  # whatever is particular about it, such as how it pads, stays
    new.in_channels = channels
    new.weight = nn.Parameter(timm.models.adapt_input_conv(channels, old.weight.detach()), old.weight.requires_grad)
    parent, _, last = path.rpartition(".")
    setattr(body.get_submodule(parent), last, new)
