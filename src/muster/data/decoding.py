"""Open one image file and refuse what could only be read in part: more bands, bits or frames than are used.

Axis names: ``h`` and ``w`` are the rows and columns of the image as stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from muster.data.large_images import OpenFile, open_of_any_size
from muster.data.orientation import TAG
from muster.errors import DatasetError
from muster.user_files import open_regular

IMAGE_KINDS = "JPEG, PNG, BMP, TIFF or WebP"
"""The same for messages."""

# Beginnings of files that are often found where an image is expected, and what they are.
_FOREIGN = {
    b"GIF8": "a GIF image",
    b"8BPS": "a Photoshop file",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a Git LFS pointer, not the image itself (git lfs pull fetches it)",
    b"<": "a text in HTML, XML or SVG",
    b"P5": "a PGM image",
    b"P6": "a PPM image",
}

# TIFF tags, TIFF 6.0 (1992), and the number of colour bands of each photometric interpretation that is understood.
_SUBFILE, _BITS, _PHOTOMETRIC, _BANDS, _EXTRA, _FORMAT = 254, 258, 262, 277, 338, 339
_COLOUR_BANDS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_REDUCED_OR_MASK = 1 | 4
_ALPHA = {(1,), (2,)}
_SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floating point"}

Content = TypeVar("Content")


class Opened(NamedTuple):
    """A file whose header was read and found to be of a kind that is understood.

    Attributes:
        image: Not yet decoded.
        bits: Bits per sample of a PNG; otherwise 16, or 8 for all that has fewer.
        tag: The EXIF (or TIFF) orientation; ``None`` if the file has none.
        size: Rows and columns as stored.
    """

    image: Image.Image
    bits: int
    tag: int | None
    size: tuple[int, int]


def decode(place: Path | bytes, what: str, use: Callable[[Opened], Content], deep: bool = False) -> Content:
    """Open an image file and hand it to a function.

    Args:
        place: The file, or its content.
        what: What to call it in messages.
        use: Takes what it needs; the file is closed afterwards.
        deep: Whether one band of 16 bits is understood, too.

    Returns:
        What the function returns.

    Raises:
        DatasetError: If the file is missing, no regular file, damaged, of another kind, too large for the memory that
            is free, or if it holds more bands, bits or frames than would be read.
    """
    try:
        with BytesIO(place) if isinstance(place, bytes) else open_regular(place) as file:
            _refuse_foreign(file, what, deep)
            with open_of_any_size(file, what) as image:
                return use(_look_at(image, file, what, deep))
    except DatasetError:
        raise
    except FileNotFoundError as error:
        link = " (it is a link to a file that is not there)" if Path(str(error.filename)).is_symlink() else ""
        raise DatasetError(f"{what} is missing{link}.") from error
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise DatasetError(f"{what} cannot be read: its content is no {IMAGE_KINDS}. Replace or remove it.") from error
    except OSError as error:
        raise DatasetError(f"{what} cannot be read: {error.strerror or error}. Replace or remove it.") from error
    except Exception as error:  # a decoder meets damaged bytes with anything from struct.error to IndexError
        raise DatasetError(f"{what} cannot be read: {error or type(error).__name__}. Replace or remove it.") from error


def _refuse_foreign(file: OpenFile, what: str, deep: bool) -> None:
    start = file.read(32)
    file.seek(0)
    if not start:
        raise DatasetError(f"{what} cannot be read: the file is empty. Replace or remove it.")
    known = next((kind for begin, kind in _FOREIGN.items() if start.startswith(begin)), None)
    if known is None and start[4:8] == b"ftyp":
        known = "a HEIC or AVIF image, or a film"
    if known is not None:
        raise DatasetError(f"{what} cannot be read: it is {known}; {IMAGE_KINDS} is expected, whatever its name.")
    if start[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        _refuse_tiff(file, what, deep)  # before Pillow, which does not even open some of them and cuts others
        file.seek(0)


def _refuse_tiff(file: OpenFile, what: str, deep: bool) -> None:
    pages = list(_tiff_pages(file))
    tags = pages[0]
    bits = _numbers(tags, _BITS) or (1,)
    bands = (_numbers(tags, _BANDS) or (len(bits),))[0]
    kinds = _numbers(tags, _FORMAT) or (1,)
    colour = _COLOUR_BANDS.get((_numbers(tags, _PHOTOMETRIC) or (1,))[0])
    extra = _numbers(tags, _EXTRA) or ()
    most = 16 if deep and bands == 1 else 8
    sound = set(kinds) == {1} and max(bits) <= most and len(set(bits)) == 1
    if not sound or colour is None or not (bands == colour or (bands == colour + 1 and extra in _ALPHA)):
        depth = "/".join(dict.fromkeys(f"{count}-bit" for count in bits))
        kind = "/".join(dict.fromkeys(_SAMPLE_FORMATS.get(number, "unusual") for number in kinds))
        more = " of colours that are not understood" if colour is None else ""
        raise DatasetError(
            f"{what} is a TIFF of {bands} band(s) of {depth} {kind} samples{more}, but 8 bits are expected, in 1 band "
            "(grey), 3 (red, green, blue) or 4 (CMYK), with or without one that is marked as alpha. Nothing is left "
            "out without your saying so: write the bands that are meant as an 8-bit image, or say in dataset.yaml how "
            "many there are ('channels: 4')."
        )
    whole = [page for page in pages if not (_numbers(page, _SUBFILE) or (0,))[0] & _REDUCED_OR_MASK]
    if len(whole) > 1:
        raise _several(what, len(whole), "pages")


def _tiff_pages(file: OpenFile) -> Iterator[ImageFileDirectory_v2]:
    header = file.read(8)
    if header[2] == 43 or header[3] == 43:
        header += file.read(8)
    directory = ImageFileDirectory_v2(header)
    visited: set[int] = set()
    while (place := directory.next) and place not in visited:  # a damaged file may lead in a circle
        visited.add(place)
        file.seek(place)
        directory = ImageFileDirectory_v2(header)
        directory.load(file)
        yield directory
    if not visited:
        raise OSError("the TIFF holds no image")


def _numbers(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    value: Any = tags.get(tag, ())
    return tuple(value) if isinstance(value, tuple) else (value,)


def _several(what: str, count: int, parts: str) -> DatasetError:
    return DatasetError(
        f"{what} holds {count} {parts}, but one image is expected. Save the one that is meant as a file of its own."
    )


def _look_at(image: Image.Image, file: OpenFile, what: str, deep: bool) -> Opened:
    bits = png_bits(file) if image.format == "PNG" else 16 if image.mode.startswith("I;16") else 8
    if (bits > 8 or image.mode.startswith(("I", "F"))) and not (deep and image.mode.startswith("I;16")):
        bands = len(image.getbands())
        depth = f"{bits}-bit" if bits > 8 else f"not 8-bit (mode {image.mode})"
        raise DatasetError(
            f"{what} is {depth} ({bands} band(s)), but 8 bits per band are expected. Convert it to 8 bits, or say "
            "in dataset.yaml which values mean 0 and 1: 'value_range: [0, 65535]'."
        )
    frames = getattr(image, "n_frames", 1)
    # Further views of an MPO are for other devices, and the pages of a TIFF were counted before.
    if frames > 1 and image.format not in {"MPO", "TIFF"}:
        raise _several(what, frames, "frames")
    # Before the pixels: a TIFF is turned, and the tag gone, when it is decoded. A PNG would be decoded for what may
    # follow its pixels, so that is looked for here.
    sooner = image.format == "PNG" and not _png_tells_more_later(file)
    tag = (Image.Image.getexif(image) if sooner else image.getexif()).get(TAG)
    known = tag if isinstance(tag, int) and 1 <= tag <= 8 else None
    return Opened(image, bits, known, _stored_size(image, known))


def _stored_size(image: Image.Image, tag: int | None) -> tuple[int, int]:
    width, height = image.size
    # A TIFF tells its upright size before it is decoded.
    return (width, height) if image.format == "TIFF" and (tag or 1) > 4 else (height, width)


def _png_tells_more_later(file: OpenFile) -> bool:
    """Whether a chunk that may hold an orientation follows the pixels."""
    place = file.tell()
    at, pixels = 8, False
    while True:
        file.seek(at)
        start = file.read(8)
        if len(start) < 8 or (pixels and start[4:] in {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}):
            file.seek(place)
            return len(start) == 8
        pixels |= start[4:] == b"IDAT"
        at += int.from_bytes(start[:4], "big") + 12


def png_bits(file: OpenFile) -> int:
    """Bits per sample of an open PNG: Pillow cuts one of 16 bits in colours to 8 without a word."""
    place = file.tell()
    file.seek(24)
    bits = file.read(1)[0]
    file.seek(place)
    return bits
