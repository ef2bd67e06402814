"""Things of one kind by name, each in a file of its own: a new file is known without a line anywhere else."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Generic, Protocol, TypeVar, runtime_checkable

from muster.errors import MusterError, unknown_name

Item = TypeVar("Item")


@runtime_checkable
class Spelled(Protocol):
    """A thing that users mean by one of several spellings."""

    def names(self) -> tuple[str, ...]:
        """What users write; a part in capitals, as in ``hrnet_wN``, stands for many."""

    def takes(self, name: str, /) -> bool:
        """Whether what a user wrote is meant for it."""


Meant = TypeVar("Meant", bound=Spelled)


class Registry(Generic[Item]):
    """What the files of one package offer, and what others add to it.

    Example:
        >>> shapes: Registry[int] = Registry("shape")
        >>> shapes.add("triangle", 3)
        3
        >>> shapes["triangle"], shapes.names()
        (3, ('triangle',))
    """

    def __init__(self, kind: str, package: str = "", error: type[MusterError] = MusterError) -> None:
        """Nothing is imported yet.

        Args:
            kind: What an entry is called in messages.
            package: Its modules are imported at the first look, and add what they offer; empty for none.
            error: What an unknown name raises.
        """
        self._kind, self._package, self._error = kind, package, error
        self._items: dict[str, Item] = {}
        self._is_loaded = not package

    def add(self, name: str, item: Item) -> Item:
        """Make something known.

        Args:
            name: What to call it.
            item: The thing.

        Returns:
            The same thing.

        Raises:
            ValueError: If another thing has the name.
        """
        if self._items.setdefault(name, item) is not item:
            raise ValueError(f"There are two of {self._kind} {name!r}: {self._items[name]!r} and {item!r}.")
        return item

    def register(self, name: str) -> Callable[[Item], Item]:
        """:meth:`add` as a decorator.

        Args:
            name: What to call the thing that is decorated.

        Returns:
            The decorator.
        """
        return lambda item: self.add(name, item)

    def remove(self, name: str) -> None:
        """Forget an entry, e.g. one that a test made known."""
        self._load()
        del self._items[name]

    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        self._load()
        return tuple(sorted(self._items))

    def __getitem__(self, name: str) -> Item:
        """The thing of that name.

        Raises:
            MusterError: If there is none, of the class that was named at the start; the nearest name is told.
        """
        self._load()
        if name not in self._items:
            raise self._error(unknown_name(self._kind, name, self._items))
        return self._items[name]

    def __iter__(self) -> Iterator[Item]:
        """All things, in order of their names."""
        return iter([self[name] for name in self.names()])

    def _load(self) -> None:
        if self._is_loaded:
            return
        self._is_loaded = True  # first, because a module may look things up while it is imported
        package = import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
            import_module(module.name)


class SpelledRegistry(Registry[Meant]):
    """Things that users mean by one of several spellings, such as ``hrnet_w18``."""

    def spellings(self) -> tuple[str, ...]:
        """Everything that can be written."""
        return tuple(name for item in self for name in item.names())

    def meant_by(self, kind: str, name: str) -> Meant:
        """The thing that a user means.

        Args:
            kind: What the name stands for, for messages.
            name: What was written.

        Returns:
            The first that takes it.

        Raises:
            MusterError: If none does, of the class that was named at the start; the nearest spelling is told.
        """
        for item in self:
            if item.takes(name):
                return item
        raise self._error(unknown_name(kind, name, self.spellings()))
