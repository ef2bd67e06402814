"""Checks of the numbers that a user gives, in one set of words: which option, what was expected, what came."""

from __future__ import annotations

import math
from numbers import Integral, Real

from muster.errors import ConfigError

SEEDS = 2**63
"""Seeds are below this: torch and NumPy take all of them."""

MOST_PIXELS = 1 << 15
"""Longest side of an image or crop, in pixels: a single one of that size takes 12 GB."""

MOST_STEPS = 10**9
"""Most steps of a fit: at a hundredth of a second each, four months."""

MOST_IMAGES = 10**6
"""Most images in a batch."""

MOST_PROCESSES = 1024
"""Most devices or processes that one option may ask for."""


def require_whole(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Check a whole number.

    Args:
        name: The name of the option.
        value: What came.
        least: The smallest that is allowed.
        most: The largest, if there is one.

    Raises:
        ConfigError: If it is no whole number (``True`` is none), or out of range.
    """
    bounds = f"at least {least}" if most is None else f"from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name}: expected a whole number, {bounds}, but got {value!r}.")
    number = int(value)
    if number < least or (most is not None and number > most):
        raise ConfigError(f"{name}: expected a whole number, {bounds}, but got {number}.")


def require_real(
    name: str, value: object, least: float = 0.0, most: float | None = None, above: bool = False, below: bool = False
) -> None:
    """Check a number that need not be whole.

    Args:
        name: The name of the option.
        value: What came.
        least: The smallest that is allowed.
        most: The largest, if there is one.
        above: Whether it must be more than ``least``.
        below: Whether it must be less than ``most``.

    Raises:
        ConfigError: If it is no finite number (``True`` is none), or out of range.
    """
    low = f"more than {least:g}" if above else f"at least {least:g}"
    high = "" if most is None else f" and {'less than' if below else 'at most'} {most:g}"
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f"{name}: expected a finite number, {low}{high}, but got {value!r}.")
    number = float(value)
    too_low = number <= least if above else number < least
    too_high = most is not None and (number >= most if below else number > most)
    if too_low or too_high:
        raise ConfigError(f"{name}: expected a finite number, {low}{high}, but got {value!r}.")


def require_seed(name: str, value: object) -> None:
    """Check a seed.

    Args:
        name: The name of the option.
        value: What came.

    Raises:
        ConfigError: If it is no whole number from 0 to 2^63 - 1.
    """
    require_whole(name, value, 0, SEEDS - 1)
