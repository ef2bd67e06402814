"""A pool: the members below one folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from muster.data import Dataset, DatasetSpec
from muster.errors import PoolError, unknown_name
from muster.models import SOURCES
from muster.pool.listing import Listing, list_members
from muster.pool.member import Member
from muster.pool.seen import candidates
from muster.remote import fetched


@dataclass(frozen=True)
class Pool:
    """Trained source models to choose from.

    Attributes:
        folder: The pool's folder.
        members: Sorted by name, which is the order in which ties are broken.
    """

    folder: Path
    members: tuple[Member, ...]

    @classmethod
    def open(cls, folder: Path | str) -> Pool:
        """Read the cards of all members.

        Args:
            folder: A pool's folder, holding ``members/NAME/card.yaml`` and so on.

        Returns:
            The pool.

        Raises:
            PoolError: If there is no such pool, it is empty, a member is incomplete, or two carry the same name.

        Warns:
            UserWarning: If something else lies among the members; it is passed over.
        """
        root = fetched(folder, PoolError)
        listing = list_members(root)
        _require_some(root, listing)
        if told := listing.told():
            warnings.warn(told, stacklevel=2)
        members = sorted(map(Member.open, listing.members), key=lambda member: member.name)
        _require_distinct(members)
        return cls(root, tuple(members))

    @classmethod
    def union(cls, pools: Sequence[Pool]) -> Pool:
        """The members of several pools as one.

        Args:
            pools: At least one.

        Returns:
            A pool whose folder is that of the first.

        Raises:
            PoolError: If two members carry the same name.
        """
        members = sorted((member for pool in pools for member in pool), key=lambda member: member.name)
        _require_distinct(members)
        return cls(pools[0].folder, tuple(members))

    def __len__(self) -> int:
        """Number of members."""
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        """The members in order of their names."""
        return iter(self.members)

    def __getitem__(self, name: str) -> Member:
        """The member of that name.

        Raises:
            PoolError: If there is none.
        """
        for member in self.members:
            if member.name == name:
                return member
        raise PoolError(f"Pool {self.folder}: " + unknown_name("member", name, (m.name for m in self.members)))

    def used_for(self, spec: DatasetSpec) -> Pool:
        """The same pool, its networks fitted to the task and the images of a target when they are loaded.

        Args:
            spec: The target.

        Returns:
            A pool whose members raise :class:`muster.errors.UnfitMemberError` if they cannot take such images.
        """
        return replace(self, members=tuple(member.used_for(spec) for member in self.members))

    def eligible_for(self, dataset: Dataset) -> tuple[tuple[Member, ...], dict[str, str]]:
        """Members that never saw a dataset, see :func:`muster.pool.seen.candidates`.

        Args:
            dataset: The target dataset.

        Returns:
            The candidates, and for every other member the reason why it is none.
        """
        return candidates(self.members, dataset)


def without_exported(
    members: Sequence[Member], excluded: Mapping[str, str], hint: str = ""
) -> tuple[tuple[Member, ...], dict[str, str]]:
    """Leave out models that cannot be fine-tuned.

    Args:
        members: Those that can be candidates, see :meth:`Pool.eligible_for`.
        excluded: The others, and why.
        hint: What can be done with such models instead.

    Returns:
        The members that take a new head, and for every other one the reason.
    """
    frozen = [member.name for member in members if not SOURCES[member.card.built_by.library].can_be_finetuned]
    reason = f"cannot be fine-tuned: it is an exported program{hint}"
    return tuple(m for m in members if m.name not in frozen), {**excluded, **dict.fromkeys(frozen, reason)}


@dataclass(frozen=True)
class Verification:
    """What was found wrong with a pool.

    Attributes:
        members: How many members there are, or claim to be.
        sound: How many of them match their cards.
        problems: What is wrong, one sentence or more for each.
        told: Other warnings about the pool; may be empty.
    """

    members: int
    sound: int
    problems: tuple[str, ...]
    told: str


def verify_pool(pool: Path) -> Verification:
    """Check every member by itself: one that cannot even be opened does not keep the others from being checked.

    Args:
        pool: The pool's folder.

    Returns:
        What was found.

    Raises:
        PoolError: If it is no pool, or has no members.
    """
    listing = list_members(pool)
    _require_some(pool, listing)
    problems = [f"{path} is {what}: if a member was there, it is missing." for path, what in listing.lost.items()]
    opened: dict[str, list[Path]] = {}
    sound = 0
    for folder in listing.members:
        name, found = _verify(folder)
        problems += found
        sound += not found
        if name is not None:
            opened.setdefault(name, []).append(folder)
    for name, folders in opened.items():
        if len(folders) > 1:
            problems.append(
                f"{len(folders)} members are named {name!r}: {', '.join(map(str, folders))}. Move all but one of them "
                "to a place outside the pool, or give them other names, on the card and of the folder."
            )
    strays = replace(listing, lost={}).told()
    return Verification(len(listing.members), sound, tuple(problems), strays)


def _verify(folder: Path) -> tuple[str | None, list[str]]:
    """The name of a member, if it can be opened, and what is wrong with it."""
    try:
        member = Member.open(folder)
    except PoolError as error:
        return None, [str(error)]
    problems = [] if (problem := member.problem()) is None else [problem]
    if member.name != folder.name:
        problems.append(
            f"Member {member.name!r} lies in a folder of another name, {folder}: train.py would not find it, and train "
            f"it a second time. Rename the folder to {member.name!r}, or change the name on its card."
        )
    return member.name, problems


def _require_some(pool: Path, listing: Listing) -> None:
    """Refuse a pool without members.

    Args:
        pool: Its folder.
        listing: What lies in it.

    Raises:
        PoolError: If no entry is a member, or claims to be.
    """
    if not listing.members:
        also = f" {listing.told()}" if listing.told() else ""
        raise PoolError(f"Pool {pool} has no members yet. Run train.py on it first.{also}")


def _require_distinct(members: Sequence[Member]) -> None:
    for first, second in pairwise(members):
        if first.name == second.name:
            raise PoolError(
                f"Two members are named {first.name!r}: {first.folder} and {second.folder}. "
                "Give one of them another name, in its card.yaml and its folder."
            )
