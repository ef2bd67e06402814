"""Random numbers that are the same on every machine and with every NumPy version.

A counter is hashed with the finaliser of splitmix64, in whole numbers only; what is made of it uses exactly rounded
operations. NumPy's own generators promise neither across versions.

Axis names: ``h`` and ``w`` are the rows and columns of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, no_type_check

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""Every array of an image in the making is of this type."""

_T = TypeVar("_T")
_MASK = (1 << 64) - 1
# The constants of splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hash_number(number: int) -> int:
    """Scramble one whole number into 64 bits.

    Args:
        number: Any whole number; taken modulo 2 to the 64.

    Returns:
        A number in 0 .. 2**64 - 1.
    """
    bits = (number * _GOLDEN) & _MASK
    bits = ((bits ^ (bits >> 30)) * _FIRST) & _MASK
    bits = ((bits ^ (bits >> 27)) * _SECOND) & _MASK
    return bits ^ (bits >> 31)


def hash_numbers(start: int, count: int) -> NDArray[np.uint64]:
    """:func:`hash_number` of ``start``, ``start + 1``, ... at once.

    Args:
        start: First number, in 0 .. 2**64 - 1.
        count: How many.

    Returns:
        uint64 ``[count]``.
    """
    bits = (np.arange(count, dtype=np.uint64) + np.uint64(start)) * np.uint64(_GOLDEN)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


def noise(key: int, *shape: int) -> Floats:
    """White noise, uniform in [-1, 1) in 2**16 steps.

    Args:
        key: Which noise.
        *shape: Shape of the result.

    Returns:
        float32 array of that shape.
    """
    count = 1
    for side in shape:
        count *= side
    hashed = hash_numbers(hash_number(key), (count + 3) // 4)
    # Four 16-bit values from each hash; the byte order is spelled out so that it does not depend on the machine.
    values = hashed.astype("<u8", copy=False).view("<u2")[:count].astype(np.float32)
    result: Floats = values * np.float32(1 / 32768) - np.float32(1)
    return result.reshape(shape)


# Thrown hundreds of times an image: checking each call in the test run would make drawing ten times slower.
@no_type_check
class Generator:
    """A stream of random choices that depends on its key alone."""

    def __init__(self, key: int) -> None:
        """Start the stream of ``key``, any whole number."""
        self._state = hash_number(key)

    def key(self) -> int:
        """The next 64 random bits, e.g. as the key of something else."""
        self._state = (self._state + 1) & _MASK
        return hash_number(self._state)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((self.key() >> 11) / (1 << 53))

    def below(self, count: int) -> int:
        """A whole number in 0 .. count - 1."""
        return (self.key() >> 32) * count >> 32

    def chance(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return self.uniform() < probability

    def pick(self, options: Sequence[_T]) -> _T:
        """One of the options, all alike."""
        return options[self.below(len(options))]

    def count(self, expected: float) -> int:
        """How many of something: from nothing to twice ``expected``, ``expected`` on average."""
        return int(self.uniform(0.0, 2.0 * expected) + 0.5)
