"""Read ``dataset.yaml``, the description of a dataset folder, and refuse what is not understood.

Some layouts say by themselves what the file would say, such as the names of the classes. The file is then needed only
for what they leave open, and what it says goes before what they say.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from muster.data.bands import Bands, parse_bands
from muster.data.mask_keys import completed, mask_values_of
from muster.data.mask_values import MaskValues
from muster.data.orientation import ORIENTATIONS, Orientation
from muster.data.published import Published, published_of
from muster.data.spec import MAX_CLASSES, PROBE_IMAGES, RGB, DatasetSpec
from muster.data.yaml_checks import EXAMPLE, is_whole, printable, require_names, require_text, show, wrong
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
    "probe_images",
    "counts",
    "notes",
    "reader",
    "root",
    "ignore_classes",
    "sequences",
    "spec",
)
MASK_KEYS = ("mask_values", "ignore_index", "reduce_zero_label", "colour_map", "orientation")
"""Keys for masks that are files."""

IMAGE_KEYS = ("channels", "bands", "value_range")
"""Keys for images that are files of other than three channels, or more than 8 bits."""

REGION_KEYS = ("of", "min_pixels", "min_side", "min_share", "margin", "most_per_image", "most_per_class")
"""Keys of a dataset that is made of the regions of another."""

SUBSET_KEYS = ("of", "share", "seed")
"""Keys of a dataset that is made of some classes of another."""

FILE_KEYS = ("tiles", "larger_masks")
"""Keys of datasets whose images and masks are files."""

LAYOUT_KEYS = (
    *("splits", "mask_suffix", "mask_variable", "columns", "background", "crowd", "overlap", "labels"),
    *(*FILE_KEYS, *REGION_KEYS, "share", "seed", "scale"),
)
"""Keys that some layouts know."""

SEEDED = "seeded"
"""What ``splits`` says for a test split that is drawn from all images."""

Splits: TypeAlias = Mapping[str, Mapping[str, str]]
"""What is said of the splits ``train`` and ``test``: names or paths by what they are for; a single one by ``""``."""

COUNTED = ("train", "val", "test")
"""Keys of ``counts``."""

_ADVICE = {False: "Name the rest as well, e.g. background.", True: "Add images of other classes."}
"""What to do about a single class, of pixels and of whole images."""

MAX_NAME_BYTES = 120
"""Most bytes of a name in UTF-8. With an architecture and a pre-training it must fit into the 255 bytes that Linux
and macOS allow for the name of a file."""


@dataclass(frozen=True)
class Heading:
    """What decides who reads the rest of a ``dataset.yaml``.

    Attributes:
        path: The file, for messages; it need not be there if the layout says enough.
        reader: The layout that it names, or nothing.
        root: Folder of the images, which paths in the file start from.
        splits: What it says of the splits.
        test_is_seeded: Whether it says that the test split is to be drawn from all images.
        options: The other keys of :data:`LAYOUT_KEYS` that it has.
        published: What is known of the published dataset that it is a copy of; it counts where the file says nothing.
        content: All that the file says; nothing if it is not there.
    """

    path: Path
    reader: str
    root: Path
    splits: Splits
    test_is_seeded: bool
    options: Mapping[str, Any]
    published: Published | None
    content: Mapping[Any, Any]

    @property
    def own(self) -> frozenset[str]:
        """All keys of the file."""
        return frozenset(map(str, self.content))

    @property
    def unsaid(self) -> dict[str, Any]:
        """What counts for keys that are needed where neither the file nor the layout says anything."""
        return {"name": self.root.absolute().name, "domain": "not stated"}


@dataclass(frozen=True)
class Description(Heading):
    """The content of a ``dataset.yaml``.

    Attributes:
        spec: What the dataset is.
        masks: What the values stored in masks mean.
        orientation: How masks lie where images have an EXIF orientation, if the file says so.
        counts: How many images each split is said to have; may be empty.
        ignored_classes: Classes of the layout that are made void.
        bands: What is read of images; ``None`` for RGB of 8 bits.
    """

    spec: DatasetSpec
    masks: MaskValues
    orientation: Orientation | None
    counts: Mapping[str, int]
    ignored_classes: tuple[str, ...]
    bands: Bands | None


def read_heading(folder: Path, spec: str = "") -> Heading:
    """Look which layout a ``dataset.yaml`` names, where the images lie, and what it says of the splits.

    Args:
        folder: The dataset folder; the file need not be there.
        spec: Which published dataset the folder is a copy of: the name or path of a file of facts. By default the one
            that the file names.

    Returns:
        These; by default no layout, and the folder itself.

    Raises:
        DatasetError: If the file cannot be read, one of these keys is wrong, or nothing is known of such a dataset.
    """
    path = folder / DESCRIPTION_FILE
    content = _parse(path) if os.path.lexists(path) else {}
    said = require_text(path, "spec", content.get("spec") or "")
    published = published_of(spec, Path()) if spec else published_of(said, folder) if said else None
    return _heading(path, content, published)


def with_published(heading: Heading, published: Published | None) -> Heading:
    """The same, of a copy of a published dataset.

    Args:
        heading: Of a folder.
        published: What is known of it; ``None`` for nothing.
    """
    return _heading(heading.path, heading.content, published)


def _heading(path: Path, content: Mapping[Any, Any], published: Published | None) -> Heading:
    folder = path.parent
    reader, root = (content.get(key) for key in ("reader", "root"))
    found = folder if root is None else (folder / Path(require_text(path, "root", root)).expanduser())
    if not found.is_dir():
        raise DatasetError(f"{path}: key 'root': there is no folder {found}.")
    known = {} if published is None else published.dataset
    of_file, seeded = _splits(path, content.get("splits") or {})
    of_spec, seeded_by_spec = ({}, False) if published is None else _splits(published.path, known.get("splits") or {})
    splits = {name: {**of_spec.get(name, {}), **of_file.get(name, {})} for name in {**of_spec, **of_file}}
    said = {**known, **{key: value for key, value in content.items() if value is not None}}
    options = {key: said[key] for key in LAYOUT_KEYS if said.get(key) is not None and key != "splits"}
    named = "" if reader is None else require_text(path, "reader", reader)
    # A test split that the file names goes before the seeded one of the published dataset.
    seeded |= seeded_by_spec and "test" not in of_file
    return Heading(path, named, found, splits, seeded, options, published, content)


def read_description(
    heading: Heading,
    known: Mapping[str, Any] | None = None,
    source: Path | None = None,
    keys: Collection[str] | None = None,
    whole_images: bool = False,
    outputs: tuple[str, ...] = (),
) -> Description:
    """Read and check the ``dataset.yaml`` of a folder.

    Args:
        heading: Of the folder, see :func:`read_heading`.
        known: What the layout says by itself, by the same keys; then the file may be missing.
        source: Where that is from, for messages.
        keys: Of :data:`MASK_KEYS` and :data:`LAYOUT_KEYS`, those that have an effect in this layout; all by default.
        whole_images: Whether classes are of whole images; none is written into a mask then, so there may be any number.
        outputs: What the truth has in place of classes, such as depth; the file names no classes then.

    Returns:
        The description. An optional key without a value counts as absent. What is known of a published dataset goes
        before what the layout says, and the file before both.

    Raises:
        DatasetError: If the file is missing or not YAML, if a key is missing, unknown or without effect, or if a value
            has the wrong type or makes no sense. The message names the file and the key.
    """
    path, content = heading.path, heading.content
    if known is None and heading.published is None and not os.path.lexists(path):
        raise DatasetError(_missing_file(path))
    _check_keys(path, content, keys)
    values = {key: value for key, value in content.items() if value is not None or key in REQUIRED_KEYS}
    told, where = _known(heading, known, source or path, keys)
    taken = completed(path, heading.root, values, told, "mask_values" in content)
    if outputs:
        if "classes" in content:
            raise DatasetError(
                f"{path}: key 'classes': the truth here is {', '.join(outputs)}, no class. Leave it out."
            )
        taken["classes"] = list(outputs)
    if missing := [key for key in REQUIRED_KEYS if key not in taken]:
        raise DatasetError(f"{path}: missing {', '.join(map(repr, missing))}. At least this is needed: {EXAMPLE}")
    where = {key: path if key in content else where.get(key, source or path) for key in (*OPTIONAL_KEYS, *taken)}
    require_text(path, "source_commit", values.get("source_commit", ""))
    _notes(path, values.get("notes", []))
    ignored = require_names(where["ignore_classes"], "ignore_classes", taken.get("ignore_classes", []))
    classes = outputs or _classes(where["classes"], taken["classes"], ignored, whole_images)
    masks, bands = mask_values_of(where, path, taken, classes, content), parse_bands(path, taken)
    return Description(
        **vars(heading),
        spec=_spec(where, taken, masks, bands),
        masks=masks,
        orientation=_orientation(where.get("orientation", path), taken.get("orientation")),
        counts=_counts(path, values.get("counts", {})),
        ignored_classes=ignored,
        bands=bands,
    )


def _known(
    heading: Heading, known: Mapping[str, Any] | None, source: Path, keys: Collection[str] | None
) -> tuple[dict[str, Any], dict[str, Path]]:
    """What is known without the file: of the published dataset, or else of the layout; and where each is from."""
    told, published = dict(known or {}), heading.published
    where = dict.fromkeys(told, source)
    if published is None:
        return told, where
    _check_keys(published.path, published.dataset, keys)
    valued = "mask_values" in published.dataset
    told = completed(published.path, heading.root, published.known, heading.unsaid | told, valued)
    return told, where | dict.fromkeys(published.known, published.path)


def _spec(where: Mapping[str, Path], taken: Mapping[str, Any], masks: MaskValues, bands: Bands | None) -> DatasetSpec:
    texts = ("domain", "source", "licence", "citation")
    text = {key: require_text(where[key], key, taken.get(key, "")) for key in texts}
    printable(where["domain"], "domain", text["domain"])
    return DatasetSpec(
        _name(where["name"], taken["name"]),
        classes=masks.classes,
        probe_images=_probe_images(where["probe_images"], taken.get("probe_images", PROBE_IMAGES)),
        ignore_index=masks.ignore_index,
        channels=RGB if bands is None else bands.channels,
        sequences=_sequences(where["sequences"], taken.get("sequences", "")),
        **text,
    )


def _check_keys(path: Path, content: Mapping[Any, Any], keys: Collection[str] | None) -> None:
    every = (*REQUIRED_KEYS, *OPTIONAL_KEYS, *MASK_KEYS, *IMAGE_KEYS, *LAYOUT_KEYS)
    for key in content:
        if key not in every:
            raise DatasetError(f"{path}: {unknown_name('key', str(key), every)}")
        if keys is not None and key in MASK_KEYS + IMAGE_KEYS + LAYOUT_KEYS and key not in keys:
            others = ", ".join(sorted(keys)) or "none"
            raise DatasetError(
                f"{path}: key {key!r} has no effect on a dataset of this layout; leave it out. (Keys that have one: "
                f"{others}.)"
            )


def _parse(path: Path) -> dict[Any, Any]:
    content = read_yaml_file(path, DatasetError)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys with values, but got {show(content)}. For example: {EXAMPLE}")
    return content


def _missing_file(path: Path) -> str:
    inside = sorted(found.parent.name for found in path.parent.glob(f"*/{DESCRIPTION_FILE}"))
    if inside:
        hint = f"These folders in it have one; did you mean one of them? {', '.join(inside)}"
    else:
        hint = f"Write one, at least: {EXAMPLE}"
    return (
        f"Expected a dataset folder, but {path.parent} has no {DESCRIPTION_FILE}, and its layout is none of those that "
        f"are read without one. {hint}"
    )


def _name(path: Path, value: object) -> str:
    # The name becomes part of the names of members and of their folders.
    name = printable(path, "name", require_text(path, "name", value))
    if not name.strip() or name.startswith(".") or "/" in name or "\\" in name:
        raise wrong(path, "name", "a short name without slashes that does not start with a dot", value)
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise wrong(
            path, "name", f"at most {MAX_NAME_BYTES} bytes in UTF-8 (folders are named by it; this has {size})", value
        )
    return name


def _classes(path: Path, value: object, ignored: Collection[str], whole_images: bool) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise wrong(path, "classes", "a list of class names in index order", value)
    names = require_names(path, "classes", value)
    for name in ignored:
        if name not in names:
            raise DatasetError(f"{path}: key 'ignore_classes': {unknown_name('class', name, names)}")
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: key 'classes': each name may occur once, but these are repeated: {repeated}.")
    if any(not name.strip() for name in names):
        raise DatasetError(f"{path}: key 'classes': a class name is empty.")
    if len(names) - len(set(ignored)) < 2:
        left = [name for name in names if name not in ignored]
        raise DatasetError(
            f"{path}: key 'classes': expected at least two classes, but got only {', '.join(map(repr, left)) or 'none'}"
            f": with one there is nothing to tell apart. {_ADVICE[whole_images]}"
        )
    if not whole_images and len(names) > MAX_CLASSES:
        raise DatasetError(f"{path}: key 'classes': at most {MAX_CLASSES} are possible, but there are {len(names)}.")
    return names


def _splits(path: Path, value: object) -> tuple[Splits, bool]:
    """What is said of the splits, and whether the test split is seeded."""
    if value == SEEDED:
        return {}, True
    if not isinstance(value, dict) or not set(value) <= {"train", "test"}:
        raise wrong(path, "splits", f"'{SEEDED}', or the keys train and test", value)
    found = {}
    for name, said in value.items():
        parts = {"": said} if isinstance(said, str) else said
        if not isinstance(parts, dict) or not parts:
            raise wrong(path, f"splits.{name}", "a name or path, or several by what they are for", said)
        found[name] = {str(key): require_text(path, f"splits.{name}.{key}", part) for key, part in parts.items()}
    seeded = found.get("test") == {"": SEEDED}
    return {name: parts for name, parts in found.items() if not (seeded and name == "test")}, seeded


def _orientation(path: Path, value: object) -> Orientation | None:
    if value is not None and value not in ORIENTATIONS:
        raise wrong(
            path,
            "orientation",
            "apply (masks were drawn on the upright images) or ignore (on the images as stored)",
            value,
        )
    return cast("Orientation | None", value)


def _probe_images(path: Path, value: object) -> int:
    if not is_whole(value) or value < 1:
        raise wrong(path, "probe_images", "a number of training images, at least 1", value)
    return value


def _sequences(path: Path, value: object) -> str:
    pattern = require_text(path, "sequences", value)
    try:
        brackets = re.compile(pattern).groups
    except re.error as error:
        raise wrong(path, "sequences", f"a regular expression ({error})", value) from error
    if pattern and not brackets:
        raise wrong(path, "sequences", "a regular expression with brackets around what names the sequence", value)
    return pattern


def _counts(path: Path, value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise wrong(path, "counts", f"the number of images of {', '.join(COUNTED)}", value)
    for key, count in value.items():
        if key not in COUNTED:
            raise DatasetError(f"{path}: key 'counts': {unknown_name('split', str(key), COUNTED)}")
        if not is_whole(count) or count < 0:
            raise wrong(path, f"counts.{key}", "a number of images", count)
    return value


def _notes(path: Path, value: object) -> None:
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise wrong(path, "notes", "text or a list of texts", value)
