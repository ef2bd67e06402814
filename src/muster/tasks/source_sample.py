"""A small sample of a member's own source images as the member sees them, for metrics that compare domains.

Kept with the member so that nobody needs the source data again: the mean unit embedding of each stage over images, and
features and labels of a few thousand pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from muster.data import VOID, ChannelStatistics, Split, prepared_images
from muster.models import Segmenter
from muster.probe import read_pixels

IMAGES = 100
PIXELS_PER_IMAGE = 40


@torch.no_grad()
def sample_source(
    model: Segmenter,
    train: Split,
    statistics: ChannelStatistics,
    image_size: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Look at a seeded choice of training images with the finished model.

    Args:
        model: In evaluation mode, on ``device``.
        train: Its training images.
        statistics: What to normalise with.
        image_size: Longer side at which the model sees an image, in pixels.
        seed: Which images and pixels.
        device: Where the model is.

    Returns:
        ``stage_K`` float32 ``[c_K]``: the mean over images of the unit-length spatial mean of stage K;
        ``features`` float32 ``[pixels, d]``: the map before the classifier at labelled pixels drawn uniformly;
        ``labels`` int64 ``[pixels]``: their source classes.
    """
    chosen = train.subset(IMAGES, seed)
    stages: list[list[Tensor]] = []
    features, labels = [], []
    for batch in prepared_images(chosen, statistics, image_size):
        images = batch.images.to(device)
        stages.append([functional.normalize(stage.float(), dim=1).cpu() for stage in model.stage_embeddings(images)])
        maps = model.features(images).float()
        for index, mask, values in zip(batch.indices, batch.masks, maps, strict=True):
            rows, columns = draw_labelled_pixels(mask, PIXELS_PER_IMAGE, seed, index)
            size = (mask.shape[0], mask.shape[1])
            features.append(read_pixels(values, rows.to(device), columns.to(device), size).cpu())
            labels.append(mask[rows, columns].long())
    means = {f"stage_{k}": torch.cat(stage).mean(dim=0) for k, stage in enumerate(zip(*stages, strict=True))}
    return {**means, "features": torch.cat(features), "labels": torch.cat(labels)}


def draw_labelled_pixels(mask: UInt8[Tensor, "h w"], count: int, seed: int, index: int) -> tuple[Tensor, Tensor]:
    """Draw pixels uniformly, with replacement, from those that are not void.

    Args:
        mask: Class indices.
        count: How many.
        seed: Of the whole draw.
        index: Which image it is; every image has a draw of its own.

    Returns:
        Rows and columns, int64 ``[count]``; empty if every pixel is void.
    """
    places = np.flatnonzero(mask.numpy() != VOID)
    drawn = np.random.default_rng((seed % 2**64, index)).choice(places, count) if len(places) else places
    rows, columns = np.divmod(drawn, mask.shape[1])
    return torch.from_numpy(rows), torch.from_numpy(columns)
