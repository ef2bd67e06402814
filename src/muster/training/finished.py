"""What parts of a long run found, kept beside its checkpoints so that an interrupted run need not do them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from muster.errors import ConfigError
from muster.files import read_yaml, to_builtin_types, write_yaml
from muster.ranks import rank
from muster.records import parse_record


@dataclass(frozen=True)
class Finished:
    """Base of what is kept: dataclasses of plain values.

    Attributes:
        description: Digest of everything that the other values depend on, see :func:`digest_of`.
    """

    description: str


Record = TypeVar("Record", bound=Finished)


def digest_of(description: Mapping[str, Any]) -> str:
    """A name for everything that a result depends on.

    Args:
        description: In plain values, or what :func:`muster.files.to_builtin_types` makes plain.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(to_builtin_types(description), sort_keys=True).encode()).hexdigest()


def read_finished(path: Path, record: type[Record], description: str) -> Record | None:
    """Read what was found before.

    Args:
        path: The file.
        record: What is in it.
        description: What it must depend on.

    Returns:
        ``None`` if there is no such file, or it depends on something else, or cannot be read.
    """
    if not path.is_file():
        return None
    with suppress(ConfigError):  # a record that cannot be read is as good as none
        found = parse_record(read_yaml(path, ConfigError), record, str(path), ConfigError)
        return found if found.description == description else None
    return None


def write_finished(path: Path, record: Finished) -> None:
    """Keep what was found; in a distributed run the first process does.

    Args:
        path: The file, in a folder that is there.
        record: What was found.
    """
    if rank() == 0:
        write_yaml(path, to_builtin_types(asdict(record)))
