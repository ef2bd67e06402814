"""Features of whole images of several datasets, by one network (M21 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.data import Dataset, ImageSize, Preprocessing, channel_statistics
from muster.pool import Member
from muster.probe import ProbeReader, draw_probe_set
from muster.study.papers.domain_distance import DISTANCE_IMAGES


def dataset_features(
    member: Member,
    datasets: Mapping[str, Dataset],
    image_size: int | str,
    images: int = DISTANCE_IMAGES,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Float[NumpyArray, "images dimensions"]]:
    """What one network makes of the training images of each dataset.

    Args:
        member: The network; M21 takes one that was trained on several datasets, so that none is at home in it alone.
        datasets: By name.
        image_size: To which images are resized; see :class:`muster.data.ImageSize`. A member with a preprocessing of
            its own keeps that.
        images: Of a dataset with more, so many are drawn.
        seed: Of that draw.
        device: Where the network runs.

    Returns:
        For each dataset the spatial mean of the network's last map, a row an image. Each dataset is normalised with its
        own channels' mean and deviation. Images without any label are left out.

    Raises:
        PoolError: If the member cannot be loaded.
        DatasetError: If an image cannot be read.
    """
    model = member.load_model(device)
    found = {}
    for name, dataset in datasets.items():
        split = dataset.train.subset(images, seed)
        shown = Preprocessing(channel_statistics(split), ImageSize.of(image_size))
        reader = ProbeReader(split, draw_probe_set(split, 1, seed), shown, device)
        found[name] = reader.read_all(model, stages=False).image_features.cpu().numpy()
    return found
