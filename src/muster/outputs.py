"""Where results go: a folder that is new or muster's own, apart from every input, and held by one process at a time.

A folder that muster writes carries a small file, :data:`MARKER`, which says what kind of output it is. Folders from
before the marker are known by the records in them. Anything else is the user's, and nothing in it is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from muster.errors import ConfigError, MusterError, OutputError
from muster.files import (
    atomic_folder,
    is_partial,
    read_yaml,
    require_writable,
    told_as_output,
    write_yaml,
)
from muster.launch import only_helps
from muster.locks import LOCK, await_file, is_locked_here, locked
from muster.output_kinds import KINDS, Evidence, OutputKind
from muster.remote import fetched, send, sent_back

MARKER = ".muster"
"""File that says what a folder of ours is; ``kind`` in it names an :class:`OutputKind`."""

FORMAT_VERSION = 1
"""Version of the marker's format."""

PATIENCE = 10.0
"""Seconds to wait before a result is saved where another process is at work: it may be saving, too."""

_BEGINNING = 4096
"""Bytes in which a file's sign is looked for."""

Inputs: TypeAlias = Mapping[str, Path | str | None]
"""What is read, by the option or word that names it; what is built in or not given lies nowhere."""


@contextmanager
def claimed(
    folder: Path,
    kind: OutputKind,
    inputs: Inputs | None = None,
    patience: float = 0.0,
    **details: str,
) -> Iterator[int | None]:
    """Make a folder ours for as long as a command works: checked, locked and marked.

    In a distributed run only the first process does so. The others wait for its mark: what they wrote before it would
    make the folder look like somebody else's.

    Args:
        folder: Where results go; created.
        kind: What they are.
        inputs: What is read, by the option or word that names it; see :func:`require_apart`.
        patience: Seconds to wait for another process that is at work there.
        details: More for the marker. A folder that was marked with others is refused.

    Yields:
        The open lock file's number, for child processes to inherit; ``None`` where there is no lock.

    Raises:
        ConfigError: If the folder cannot be written, holds something else, overlaps an input, or is at work elsewhere.
        OutputError: In place of an ``OSError`` of the work, with what is kept.
    """
    if only_helps():
        await_file(folder / MARKER)
        yield None
        return
    folder = fetched(folder)
    require_apart(folder, inputs or {})
    require_ours(folder, kind, details=details)
    fresh = not folder.exists()
    require_writable(folder, "output")
    with _told_with_what_is_kept(folder, kind), sent_back(folder), locked(folder, kind.title, patience) as lock:
        require_ours(folder, kind, details=details)  # another process may have been at work there until now
        marked = not (folder / MARKER).exists()
        mark(folder, kind, **details)
        try:
            yield lock
        finally:
            _tidy(folder, fresh, marked)


Alone: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Holds a folder for as long as a block runs."""


@contextmanager
def shared(folder: Path, kind: OutputKind, inputs: Inputs | None = None, patience: float = 0.0) -> Iterator[Alone]:
    """Make a folder ours that other processes may be at work in, too; otherwise as :func:`claimed`.

    Args:
        folder: Where results go; created.
        kind: What they are.
        inputs: See :func:`claimed`.
        patience: Seconds to wait for another process that holds the folder.

    Yields:
        What holds the folder while something is changed there that all share.

    Raises:
        ConfigError: If the folder cannot be written, holds something else, overlaps an input, or another process holds
            it for longer.
        OutputError: In place of an ``OSError`` of the work, with what is kept.
    """
    folder = fetched(folder)
    require_apart(folder, inputs or {})
    require_ours(folder, kind)
    require_writable(folder, "output")

    @contextmanager
    def alone() -> Iterator[None]:
        with locked(folder, kind.title, patience):
            require_ours(folder, kind)  # another process may have been at work there until now
            yield

    with _told_with_what_is_kept(folder, kind), sent_back(folder):
        with alone():
            mark(folder, kind)
        yield alone


@contextmanager
def _told_with_what_is_kept(folder: Path, kind: OutputKind) -> Iterator[None]:
    """Say of an operating system's error in the block what is not lost."""
    try:
        yield
    except (BrokenPipeError, MusterError) as error:
        if isinstance(error, OutputError) and kind.kept not in str(error):
            raise OutputError(f"{error} {kind.kept}") from error
        raise
    except OSError as error:
        raise OutputError(f"{cause_of(error, folder)} {kind.kept}") from error


@contextmanager
def held(folder: Path, kind: OutputKind, error: type[MusterError], patience: float = 0.0) -> Iterator[None]:
    """Check and lock a folder for who writes there outside a command; see :func:`claimed`.

    Where this process has locked it already, this only checks. The folder is created; if nothing is written, it goes.

    Args:
        folder: Where a result will go.
        kind: What it is.
        error: What to raise.
        patience: Seconds to wait for another process that is at work there.

    Yields:
        Nothing.

    Raises:
        MusterError: Of class ``error``, if the folder holds something else, or another process is at work there.
        OutputError: If the folder cannot be made or written to.
    """
    require_ours(folder, kind, error)
    if is_locked_here(folder) or is_partial(folder.name):  # nobody but its writer goes where a partial output is
        yield
        return
    fresh = not folder.exists()
    with ExitStack() as stack:
        with told_as_output(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_if_empty, folder, fresh)  # once the lock is gone
            stack.enter_context(locked(folder, kind.title, patience, "The folder", error))
        require_ours(folder, kind, error)  # another process may have been at work there until now
        yield


@contextmanager
def replaced(folder: Path, kind: OutputKind, error: type[MusterError]) -> Iterator[Path]:
    """Give a temporary folder to fill, which takes the place of an older output of the same kind, or of none.

    The output is locked and checked for as long; see :func:`held`.

    Args:
        folder: The folder to create or replace.
        kind: What goes there.
        error: What to raise.

    Yields:
        The folder to write into, marked already.

    Raises:
        MusterError: Of class ``error``, as :func:`held` does.
        OutputError: If the folder cannot be written.
    """
    with held(folder, kind, error, PATIENCE), atomic_folder(folder) as partial:
        mark(partial, kind)
        yield partial
    if not is_locked_here(folder):  # who has locked it sends it, when all is there
        send(folder)


def _remove_if_empty(folder: Path, fresh: bool) -> None:
    if fresh:
        with suppress(OSError):
            folder.rmdir()


def cause_of(error: OSError, folder: Path | str) -> str:
    """An operating system's error as a sentence.

    Args:
        error: What came.
        folder: Where the work was, in case the error names no file.

    Returns:
        The file and the cause.
    """
    place = error.filename if error.filename is not None else folder
    place = os.fsdecode(place) if isinstance(place, bytes) else place
    return f"{place} cannot be read or written: {error.strerror or error}."


def mark(folder: Path, kind: OutputKind, **details: str) -> None:
    """Write the marker into a folder that has none yet."""
    if not (folder / MARKER).exists():
        write_yaml(folder / MARKER, {"format_version": FORMAT_VERSION, "kind": kind.name, **details})


def require_ours(
    folder: Path,
    kind: OutputKind,
    error: type[MusterError] = ConfigError,
    details: Mapping[str, str] | None = None,
) -> None:
    """Check that writing to a folder replaces nothing but an older output of the same kind.

    Args:
        folder: It may be missing or empty.
        kind: What will be written.
        error: What to raise.
        details: What the marker must say besides, as :func:`claimed` was given it.

    Raises:
        MusterError: Of class ``error``, if it is a file or a link to nothing, or holds what muster did not write.
    """
    if folder.is_symlink() and not folder.exists():
        raise error(f"{folder} is a link to {folder.readlink()}, which does not exist. Give another folder.")
    if folder.exists() and not folder.is_dir():
        raise error(f"{kind.title.capitalize()} goes into a folder, but {folder} is a file. Give another path.")
    there = sorted(path.name for path in _entries(folder))
    if not there:
        return
    if MARKER in there:
        _require_marked(folder, kind, error, details or {})
    elif not any(_shows(folder, evidence) for evidence in kind.evidence):
        raise error(
            f"{folder} holds {there[0]!r}, which is not part of {kind.title} that muster wrote: nothing is replaced "
            f"that it did not write. Give a new folder, or one that holds nothing but {kind.title}."
        )
    known = (MARKER, *kind.files)
    strange = [name for name in there if not any(fnmatchcase(name, pattern) for pattern in known)]
    if kind.files and strange:
        raise error(
            f"{folder} holds {strange[0]!r}, which is not part of {kind.title}, and {kind.title} replaces its folder "
            f"as a whole. Give a new folder, or one that holds nothing but an older {kind.name}."
        )


def _require_marked(folder: Path, kind: OutputKind, error: type[MusterError], details: Mapping[str, str]) -> None:
    """The marker's word counts, not what else lies there."""
    content = read_yaml(folder / MARKER, error)
    found = next((each for each in KINDS if each.name == content.get("kind")), None)
    if found != kind:
        holds = found.title if found else f"output of an unknown kind ({content.get('kind')!r})"
        raise error(f"{folder} holds {holds}, and {kind.title} is to go there. Give another folder.")
    for name, value in details.items():
        if name in content and content[name] != value:
            raise error(f"{folder} holds {kind.title} of {content[name]}, not of {value}. Give another folder.")


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, without what a process at work there, or one that was killed, may leave."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name != LOCK and not is_partial(path.name)]


def _shows(folder: Path, evidence: Evidence) -> bool:
    return all(any(_has(path, keys) for path in folder.glob(pattern)) for pattern, keys in evidence.items())


def _has(path: Path, keys: tuple[str, ...]) -> bool:
    """Whether a file is a record with these keys."""
    if not keys or not path.is_file():
        return path.is_file()
    with suppress(MusterError):
        return set(keys) <= set(read_yaml(path, ConfigError))
    return False


def require_our_file(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """Check that writing a file replaces nothing but an older one of ours.

    Args:
        path: The file; it may be missing.
        is_ours: Tells a file of ours by its content. In a folder of ours every file is.

    Raises:
        OutputError: If it is something else.
    """
    if not (path.exists() or path.is_symlink()) or (path.parent / MARKER).is_file() or is_ours(path):
        return
    raise OutputError(f"{path} is there, and muster did not write it: it is not replaced. Give another path.")


def has_sign(path: Path, sign: str) -> bool:
    """Whether a file has some text near its beginning; for :func:`require_our_file`."""
    with suppress(OSError), path.open("rb") as file:
        return sign.encode() in file.read(_BEGINNING)
    return False


def require_apart(
    folder: Path | str,
    inputs: Inputs,
    option: str = "--output",
    error: type[MusterError] = ConfigError,
) -> None:
    """Check that results do not go into what they are made from, nor around it. Links are followed.

    A folder that holds datasets (``data_root``) may have results beside the datasets in it, but not in one of them.

    Args:
        folder: Where results go.
        inputs: What is read, by the option or word that names it; ``None`` and built-in worlds lie nowhere.
        option: What names the folder.
        error: What to raise.

    Raises:
        MusterError: Of class ``error``, naming both.
    """
    from muster.data.opening import (
        apart,
        is_built_in,
    )  # here, as what reads data imports torch, and this module is light

    output = _resolved(folder)
    for name, given in inputs.items():
        if given is None or (is_built_in(str(given)) and not Path(given).exists()):
            continue
        path = _resolved(apart(str(given))[0])
        inside = output == path or path in output.parents
        if (inside and "data_root" not in name) or output == path or output in path.parents:
            how = "is" if output == path else "lies in" if inside else "holds"
            raise error(
                f"{option} {folder} {how} {name} ({given}), which is read: results would mix with what they are made "
                "from. Give a folder apart from it."
            )
    for parent in (output, *output.parents):
        if (parent / "dataset.yaml").is_file():
            raise error(f"{option} {folder} lies in the dataset {parent}. Give a folder apart from it.")


def _resolved(path: Path | str) -> Path:
    """Where a path leads, as far as it exists."""
    expanded = Path(path).expanduser() if str(path).startswith("~") else Path(path)
    try:
        return expanded.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise ConfigError(f"{path} cannot be followed: {error}. Give another path.") from error


def _tidy(folder: Path, fresh: bool, marked: bool) -> None:
    """A run that wrote nothing leaves nothing."""
    with suppress(OSError):
        if marked and {path.name for path in folder.iterdir()} <= {MARKER, LOCK}:
            (folder / MARKER).unlink()
            if fresh:
                (folder / LOCK).unlink()
                folder.rmdir()
