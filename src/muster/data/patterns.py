"""Find images and masks by patterns such as ``leftImg8bit/train/*/*_leftImg8bit.png``.

A ``*`` stands for any part of one name. What the stars of a file stand for, joined by slashes, is its identifier:
an image and its mask belong together if these are the same. A pattern without an ending, such as ``images/*``, finds
files of every kind that is read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from glob import escape
from pathlib import Path

from muster.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from muster.data.pairing import SHOWN, Files, require_pairs
from muster.errors import DatasetError, some_names, unknown_name
from muster.user_files import open_regular


def match_files(root: Path, pattern: str, suffixes: Collection[str], dataset: str) -> dict[str, Path]:
    """Find the files of a pattern; hidden ones are passed over.

    Args:
        root: Where the pattern starts from.
        pattern: With at least one ``*``, and with slashes between folders.
        suffixes: File name endings, in lower case, of a pattern without one.
        dataset: Name of the dataset, for messages.

    Returns:
        Identifier -> file, in the order of the identifiers.

    Raises:
        DatasetError: If it is no such pattern, or two files have one identifier.
    """
    relative = _checked(pattern, dataset)
    whole = re.compile("([^/]*)".join(map(re.escape, relative.split("*"))) + ("" if _ending(relative) else r"\.[^./]+"))
    found: dict[str, Path] = {}
    for file in _candidates(root, relative, suffixes):
        name = unicodedata.normalize("NFC", file.relative_to(root).as_posix())
        match = whole.fullmatch(name)
        if match is None or file.name.startswith("."):
            continue
        identifier = "/".join(match.groups())
        if identifier in found:
            raise DatasetError(
                f"Expected one file for {identifier!r} of dataset {dataset!r}, but got {found[identifier]} and {file}."
            )
        found[identifier] = file
    return dict(sorted(found.items()))


def _checked(pattern: str, dataset: str) -> str:
    relative = pattern.strip().removeprefix("./")
    if "*" not in relative or "**" in relative or relative.startswith("/") or ".." in relative.split("/"):
        raise DatasetError(
            f"Dataset {dataset!r}: expected a pattern below the dataset's folder with a * for each part of a name that "
            f"differs, such as images/train/*.jpg, but got {pattern!r}."
        )
    return relative


def _ending(pattern: str) -> str:
    return Path(pattern.replace("*", "_")).suffix


def _candidates(root: Path, pattern: str, suffixes: Collection[str]) -> Iterator[Path]:
    glob = "*".join(map(escape, pattern.split("*")))
    if _ending(pattern):
        return (file for file in root.glob(glob) if file.is_file())
    return (file for file in root.glob(f"{glob}.*") if file.suffix.lower() in suffixes and file.is_file())


def pair_patterns(
    root: Path, parts: Mapping[str, str], dataset: str, listed: Collection[str] | None = None, partial: bool = False
) -> Files:
    """Find images and masks by two patterns, and put those of one identifier together.

    Args:
        root: Where the patterns start from.
        parts: The patterns ``images`` and ``masks``, and maybe ``except``: files that are no images.
        dataset: Name of the dataset, for messages.
        listed: Take these identifiers only, which must all be there. The first part of some (``scene1`` of
            ``scene1/7``) stands for all of them.
        partial: Whether images without a mask are passed over.

    Returns:
        Image and mask by identifier; in the order of the identifiers.

    Raises:
        DatasetError: If there are none, or one is alone.
    """
    images, masks = parts["images"], parts["masks"]
    if images.count("*") != masks.count("*"):
        raise DatasetError(
            f"Dataset {dataset!r}: expected as many * in the pattern of masks as in that of images, but got {images!r} "
            f"and {masks!r}."
        )
    if images == masks:
        raise DatasetError(f"Dataset {dataset!r}: images and masks have the same pattern {images!r}.")
    found = match_files(root, images, IMAGE_SUFFIXES, dataset)
    labelled = match_files(root, masks, MASK_SUFFIXES, dataset)
    # A loose pattern for images, as a/*.png, finds the masks a/*_mask.png as well.
    left_out = set(labelled.values())
    if "except" in parts:
        left_out |= set(match_files(root, parts["except"], IMAGE_SUFFIXES, dataset).values())
    found = {name: file for name, file in found.items() if file not in left_out}
    if listed is not None:
        listed = _each_of(listed, {**found, **labelled})
        found, labelled = ({name: files[name] for name in listed if name in files} for files in (found, labelled))
        _require_listed(root, listed, (found, labelled), parts, dataset)
    elif partial:
        found = {name: file for name, file in found.items() if name in labelled}
    if not found and not labelled:
        raise DatasetError(f"Dataset {dataset!r} has an empty split: no file of {root} fits {images!r}.")
    require_pairs(root, found, labelled, dataset)
    return {name: (found[name], labelled[name]) for name in found}


def _each_of(listed: Collection[str], known: Collection[str]) -> list[str]:
    """Identifiers that a list means, of those that are known; what is not known is left as it is."""
    below: dict[str, list[str]] = {}
    for name in known:
        below.setdefault(name.partition("/")[0], []).append(name)
    return [name for each in listed for name in ([each] if each in known else below.get(each, [each]))]


def _require_listed(
    root: Path, listed: Collection[str], found: tuple[Mapping[str, Path], ...], parts: Mapping[str, str], dataset: str
) -> None:
    for kind, files in zip(("images", "masks"), found, strict=True):
        missing = [name for name in listed if name not in files]
        if missing:
            raise DatasetError(
                f"Dataset {dataset!r}: {len(missing)} of {len(listed)} listed {kind} are not in {root} as "
                f"{parts[kind]}: {some_names(missing, SHOWN)}."
            )


def read_list(path: Path, dataset: str) -> list[str]:
    """Read a list of images, one a line.

    Args:
        path: The text file. Of a line with several words the first counts, and of a path its last part, without ending.
        dataset: Name of the dataset, for messages.

    Returns:
        Identifiers in their order.

    Raises:
        DatasetError: If the file is missing, empty, or names an image twice.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().decode("utf-8-sig").splitlines()
    except OSError as error:
        near = ", ".join(sorted(entry.name for entry in path.parent.glob("*.txt"))[:SHOWN])
        hint = f" Lists there: {near}." if near else ""
        raise DatasetError(
            f"Dataset {dataset!r} needs the list of images {path}, but it cannot be read: {error.strerror}.{hint} Name "
            "another in dataset.yaml ('splits: {train: FILE, test: FILE}'), or write 'splits: seeded' to hold out a "
            "fifth of all images with a mask."
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"The list of images {path} is no text in UTF-8: {error}.") from error
    names = [_listed_name(words[0]) for line in lines if (words := line.split())]
    if not names:
        raise DatasetError(f"The list of images {path} of dataset {dataset!r} is empty.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"{path}: image {twice!r} is listed twice.")
    return names


def _listed_name(word: str) -> str:
    name = unicodedata.normalize("NFC", word.rpartition("/")[2])
    return name.rpartition(".")[0] if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def require_parts(path: Path, split: str, given: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse words below ``splits`` that a layout does not know.

    Args:
        path: The description.
        split: ``train`` or ``test``.
        given: What it says of the split.
        known: What the layout knows.

    Raises:
        DatasetError: If one is unknown.
    """
    for key in given:
        if key not in known:
            raise DatasetError(f"{path}: key 'splits.{split}': {unknown_name('key', key, known)}")
