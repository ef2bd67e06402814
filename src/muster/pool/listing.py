"""What lies in the folder of a pool's members: members, what claims to be one, and what strayed there."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from muster.errors import PoolError
from muster.pool.member import CARD, SOURCE_SAMPLE, WEIGHTS, fault_of

MEMBERS = "members"
"""The folder of a pool below which its members lie."""

_CLAIMS = frozenset({CARD, WEIGHTS, SOURCE_SAMPLE})
"""A folder with any of these claims to be a member."""


@dataclass(frozen=True)
class Listing:
    """The entries of a pool's folder of members; hidden ones are left out.

    Attributes:
        members: Folders that are members or claim to be, and those that cannot be looked into; sorted, not opened.
        strays: What each of the other entries is, in words.
        lost: Likewise, for links that lead nowhere: a member may have been there.
    """

    members: tuple[Path, ...]
    strays: Mapping[Path, str]
    lost: Mapping[Path, str]

    def told(self) -> str:
        """One sentence about all that is passed over; empty if nothing is."""
        passed = {**self.strays, **self.lost}
        if not passed:
            return ""
        parent = next(iter(passed)).parent
        shown = "; ".join(f"{path.name!r} is {what}" for path, what in passed.items())
        return f"Passed over in {parent}, as members are folders with {CARD} and {WEIGHTS}: {shown}."


def list_members(pool: Path) -> Listing:
    """Look at what lies in a pool, without opening members.

    Args:
        pool: The pool's folder.

    Returns:
        The listing; may be empty.

    Raises:
        PoolError: If it is no pool, or cannot be looked into.
    """
    folder = pool / MEMBERS
    if not os.path.isdir(folder):  # noqa: PTH112 (pathlib raises where a folder above may not be looked into)
        raise PoolError(_no_pool(pool))
    try:
        # A leading dot is what an interrupted write leaves behind, and what file managers hide things with.
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise PoolError(f"{folder} cannot be looked into ({error.strerror}). Make it readable to you.") from error
    lost = {path: fault for path in entries if path.is_symlink() and (fault := _lost(path))}
    strays = {path: what for path in entries if path not in lost and (what := _stray(path))}
    members = tuple(path for path in entries if path not in lost and path not in strays)
    return Listing(members, strays, lost)


def _no_pool(pool: Path) -> str:
    advice = "Give the folder that train.py wrote its pool to."
    if os.path.isdir(pool):  # noqa: PTH112
        fault = fault_of(pool / MEMBERS)
        why = f"it has no folder {MEMBERS!r}" if fault == "missing" else f"{MEMBERS!r} in it is {fault or 'a file'}"
        return f"{pool} is not a pool: {why}. {advice}"
    fault = fault_of(pool)
    if fault != "missing":
        return f"{pool} is not a pool: it is {fault or 'a file'}. {advice}"
    parent = pool.absolute().parent
    beside = sorted(path.name for path in parent.glob("*/") if os.path.isdir(path / MEMBERS))  # noqa: PTH112
    there = f" Pools beside it: {', '.join(beside)}." if beside else ""
    return f"There is no pool {pool}.{there} {advice}"


def _lost(link: Path) -> str:
    """What is wrong with a link that leads nowhere; empty for one that leads somewhere."""
    fault = fault_of(link) or ""
    return fault if fault.startswith("a link") else ""


def _stray(path: Path) -> str:
    """What an entry that is no member is, in words; empty for one that claims to be a member."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return fault_of(path) or "a file"
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return ""  # nobody can tell: opening it will say why
    if names & _CLAIMS:
        return ""
    deeper = sorted(name for name in names if os.path.lexists(path / name / CARD))
    if deeper:
        return f"a folder that has members in it ({', '.join(deeper[:3])}): move them up into {MEMBERS}/ to have them"
    return "a folder with other content" if names else "an empty folder"
