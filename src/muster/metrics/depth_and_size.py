"""The heuristic that any metric should beat: a deep network, and many images."""

from __future__ import annotations

import math


def depth_and_size(depth: float | int, source_images: float | int, target_images: float | int) -> float:
    """Layers of the network plus the log of how many images source and target have together.

    Args:
        depth: Layers of the member, positive.
        source_images: Training images of its source, at least 0.
        target_images: Training images of the target, at least 0; one of the two must be positive.

    Returns:
        Layers plus a natural log; larger is better. Among members of one target, a layer weighs as much as e times the
        images.

    Raises:
        ValueError: If an argument is not finite or out of range.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021, eq. 4. The
        authors' code has depth + log(source images) - log(target images) instead, which orders the members of one
        target almost alike.

    Example:
        >>> round(depth_and_size(50, 900, 100), 4)  # 50 + log 1000
        56.9078
    """
    if not 0 < depth < math.inf:
        raise ValueError(f"Expected `depth` to be positive and finite, but got {depth}.")
    for name, images in (("source_images", source_images), ("target_images", target_images)):
        if not 0 <= images < math.inf:
            raise ValueError(f"Expected `{name}` to be at least 0 and finite, but got {images}.")
    if source_images + target_images == 0:
        raise ValueError("Expected `source_images` and `target_images` not to be both 0.")
    return float(depth + math.log(source_images + target_images))
