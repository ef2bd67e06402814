"""Folders of object stores (``s3://``, ``gs://``, ...): read through copies on this machine, written and sent back.

All other code works on the copy, a folder below :func:`copies`. Whoever opens something calls :func:`fetched` first;
where results go, :func:`sent_back` sends what is new when the work ends, however it ends. An object store cannot rename
or lock: cards and records are therefore sent last, so that what has one is whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from muster.errors import ConfigError, MusterError, OutputError, unknown_name
from muster.files import atomic_write, is_partial, write_text
from muster.locks import LOCK

COPIES = "muster-remote"
"""Name of the folder with all copies; what follows it in a path says where the original is."""

_STATES = ".states"
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)", re.DOTALL)
_COPY = re.compile(rf".*/{COPIES}/([a-z][a-z0-9+.-]+)/(.+)", re.DOTALL)
_LAST = (".yaml", ".json")
"""Endings of records and cards, which say that what lies beside them is whole."""

_LATER = "card.yaml"
_NOT_SENT = "work"
"""What is unfinished stays on this machine, where the same command goes on with it."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

Value = TypeVar("Value")
Facts = Mapping[str, str | int]
_looked_up: set[Path] = set()
"""What this process has compared with its original; it is not asked again."""


def copies() -> Path:
    """``$MUSTER_CACHE/muster-remote``, or else ``~/.cache/muster/muster-remote``."""
    return Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster").expanduser().absolute() / COPIES


def is_remote(place: Path | str) -> bool:
    """Whether this is the address of something in an object store, or of a file (``file://``).

    Args:
        place: A text, or what became of it as a path, which has one slash less.
    """
    if isinstance(place, str) and "://" not in place:  # data:/home/me/my.yaml is how a folder "data" is to be read
        return False
    found = _URL.fullmatch(str(place))
    return found is not None and _is_known(found[1])


def _is_known(protocol: str) -> bool:
    from fsspec.registry import known_implementations, registry

    # Many names may have a colon, and http has folders for nobody.
    return protocol not in {"http", "https"} and (protocol in known_implementations or protocol in registry)


def copy_of(address: str) -> Path:
    """Where the copy of something remote lies, or is to lie; nothing is read.

    Args:
        address: Such as ``s3://bucket/pools/mine``; a ``file://`` is the path itself.
    """
    found = _URL.fullmatch(address)
    if found is None:
        raise ConfigError(f"{address}: expected an address such as s3://bucket/folder.")
    protocol, rest = found[1], found[2].strip("/")
    if protocol in {"file", "local"}:
        return Path("/" + rest)
    if any(part in {"", ".", ".."} for part in rest.split("/")):
        raise ConfigError(f"{address}: expected an address without empty parts, '.' and '..'.")
    return copies() / protocol / rest


def address_of(path: Path) -> str | None:
    """The original of a copy, on this machine or of another one's copy; ``None`` for any other path."""
    found = _COPY.fullmatch(str(path.expanduser().absolute()))
    return None if found is None or found[1] == _STATES else f"{found[1]}://{found[2]}"


def named(path: Path) -> Path | str:
    """What to call a folder in messages: the original of a copy by its address, any other by its path."""
    return address_of(path) or path


def with_copies(value: Value) -> Value:
    """The same settings, with paths of copies in place of addresses.

    Args:
        value: Plain values, paths and dataclasses, as deep as one likes. Texts stay: a server's address is one, too.

    Raises:
        ConfigError: If a path is an address whose protocol is not known: a folder of that name would be made of it.
    """
    if isinstance(value, Path):
        return _copy_or_path(value)  # type: ignore[return-value]
    if isinstance(value, list | tuple):
        return type(value)(map(with_copies, value))
    if isinstance(value, dict):
        return {key: with_copies(each) for key, each in value.items()}  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        now = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        changed = {name: new for name, old in now.items() if (new := with_copies(old)) != old}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def _copy_or_path(path: Path) -> Path:
    if is_remote(path):
        return copy_of(str(path))
    found = _URL.fullmatch(str(path))
    if found is not None and not os.path.lexists(f"{found[1]}:"):
        raise ConfigError(
            f"{found[1]}://{found[2]}: {unknown_name('protocol of folders', found[1], sorted({*_EXTRAS, 'file'}))} "
            "(Others that fsspec has folders for are possible too.)"
        )
    return path


def fetched(place: Path | str, error: type[MusterError] = ConfigError) -> Path:
    """Bring the copy of a folder up to date, once in a process; a path that is no copy is given back as it is.

    Args:
        place: A path, or an address.
        error: What to raise.

    Returns:
        Where it lies on this machine. It may still be missing there, as the original may.

    Raises:
        MusterError: Of class ``error``, if the store cannot be read, with the address and the reason.
    """
    path = copy_of(str(place)) if is_remote(place) else Path(place)
    address = address_of(path)
    if address is None:
        return path
    path = copy_of(address)
    if not any(path == known or known in path.parents for known in _looked_up):
        with _told(address, "read", error):
            _bring(address, path)
        _looked_up.add(path)
    return path


@contextmanager
def sent_back(folder: Path) -> Iterator[None]:
    """Send what is new in a copy when the work there ends, also by an error; nothing to do for any other folder.

    Args:
        folder: Where results go.

    Yields:
        Nothing.

    Raises:
        OutputError: If something could not be sent; the copy has it.
    """
    try:
        yield
    finally:
        send(folder)


def send(folder: Path) -> None:
    """Send what is new in a copy, and remove there what was removed here; see :func:`sent_back`."""
    address = address_of(folder)
    if address is None or not folder.is_dir():
        return
    with _told(address, "written", OutputError, f" All of it is in {folder}; the same command sends it again."):
        _send(address, folder)
    _looked_up.add(copy_of(address))


@contextmanager
def _told(address: str, verb: str, error: type[MusterError], kept: str = "") -> Iterator[None]:
    try:
        yield
    except MusterError:
        raise
    except ImportError as problem:
        extra = _EXTRAS.get(address.split(":")[0])
        install = f' Install it: pip install "muster[{extra}]".' if extra else ""
        raise error(f"{address} cannot be {verb}: {problem}.{install}") from problem
    except Exception as problem:  # each store has errors of its own
        reason = str(problem) or type(problem).__name__
        raise error(
            f"{address} cannot be {verb}: {reason}. See to its name, and to your credentials.{kept}"
        ) from problem


def _store(address: str) -> tuple[Any, str]:
    import fsspec

    store, root = fsspec.core.url_to_fs(address)
    store.invalidate_cache()
    return store, root.rstrip("/")


def _bring(address: str, path: Path) -> None:
    store, root = _store(address)
    there = _listing(store, root)
    known = _read_state(path)
    for name, facts in sorted(there.items(), key=lambda item: _rank(item[0])):
        target = path / name
        if known.get(name, {}).get("there") != dict(facts) or not _is_as_known(target, known[name]):
            with atomic_write(target) as partial:
                store.get_file(f"{root}/{name}", str(partial))
            known[name] = {"there": dict(facts), **_facts_here(target)}
    for name in known.keys() - there.keys():
        if _is_as_known(path / name, known.pop(name)):  # what was changed here is not thrown away
            (path / name).unlink()
            _remove_empty(path / name, path)
    if there or known:
        _write_state(path, known)


def _send(address: str, path: Path) -> None:
    store, root = _store(address)
    known, here = _read_state(path), sorted(_files_below(path), key=_rank)
    for name in here:
        if name not in known or not _is_as_known(path / name, known[name]):
            facts = _facts_here(path / name)
            store.put_file(str(path / name), f"{root}/{name}")
            known[name] = facts
    gone = sorted(known.keys() - set(here), key=_rank, reverse=True)
    for name in gone:
        with suppress(FileNotFoundError):
            store.rm_file(f"{root}/{name}")
        known.pop(name)
    store.invalidate_cache()
    for name, there in _listing(store, root).items():
        if name in known:
            known[name]["there"] = dict(there)
    _write_state(path, known)


def _listing(store: Any, root: str) -> dict[str, Facts]:
    """Files below a folder, without those of things that are being sent: a folder whose card is not there yet."""
    try:
        found = store.find(root, detail=True)
    except FileNotFoundError:
        return {}
    names = {path[len(root) + 1 :]: facts for path, facts in found.items() if path.startswith(f"{root}/")}
    whole = {str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).name == _LATER}
    return {name: _facts(facts) for name, facts in names.items() if name and _is_whole(name, whole)}


def _is_whole(name: str, whole: set[str]) -> bool:
    """Whether a file belongs to no member of a pool, or to one that has its card."""
    first, *rest = PurePosixPath(name).parts
    return first != "members" or len(rest) < 2 or f"members/{rest[0]}" in whole


def _facts(facts: Mapping[str, Any]) -> Facts:
    """What tells one version of an object from another: each store has other words."""
    told = {key: facts[key] for key in ("ETag", "etag", "md5Hash", "generation", "checksum") if facts.get(key)}
    times = {key: str(facts[key]) for key in ("mtime", "LastModified", "updated", "created") if facts.get(key)}
    return {"size": int(facts.get("size") or 0), **{key: str(value) for key, value in (told or times).items()}}


def _facts_here(path: Path) -> dict[str, Any]:
    state = path.stat()
    return {"size": state.st_size, "time": state.st_mtime_ns}


def _is_as_known(path: Path, known: Mapping[str, Any]) -> bool:
    try:
        facts = _facts_here(path)
    except OSError:
        return False
    return all(known.get(key) == value for key, value in facts.items())


def _files_below(path: Path) -> list[str]:
    names = (found.relative_to(path) for found in path.rglob("*") if found.is_file())
    return [str(name) for name in names if name.parts[0] != _NOT_SENT and _is_result(name)]


def _is_result(name: Path) -> bool:
    return name.name != LOCK and not any(map(is_partial, name.parts))


def _rank(name: str) -> tuple[bool, bool, str]:
    """Records after what they are about, and cards after all else."""
    return name.endswith(_LAST), PurePosixPath(name).name == _LATER, name


def _remove_empty(path: Path, root: Path) -> None:
    for folder in path.parents:
        if folder == root or not folder.is_relative_to(root):
            return
        with suppress(OSError):
            folder.rmdir()


def _state_file(path: Path) -> Path:
    return copies() / _STATES / path.relative_to(copies()).with_name(f"{path.name}.json")


def _read_state(path: Path) -> dict[str, dict[str, Any]]:
    """What is known of each file: of the original, and of the copy when both were the same."""
    try:
        content = json.loads(_state_file(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_state(path: Path, known: Mapping[str, Any]) -> None:
    write_text(_state_file(path), json.dumps(known))
