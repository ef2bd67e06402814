"""A pool: the members below one folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from muster.data import Dataset
from muster.errors import PoolError, unknown_name
from muster.pool.member import Member
from muster.pool.seen import candidates

MEMBERS = "members"
"""The folder of a pool below which its members lie."""


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
        """
        root = Path(folder)
        members = sorted((Member.open(path) for path in member_folders(root)), key=lambda member: member.name)
        if not members:
            raise PoolError(f"Pool {root} has no members yet. Run train.py on it first.")
        _require_distinct(members)
        return cls(root, tuple(members))

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

    def eligible_for(self, dataset: Dataset) -> tuple[tuple[Member, ...], dict[str, str]]:
        """Members that never saw a dataset, see :func:`muster.pool.seen.candidates`.

        Args:
            dataset: The target dataset.

        Returns:
            The candidates, and for every other member the reason why it is none.
        """
        return candidates(self.members, dataset)


def member_folders(pool: Path) -> list[Path]:
    """The folders of a pool's members, not opened.

    Args:
        pool: The pool's folder.

    Returns:
        Sorted; may be empty.

    Raises:
        PoolError: If it is no pool.
    """
    if not pool.is_dir():
        beside = sorted(path.name for path in pool.absolute().parent.glob("*/") if (path / MEMBERS).is_dir())
        there = f" Pools beside it: {', '.join(beside)}." if beside else ""
        raise PoolError(f"There is no pool {pool}.{there} Give the folder that train.py wrote its pool to.")
    if not (pool / MEMBERS).is_dir():
        raise PoolError(
            f"{pool} is not a pool: it has no folder {MEMBERS!r}. Give the folder that train.py wrote its pool to."
        )
    # A leading dot is what an interrupted write leaves behind, and what file managers hide things with.
    return sorted(path for path in (pool / MEMBERS).iterdir() if path.is_dir() and path.name[0] != ".")


def _require_distinct(members: Sequence[Member]) -> None:
    for first, second in pairwise(members):
        if first.name == second.name:
            raise PoolError(
                f"Two members are named {first.name!r}: {first.folder} and {second.folder}. "
                "Give one of them another name, in its card.yaml and its folder."
            )
