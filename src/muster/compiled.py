"""How the inner loops are compiled."""

# numba's own functions have no types, and these are given none that mypy would need.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# ruff: noqa: ANN001, ANN201

import inspect

from numba import njit


def compiled(function=None, *, fastmath=False):
    """Compile a function with numba at its first call, release the interpreter's lock in it, and keep it on disk.

    Args:
        function: The function. What a test run puts around it to check annotations is left out: numba cannot keep that.
        fastmath: As for ``numba.njit``.

    Returns:
        The compiled function; without one, a decorator.
    """
    compiler = njit(nogil=True, cache=True, fastmath=fastmath)
    if function is None:
        return lambda following: compiler(inspect.unwrap(following))
    return compiler(inspect.unwrap(function))
