"""The token that ends long computations early, and Ctrl-C that sets it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from muster.cancel import Cancelled, CancelToken, set_by_interrupt


@pytest.fixture(autouse=True)
def python_handles_interrupts() -> Iterator[None]:
    """As in a command, wherever the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_is_set_once_and_from_any_thread() -> None:
    cancel = CancelToken()
    cancel.check()
    thread = threading.Thread(target=cancel.set)
    thread.start()
    thread.join()
    assert cancel.is_set
    with pytest.raises(Cancelled):
        cancel.check()


def test_the_first_interrupt_asks_and_the_second_stops() -> None:
    cancel = CancelToken()
    with set_by_interrupt(cancel), cancel.awaited():
        press()
        assert cancel.is_set
        with pytest.raises(KeyboardInterrupt):
            press()


def test_an_interrupt_stops_where_nothing_asks() -> None:
    cancel = CancelToken()
    with set_by_interrupt(cancel):
        with cancel.awaited():
            pass
        with pytest.raises(KeyboardInterrupt):
            press()
    assert not cancel.is_set


def test_another_handler_is_left_alone() -> None:
    cancel, pressed = CancelToken(), list[int]()
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    with set_by_interrupt(cancel), cancel.awaited():
        press()
    assert pressed == [signal.SIGINT]
    assert not cancel.is_set
    signal.signal(signal.SIGINT, before)
