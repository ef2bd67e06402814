"""Read ``dataset.yaml``, the description of a dataset folder, and refuse what is not understood."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any, cast

from muster.data.mask_values import MaskValues, parse_mask_values
from muster.data.orientation import ORIENTATIONS, Orientation
from muster.data.spec import MAX_CLASSES, PROBE_IMAGES, VOID, DatasetSpec
from muster.errors import DatasetError, unknown_name
from muster.user_files import read_yaml_file

DESCRIPTION_FILE = "dataset.yaml"
"""Name of the description within a dataset folder."""

REQUIRED_KEYS = ("name", "domain", "classes")
OPTIONAL_KEYS = (
    "source",
    "source_commit",
    "licence",
    "citation",
    "ignore_index",
    "mask_values",
    "orientation",
    "probe_images",
    "counts",
    "notes",
)
COUNTED = ("train", "val", "test")
"""Keys of ``counts``."""

MAX_NAME_BYTES = 120
"""Most bytes of a name in UTF-8. With an architecture and a pre-training it must fit into the 255 bytes that Linux
and macOS allow for the name of a file."""

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_TURNS_TEXT = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Marks that show what follows in another order than it is written."""

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120

_EXAMPLE = "name: mydata\ndomain: garden photos\nclasses: [background, flower]\n"


@dataclass(frozen=True)
class Description:
    """The content of a ``dataset.yaml``.

    Attributes:
        spec: What the dataset is.
        masks: What the values stored in masks mean.
        orientation: How masks lie where images have an EXIF orientation, if the file says so.
        counts: How many images each split is said to have; may be empty.
        path: The file, for messages.
    """

    spec: DatasetSpec
    masks: MaskValues
    orientation: Orientation | None
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
    _printable(path, "domain", text["domain"])
    _text(path, "source_commit", values.get("source_commit", ""))
    _notes(path, values.get("notes", []))
    classes = _classes(path, values["classes"])
    masks = _masks(path, values, classes, "mask_values" in content)
    spec = DatasetSpec(
        _name(path, values["name"]),
        classes=classes,
        probe_images=_probe_images(path, values.get("probe_images", PROBE_IMAGES)),
        ignore_index=masks.ignore_index,
        **text,
    )
    orientation = _orientation(path, values.get("orientation"))
    return Description(spec, masks, orientation, _counts(path, values.get("counts", {})), path)


def _parse(path: Path) -> dict[Any, Any]:
    if not os.path.lexists(path):
        raise DatasetError(_missing_file(path))
    content = read_yaml_file(path, DatasetError)
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
    return "nothing" if value is None else f"{_SHORT.repr(value)} ({type(value).__name__})"


def _wrong(path: Path, key: str, expected: str, value: object) -> DatasetError:
    return DatasetError(f"{path}: key {key!r}: expected {expected}, but got {_show(value)}.")


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(path, key, "text (in quotes, if it looks like a number or a yes or no)", value)
    return value


def _name(path: Path, value: object) -> str:
    # The name becomes part of the names of members and of their folders.
    name = _printable(path, "name", _text(path, "name", value))
    if not name.strip() or name.startswith(".") or "/" in name or "\\" in name:
        raise _wrong(path, "name", "a short name without slashes that does not start with a dot", value)
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise _wrong(
            path, "name", f"at most {MAX_NAME_BYTES} bytes in UTF-8 (folders are named by it; this has {size})", value
        )
    return name


def _printable(path: Path, key: str, text: str) -> str:
    """Refuse what a terminal would obey instead of showing, or no file name can hold."""
    wrong = [letter for letter in text if unicodedata.category(letter) in _UNPRINTABLE or letter in _TURNS_TEXT]
    if wrong:
        code = f"U+{ord(wrong[0]):04X}"
        raise _wrong(path, key, f"text on one line without control characters (here: {code})", text)
    return text


def _classes(path: Path, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(path, "classes", "a list of class names in index order", value)
    keys = [f"classes[{index}]" for index in range(len(value))]
    names = tuple(_printable(path, key, _text(path, key, name)) for key, name in zip(keys, value, strict=True))
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: key 'classes': each name may occur once, but these are repeated: {repeated}.")
    if any(not name.strip() for name in names):
        raise DatasetError(f"{path}: key 'classes': a class name is empty.")
    if len(names) < 2:
        raise DatasetError(
            f"{path}: key 'classes': expected at least two classes, but got only {names[0]!r}: with one there is "
            "nothing to tell apart. Name the rest as well, e.g. background."
        )
    if len(names) > MAX_CLASSES:
        raise DatasetError(f"{path}: key 'classes': at most {MAX_CLASSES} are possible, but there are {len(names)}.")
    return names


def _whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _masks(path: Path, values: Mapping[Any, Any], classes: tuple[str, ...], named: bool) -> MaskValues:
    ignore_index = values.get("ignore_index")
    if ignore_index is not None and (not _whole_number(ignore_index) or not 0 <= ignore_index <= 255):
        raise _wrong(path, "ignore_index", "a mask value from 0 to 255", ignore_index)
    if named:  # even without a value: unquoted colours are comments, and would be lost
        return parse_mask_values(values.get("mask_values"), classes, ignore_index, f"{path}: key 'mask_values'")
    return MaskValues.of_indices(classes, VOID if ignore_index is None else ignore_index)


def _orientation(path: Path, value: object) -> Orientation | None:
    if value is not None and value not in ORIENTATIONS:
        raise _wrong(
            path,
            "orientation",
            "apply (masks were drawn on the upright images) or ignore (on the images as stored)",
            value,
        )
    return cast("Orientation | None", value)


def _probe_images(path: Path, value: object) -> int:
    if not isinstance(value, int) or not _whole_number(value) or value < 1:
        raise _wrong(path, "probe_images", "a number of training images, at least 1", value)
    return value


def _counts(path: Path, value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise _wrong(path, "counts", f"the number of images of {', '.join(COUNTED)}", value)
    for key, count in value.items():
        if key not in COUNTED:
            raise DatasetError(f"{path}: key 'counts': {unknown_name('split', str(key), COUNTED)}")
        if not _whole_number(count) or count < 0:
            raise _wrong(path, f"counts.{key}", "a number of images", count)
    return value


def _notes(path: Path, value: object) -> None:
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise _wrong(path, "notes", "text or a list of texts", value)
