"""Find the images of a folder, and put images and masks of the same stem together; nothing is opened."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from muster.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from muster.errors import DatasetError, some_names
from muster.user_files import special_kind

# fmt: off
OTHER_SUFFIXES = frozenset({
    ".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jpx", ".jpe", ".jfif", ".pgm", ".ppm", ".pnm", ".pbm",
    ".tga", ".psd", ".exr", ".hdr", ".ico", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".apng", ".dib", ".npy",
    ".npz", ".mat",
})
# fmt: on
"""Endings of image files that are not read: to pass over them in silence would lose images."""

SHOWN = 5
"""How many names a message lists before it only counts."""

Files = dict[str, tuple[Path, Path]]
"""Identifier of each image -> its image and its mask."""


@dataclass(frozen=True)
class TruthFiles:
    """What lies beside a folder of images.

    Attributes:
        folder: Name of its folder.
        suffixes: File name endings that are read, in lower case.
        word: What messages call one file.
        kinds: What they call the kinds of files that are read.
    """

    folder: str = "masks"
    suffixes: frozenset[str] = MASK_SUFFIXES
    word: str = "mask"
    kinds: str = "PNG, BMP or TIFF"


MASKS = TruthFiles()


def list_images(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES, dataset: str = "") -> dict[str, Path]:
    """Find the images that lie directly in a folder; hidden files and files of other kinds are passed over.

    Args:
        folder: Where to look.
        suffixes: File name endings in lower case; any case matches.
        dataset: Name of the dataset, for the message of an error.

    Returns:
        Stem (in Unicode normal form C, so that names from different systems match) -> file, in order of the stems.

    Raises:
        DatasetError: If the folder cannot be listed, two images have the same stem, or one of them is no regular file
            or a link that leads nowhere.
    """
    whose = _whose(dataset)
    found: dict[str, Path] = {}
    for file in _files_of(folder, suffixes, whose):
        stem = _stem(file)
        if stem in found:
            raise DatasetError(
                f"Expected one image per stem in {folder}{whose}, but got {found[stem].name!r} and {file.name!r}."
            )
        found[stem] = file
    return dict(sorted(found.items()))


def unreadable_images(folder: Path) -> list[Path]:
    """Images of kinds that are not read, e.g. GIF; in order of their names.

    Args:
        folder: Where to look.

    Returns:
        The files.

    Raises:
        DatasetError: As :func:`list_images`.
    """
    return list(_files_of(folder, OTHER_SUFFIXES, ""))


def pair_up(folder: Path, dataset: str, mask_suffix: str = "", truths: TruthFiles = MASKS) -> Files:
    """The images of ``images/`` and the masks of ``masks/``, or other truths, in a folder.

    Args:
        folder: It holds those two; or only the first, if masks have a suffix and lie beside their images.
        dataset: Name of the dataset, for the message of an error.
        mask_suffix: What follows the stem of the image in that of its mask.
        truths: What lies beside the images.

    Returns:
        Image and mask by stem, in order of the stems.

    Raises:
        DatasetError: If there are none, if an image or a mask is alone, or if one is of a kind that is not read.
    """
    where = folder / truths.folder
    where = where if not mask_suffix or where.is_dir() else folder / "images"
    together = where.name == "images"
    images = list_images(folder / "images", dataset=dataset)
    masks = list_images(where, truths.suffixes, dataset)
    if together:
        images = {stem: file for stem, file in images.items() if not _is_mask(stem, mask_suffix)}
        masks = {stem: file for stem, file in masks.items() if _is_mask(stem, mask_suffix)}
    _refuse_kinds(folder, where, images, masks, dataset, truths)
    if not images and not masks:
        deeper = any(entry.is_dir() for entry in (folder / "images").iterdir())
        hint = " Images in sub-folders are not read: put them directly into images/." if deeper else ""
        raise DatasetError(f"Dataset {dataset!r} has an empty split: no images in {folder / 'images'}.{hint}")
    if mask_suffix:
        odd = [file for stem, file in masks.items() if not _is_mask(stem, mask_suffix)]
        if odd:
            raise DatasetError(
                f"Dataset {dataset!r}: mask_suffix is {mask_suffix!r}, but {len(odd)} mask(s) in {folder} do not end "
                f"so: {_few(odd)}."
            )
        masks = {stem.removesuffix(mask_suffix): file for stem, file in masks.items()}
    require_pairs(folder, images, masks, dataset, truths.word)
    return {stem: (images[stem], masks[stem]) for stem in images}


def _is_mask(stem: str, suffix: str) -> bool:
    return stem.endswith(suffix) and stem != suffix


def _refuse_kinds(
    folder: Path, where: Path, images: Mapping[str, Path], masks: Mapping[str, Path], dataset: str, truths: TruthFiles
) -> None:
    """Refuse to pass over files that look as if they were meant."""
    if where.name == truths.folder:
        others = list(_files_of(where, IMAGE_SUFFIXES - truths.suffixes, _whose(dataset)))
        others += [file for file in unreadable_images(where) if _stem(file) not in masks]
        if others:
            raise DatasetError(
                f"{truths.word.capitalize()}s of dataset {dataset!r} must be {truths.kinds} files, but there is "
                f"{_few(others)}."
            )
    # One of the same name as an image that is read is something beside it, e.g. the raw file it was made from.
    unread = [file for file in unreadable_images(folder / "images") if _stem(file) not in images]
    if unread:
        raise DatasetError(
            f"Dataset {dataset!r}: {len(unread)} image(s) in {folder} are of a kind that is not read: {_few(unread)}. "
            f"Convert them to one of {', '.join(sorted(IMAGE_SUFFIXES))}, or move them away."
        )


def require_pairs(
    folder: Path, images: Mapping[str, Path], masks: Mapping[str, Path], dataset: str, word: str = "mask"
) -> None:
    """Refuse images without a mask, and masks without an image.

    Args:
        folder: Where they lie, for the message.
        images: By identifier.
        masks: Likewise.
        dataset: Name of the dataset, for the message.
        word: What a mask is called there.

    Raises:
        DatasetError: If one is alone.
    """
    for kind, other, these, those in (("image", word, images, masks), (word, "image", masks, images)):
        alone = [these[stem] for stem in these if stem not in those]
        if alone:
            raise DatasetError(
                f"Dataset {dataset!r}: {len(alone)} {kind}(s) in {folder} without {other} of the same stem: "
                f"{_few(alone)}.{_nearly(alone, those)}"
            )


def _whose(dataset: str) -> str:
    return f" of dataset {dataset!r}" if dataset else ""


def _stem(file: Path) -> str:
    return unicodedata.normalize("NFC", file.stem)


def _files_of(folder: Path, suffixes: Iterable[str], whose: str) -> Iterator[Path]:
    """Files of some kinds, in order of their names."""
    endings = frozenset(suffixes)
    try:
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if Path(entry.name).suffix.lower() in endings]
            found = sorted((entry.name, _is_file(entry)) for entry in named if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"Expected a folder {folder}{whose}, but it cannot be listed: {error.strerror}.") from error
    for name, regular in found:
        if regular is None:
            continue
        if not regular:
            kind = special_kind(folder / name) or "a link that leads nowhere"
            raise DatasetError(
                f"{folder / name}{whose} is {kind}, but an image file is expected. Replace or remove it."
            )
        yield folder / name


def _is_file(entry: os.DirEntry[str]) -> bool | None:
    """Whether it is a regular file; ``None`` for a folder."""
    try:
        return None if entry.is_dir() else entry.is_file()
    except OSError:  # a link to itself
        return False


def _few(files: Iterable[Path]) -> str:
    return some_names([f"{file.parent.name}/{file.name}" for file in files], SHOWN)


def _nearly(alone: Iterable[Path], others: Mapping[str, Path]) -> str:
    """A hint, if a name differs in capital letters alone."""
    plain = {stem.casefold(): file for stem, file in others.items()}
    for file in alone:
        other = plain.get(_stem(file).casefold())
        if other is not None:
            return f" ({file.name} and {other.name} differ in capital letters: they must be the same.)"
    return ""
