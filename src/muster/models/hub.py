"""Weights of a hub, and the error where they cannot be fetched."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from muster.errors import PretrainingError


@contextmanager
def hub_weights(weights: str) -> Iterator[None]:
    """Explain a download that fails within the block.

    Args:
        weights: Which weights, in words that go into the message.

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
            f"({type(error).__name__}: {error}). Use pretraining=none, give the path of a local .safetensors file, "
            "or try again with a connection."
        ) from error
