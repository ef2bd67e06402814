"""Features of whole images of several datasets, by one network (M21 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.data import Dataset, Split, usual_preprocessing
from muster.models import SourceModel
from muster.pool import Member
from muster.probe import ProbeReader, draw_probe_set
from muster.study.papers.domain_distance import DISTANCE_IMAGES
from muster.tasks.task import in_classes


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
        found[name] = image_features(model, dataset.train, image_size, images, seed, device)[1]
    return found


def image_features(
    model: SourceModel,
    split: Split,
    image_size: int | str,
    images: int = DISTANCE_IMAGES,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[tuple[str, ...], Float[NumpyArray, "images dimensions"]]:
    """What a network makes of some images of one dataset.

    Args:
        model: In evaluation mode, on the device.
        split: The images.
        image_size: As for :func:`dataset_features`, and so are the others.
        images: See there.
        seed: See there.
        device: See there.

    Returns:
        Their identifiers, and their features.

    Raises:
        DatasetError: If an image cannot be read.
        SelectionError: If no image has a label.
    """
    chosen = in_classes(split.subset(images, seed))
    shown = usual_preprocessing(chosen, image_size)
    probe = draw_probe_set(chosen, 1, seed)
    features = ProbeReader(chosen, probe, shown, device).read_all(model, stages=False).image_features
    return tuple(chosen.identifiers[place] for place in probe.images), features.cpu().numpy()
