"""The same images as each of several models wants them.

Axis names: ``b`` images, ``channels`` of an image, ``h`` and ``w`` the rows and columns of the stored image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Num
from torch import Tensor

from muster.data.preprocessing import Preprocessing
from muster.data.transforms import prepare_image

Views: TypeAlias = Tensor | Mapping[Preprocessing | None, Tensor]
"""Prepared images by the models' own preprocessing, ``None`` for models without one; or one tensor, if none has one."""


def prepare_views(
    image: Num[Tensor, "*b channels h w"], shown: Preprocessing, owns: Iterable[Preprocessing | None] = ()
) -> Views:
    """Prepare a stored image once for each distinct preprocessing.

    Args:
        image: uint8, RGB; on any device.
        shown: How images are shown to models without a preprocessing of their own.
        owns: The own preprocessing of each model, ``None`` for those without.

    Returns:
        What each of them sees.
    """
    wanted = dict.fromkeys(owns)
    if not wanted or set(wanted) == {None}:
        return prepare_image(image, shown)
    return {own: prepare_image(image, shown.seen_by(own)) for own in wanted}


def view_for(views: Views, own: Preprocessing | None) -> Tensor:
    """What one model sees.

    Args:
        views: What several see.
        own: Its own preprocessing, if it has one.

    Returns:
        Its images.

    Raises:
        ValueError: If they were not prepared for it.
    """
    if isinstance(views, Tensor):
        if own is None:
            return views
    elif own in views:
        return views[own]
    raise ValueError(f"Expected images that were prepared for {own or 'models without a preprocessing of their own'}.")


def map_views(views: Views, change: Callable[[Tensor], Tensor]) -> Views:
    """Do the same to the images of every view: move them, or choose some."""
    if isinstance(views, Tensor):
        return change(views)
    return {own: change(images) for own, images in views.items()}


def stack_views(views: Sequence[Views]) -> Views:
    """Put views of single images, of equal sizes, together to views of a batch."""
    first = views[0]
    if isinstance(first, Tensor):
        return torch.stack([view_for(each, None) for each in views])
    return {own: torch.stack([view_for(each, own) for each in views]) for own in first}


def bytes_of(views: Views) -> int:
    """How much memory they take."""
    return views.nbytes if isinstance(views, Tensor) else sum(images.nbytes for images in views.values())


def shapes_of(views: Views) -> tuple[torch.Size, ...]:
    """The shape of every view."""
    return (views.shape,) if isinstance(views, Tensor) else tuple(images.shape for images in views.values())
