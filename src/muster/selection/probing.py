"""How members look at a target: which images, at which size, and what reads them there."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch

from muster.data import Dataset, Split, cached, usual_preprocessing
from muster.pool import Member
from muster.probe import Elsewhere, ProbeReader, draw_probe_set
from muster.selection.settings import ProbeSettings, TrainImages
from muster.tasks.task import choose_images, in_classes

_IMAGE_SIZE = 512
"""Longer side, in pixels, at which a target is looked at if no card says at which size its model was trained."""


def seen_images(dataset: Dataset, settings: ProbeSettings) -> Split:
    """The training images of a target that members look at, with classes as truths.

    Args:
        dataset: The target.
        settings: How many, and which.
    """
    count = resolve_train_images(settings.train_images, dataset.spec.probe_images)
    return in_classes(cached(choose_images(dataset.train, count, settings.seed)))


def probe_reader(
    split: Split,
    eligible: Sequence[Member],
    settings: ProbeSettings,
    device: torch.device,
    elsewhere: Elsewhere | None = None,
) -> ProbeReader:
    """What members look at a target with: the reader that knows the probe set.

    Args:
        split: The images, as :func:`seen_images` gives them.
        eligible: Members that can be candidates: their cards say at which size images are seen by default.
        settings: How they look.
        device: Where they run.
        elsewhere: Where they run, if that is not in this process.

    Returns:
        The reader.
    """
    return ProbeReader(
        split,
        draw_probe_set(split, settings.pixels_per_image, settings.seed),
        usual_preprocessing(split, settings.image_size or usual_image_size(eligible)),
        device,
        settings.batch_size,
        settings.num_workers,
        settings.precision,
        elsewhere,
    )


def usual_image_size(members: Sequence[Member]) -> int | str:
    """Median of the image sizes that members were trained at: where a target is looked at by default.

    Members that bring a size of their own count only if there are no others.

    Args:
        members: Those of which nothing is known count for nothing.

    Returns:
        What :meth:`muster.data.ImageSize.of` reads: the longer side; or what most members have, if none was trained at
        one given so; or 512, if nothing is known of any.
    """
    settings = known_image_sizes(members)
    longer = [setting for setting in settings if isinstance(setting, int)]
    return statistics.median_low(longer) if longer else statistics.mode(settings or [_IMAGE_SIZE])


def known_image_sizes(members: Sequence[Member]) -> list[int | str]:
    """Image sizes of which :func:`usual_image_size` takes the median.

    Args:
        members: As there.

    Returns:
        One for each member that counts and whose card says it.
    """
    free = [m.card for m in members if m.card.preprocessing is None or m.card.preprocessing.size is None]
    return [card.image_size for card in free or [m.card for m in members] if card.image_size is not None]


def resolve_train_images(wanted: TrainImages, usual: int) -> int | None:
    """How many target training images an option means.

    Args:
        wanted: A number, ``"auto"``, or ``None`` for all.
        usual: What the target's description says (:attr:`muster.data.DatasetSpec.probe_images`).

    Returns:
        The number, or ``None`` for all.
    """
    return usual if wanted == "auto" else wanted
