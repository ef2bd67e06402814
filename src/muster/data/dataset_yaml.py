"""Read ``dataset.yaml``, the description of a dataset folder, and refuse what is not understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from muster.data.spec import MAX_CLASSES, VOID, DatasetSpec
from muster.errors import DatasetError, unknown_name

DESCRIPTION_FILE = "dataset.yaml"
"""Name of the description within a dataset folder."""

REQUIRED_KEYS = ("name", "domain", "classes")
OPTIONAL_KEYS = ("source", "source_commit", "licence", "citation", "ignore_index", "counts", "notes")
COUNTED = ("train", "val", "test")
"""Keys of ``counts``."""

_EXAMPLE = "name: mydata\ndomain: garden photos\nclasses: [background, flower]\n"


@dataclass(frozen=True)
class Description:
    """The content of a ``dataset.yaml``.

    Attributes:
        spec: What the dataset is.
        ignore_index: Stored mask value that means void.
        counts: How many pictures each split is said to have; may be empty.
        path: The file, for messages.
    """

    spec: DatasetSpec
    ignore_index: int
    counts: Mapping[str, int]
    path: Path


def read_description(folder: Path) -> Description:
    """Read and check the ``dataset.yaml`` of a folder.

    Args:
        folder: The dataset folder.

    Returns:
        The description. An optional key without a value counts as absent.

    Raises:
        DatasetError: If the file is missing or not YAML, if a key is missing or unknown, or if a value has the wrong
            type or makes no sense. The message names the file and the key.
    """
    path = folder / DESCRIPTION_FILE
    content = _parse(path)
    for key in content:
        if key not in REQUIRED_KEYS + OPTIONAL_KEYS:
            raise DatasetError(f"{path}: {unknown_name('key', str(key), REQUIRED_KEYS + OPTIONAL_KEYS)}")
    missing = [key for key in REQUIRED_KEYS if key not in content]
    if missing:
        raise DatasetError(f"{path}: missing {', '.join(map(repr, missing))}. At least this is needed:\n{_EXAMPLE}")
    values = {key: value for key, value in content.items() if value is not None or key in REQUIRED_KEYS}
    text = {key: _text(path, key, values.get(key, "")) for key in ("domain", "source", "licence", "citation")}
    _text(path, "source_commit", values.get("source_commit", ""))
    _notes(path, values.get("notes", []))
    spec = DatasetSpec(_name(path, values["name"]), classes=_classes(path, values["classes"]), **text)
    ignore_index = _ignore_index(path, values.get("ignore_index", VOID))
    return Description(spec, ignore_index, _counts(path, values.get("counts", {})), path)


def _parse(path: Path) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DatasetError(_missing_file(path)) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read as YAML in UTF-8: {error}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys with values, but got {_show(content)}. For example:\n{_EXAMPLE}")
    return content


def _missing_file(path: Path) -> str:
    inside = sorted(found.parent.name for found in path.parent.glob(f"*/{DESCRIPTION_FILE}"))
    if inside:
        hint = f"These folders in it have one; did you mean one of them? {', '.join(inside)}"
    else:
        hint = f"Write one, at least:\n{_EXAMPLE}"
    return f"Expected a dataset folder, but {path.parent} has no {DESCRIPTION_FILE}. {hint}"


def _show(value: object) -> str:
    return "nothing" if value is None else f"{value!r} ({type(value).__name__})"


def _wrong(path: Path, key: str, expected: str, value: object) -> DatasetError:
    return DatasetError(f"{path}: key {key!r}: expected {expected}, but got {_show(value)}.")


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(path, key, "text (in quotes, if it looks like a number or a yes or no)", value)
    return value


def _name(path: Path, value: object) -> str:
    # The name becomes part of the names of members and of their folders.
    name = _text(path, "name", value)
    if not name.strip() or name.startswith(".") or any(letter in name for letter in "/\\\0\n"):
        raise _wrong(path, "name", "a short name without slashes that does not start with a dot", value)
    return name


def _classes(path: Path, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(path, "classes", "a list of class names in index order", value)
    names = tuple(_text(path, f"classes[{index}]", name) for index, name in enumerate(value))
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: key 'classes': each name may occur once, but these are repeated: {repeated}.")
    if any(not name.strip() for name in names):
        raise DatasetError(f"{path}: key 'classes': a class name is empty.")
    if len(names) > MAX_CLASSES:
        raise DatasetError(f"{path}: key 'classes': at most {MAX_CLASSES} are possible, but there are {len(names)}.")
    return names


def _whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ignore_index(path: Path, value: object) -> int:
    if not isinstance(value, int) or not _whole_number(value) or not 0 <= value <= 255:
        raise _wrong(path, "ignore_index", "a mask value from 0 to 255", value)
    return value


def _counts(path: Path, value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise _wrong(path, "counts", f"the number of pictures of {', '.join(COUNTED)}", value)
    for key, count in value.items():
        if key not in COUNTED:
            raise DatasetError(f"{path}: key 'counts': {unknown_name('split', str(key), COUNTED)}")
        if not _whole_number(count) or count < 0:
            raise _wrong(path, f"counts.{key}", "a number of pictures", count)
    return value


def _notes(path: Path, value: object) -> None:
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise _wrong(path, "notes", "text or a list of texts", value)
