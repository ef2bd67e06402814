"""Which things an image shows, one by one: told while it is painted, so that what covers what is known.

Axis names: ``h`` and ``w`` are the rows and columns of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, no_type_check

import numpy as np

if TYPE_CHECKING:
    from muster.data.worlds.renderer import Area, Renderer

_Rest = ParamSpec("_Rest")


@dataclass
class Thing:
    """One of them.

    Attributes:
        name: Fine class.
        points: Places of its parts, down and across in image heights.
    """

    name: str
    points: dict[str, tuple[float, float]] = field(default_factory=dict)


class Things:
    """The things of an image in the making.

    Attributes:
        owner: int16 ``[h, w]``, the number of the thing that each pixel shows, counted from 1; 0 for none.
        found: The things in the order in which they were painted.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """None so far."""
        self.owner = np.zeros(size, np.int16)
        self.found: list[Thing] = []
        self._now: Thing | None = None

    def begin(self, name: str) -> None:
        """What is painted from now on is a new thing."""
        self._now = Thing(name)
        self.found.append(self._now)

    def end(self) -> None:
        """What is painted from now on is no thing."""
        self._now = None

    @no_type_check  # for the reason given at Generator
    def cover(self, area: Area, name: str) -> None:
        """An area is painted with a fine class; it is the present thing's if that is of it."""
        is_of_it = self._now is not None and self._now.name == name
        number = np.int16(len(self.found) if is_of_it else 0)
        np.copyto(self.owner[area.rows, area.cols], number, where=True if area.inside is None else area.inside)

    def point(self, name: str, y: float, x: float) -> None:
        """Where a part of the present thing is."""
        if self._now is not None:
            self._now.points[name] = y, x


def a_thing(
    name: str,
) -> Callable[[Callable[Concatenate[Renderer, _Rest], None]], Callable[Concatenate[Renderer, _Rest], None]]:
    """Mark a function that paints one thing of a fine class."""

    def mark(draw: Callable[Concatenate[Renderer, _Rest], None]) -> Callable[Concatenate[Renderer, _Rest], None]:
        @wraps(draw)
        def drawn(renderer: Renderer, /, *args: _Rest.args, **options: _Rest.kwargs) -> None:
            if renderer.things is not None:
                renderer.things.begin(name)
            draw(renderer, *args, **options)
            if renderer.things is not None:
                renderer.things.end()

        return drawn

    return mark
