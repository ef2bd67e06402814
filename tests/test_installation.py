"""What an installation brings along: the closure of the requirements, as resolved on this machine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REFUSED = {
    "lightning": "two releases (2.6.2 and 2.6.3) were published by an attacker; pytorch-lightning is a package apart"
}
"""Distributions that nothing of ours may pull in, and why."""


def resolved(name: str, extras: frozenset[str] = frozenset()) -> dict[str, str]:
    """Every installed distribution that one needs, directly or not, and which one asks for it.

    A requirement whose marker does not hold here, or that is not installed although it is asked for, is an error of
    the installation, not of this function: the latter is told as missing.
    """
    found: dict[str, str] = {}
    waiting = [(name, extras, "")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted, options, asked_by = waiting.pop()
        wanted = canonicalize_name(wanted)
        if (wanted, options) in seen:
            continue
        seen.add((wanted, options))
        found.setdefault(wanted, asked_by)
        for text in distribution(wanted).requires or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": each}) for each in options | {""}):
                waiting.append((need.name, frozenset(need.extras), wanted))
    return found


@pytest.mark.parametrize("extras", [(), ("test",)], ids=["core", "test"])
def test_nothing_refused_is_pulled_in(extras: tuple[str, ...]) -> None:
    closure = resolved("muster", frozenset(extras))
    assert {"torch", "pytorch-lightning", "torchmetrics"} <= set(closure)  # or nothing was followed
    pulled_in = {name: closure[name] for name in REFUSED if name in closure}
    assert pulled_in == {}, f"{pulled_in} (name: asked for by); {REFUSED}"


def test_the_check_would_find_what_a_dependency_pulls_in() -> None:
    assert resolved("muster")["lightning-utilities"] in {"pytorch-lightning", "torchmetrics"}
    with pytest.raises(PackageNotFoundError):
        resolved("a-distribution-that-is-not-there")
