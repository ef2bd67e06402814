"""From what a mask file stores to class indices, as ``dataset.yaml`` says: by index, by other values, or by colours.

Axis names: ``h`` and ``w`` are the rows and columns of one mask.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from muster.data.orientation import Pixels
from muster.data.spec import VOID
from muster.data.yaml_checks import is_whole
from muster.errors import DatasetError, unknown_name

VOID_WORD = "void"
"""What ``mask_values`` maps to where nothing is labelled; an empty value means the same."""

OTHER_WORD = "other"
"""Stands in ``mask_values`` for all stored values or colours that are not named."""

HIGHEST = 65535
"""The highest value that a mask of 16 bits can store."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_COLOURS_AT_ONCE = 1 << 22  # pixels whose colours are looked up together: each needs 20 bytes meanwhile
_SHOWN = 5
_EXAMPLE = "mask_values: {0: background, 255: foreground} or mask_values: {'#000000': background, '#ff0000': void}"


@dataclass(frozen=True)
class MaskValues:
    """What each stored value means.

    Attributes:
        classes: Names of the classes.
        meaning: Stored value, or colour as 0xRRGGBB -> class index or :data:`VOID`.
        colours: Whether masks are read by their colours.
        ignored: Stored values that mean void, where values are class indices; empty with ``mask_values``.
        first: The stored value of the first class, where values are class indices.
        other: Class index or :data:`VOID` of all that has no meaning of its own; ``None`` if that is an error.
    """

    classes: tuple[str, ...]
    meaning: Mapping[int, int]
    colours: bool = False
    ignored: tuple[int, ...] = ()
    first: int = 0
    other: int | None = None

    @classmethod
    def of_indices(cls, classes: tuple[str, ...], ignored: tuple[int, ...] = (VOID,), first: int = 0) -> MaskValues:
        """Stored values are class indices, counted from ``first``, but for some that mean void."""
        meaning = {first + index: index for index in range(len(classes))} | dict.fromkeys(ignored, VOID)
        return cls(classes, meaning, ignored=ignored, first=first)

    @property
    def ignore_index(self) -> int | None:
        """The stored value that means void, if there is one, and values are class indices."""
        return self.ignored[0] if len(self.ignored) == 1 else None

    def without(self, names: Collection[str]) -> MaskValues:
        """The same, with some classes made void.

        Args:
            names: Classes that are not to be told apart.

        Returns:
            Values of the other classes, which are counted anew.
        """
        kept = tuple(name for name in self.classes if name not in names)
        new = {index: kept.index(name) for index, name in enumerate(self.classes) if name in kept}
        meaning = {value: new.get(old, VOID) for value, old in self.meaning.items()}
        other = None if self.other is None else new.get(self.other, VOID)
        return MaskValues(kept, meaning, self.colours, other=other)

    def to_indices(self, stored: Pixels, mask: Path | str, dataset: str) -> Pixels:
        """Turn a stored mask into class indices.

        Args:
            stored: ``[h, w]`` values, or ``[h, w, 3]`` colours.
            mask: Its file or name, for the message of an error.
            dataset: Name of the dataset, likewise.

        Returns:
            uint8 ``[h, w]``: class indices and :data:`VOID`.

        Raises:
            DatasetError: If it holds a value without a meaning.
        """
        return self._of_colours(stored, mask, dataset) if self.colours else self._of_values(stored, mask, dataset)

    def _of_values(self, stored: Pixels, mask: Path | str, dataset: str) -> Pixels:
        size = int(np.iinfo(stored.dtype).max) + 1
        possible = {value: meant for value, meant in self.meaning.items() if value < size}
        known = np.zeros(size, bool)
        known[list(possible)] = True
        strange = stored[~known[stored]]
        if strange.size and self.other is None:
            raise self._unknown(mask, dataset, [str(value) for value in np.unique(strange).tolist()], strange.size)
        if stored.dtype == np.uint8 and not strange.size and all(value == meant for value, meant in possible.items()):
            return stored
        table = np.full(size, VOID if self.other is None else self.other, np.uint8)
        table[list(possible)] = list(possible.values())
        return table[stored]

    def _of_colours(self, stored: Pixels, mask: Path | str, dataset: str) -> Pixels:
        indices = np.empty(stored.shape[:2], np.uint8)
        wrong: Counter[int] = Counter()
        rows = max(1, _COLOURS_AT_ONCE // max(1, stored.shape[1]))
        for top in range(0, len(stored), rows):
            red, green, blue = stored[top : top + rows].astype(np.int32).transpose(2, 0, 1)
            codes = red << 16 | green << 8 | blue
            indices[top : top + rows], strange = look_up(codes, self.meaning)
            if self.other is not None and strange.size:
                indices[top : top + rows][np.isin(codes, strange)] = self.other
                continue
            wrong.update(dict(zip(*(part.tolist() for part in np.unique(strange, return_counts=True)), strict=True)))
        if wrong:
            raise self._unknown(mask, dataset, [f"'#{code:06x}'" for code in sorted(wrong)], wrong.total())
        return indices

    def _unknown(self, mask: Path | str, dataset: str, wrong: list[str], pixels: int) -> DatasetError:
        values = ", ".join(wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
        kind = "colour(s)" if self.colours else "value(s)"
        start = f"Mask {mask} of dataset {dataset!r} holds the {kind} {values} ({pixels} pixels), but "
        if not self.ignored:
            return DatasetError(
                f"{start}mask_values in dataset.yaml does not name them. Add them, as a class or as {VOID_WORD}, or "
                "correct the mask."
            )
        last = self.first + len(self.classes) - 1
        from_one = self.first == 0 and 0 in self.ignored and wrong == [str(len(self.classes))]
        hint = " If classes begin at 1, write reduce_zero_label: true." if from_one else ""
        return DatasetError(
            f"{start}the dataset has {len(self.classes)} classes ({self.first} to {last}) and "
            f"{' and '.join(map(str, self.ignored))} for void.{hint} Correct the mask, or classes, ignore_index or "
            f"mask_values in dataset.yaml ({_EXAMPLE})."
        )


def look_up(codes: Pixels, meaning: Mapping[int, int]) -> tuple[Pixels, Pixels]:
    """Turn numbers that are too large for a table into class indices.

    Args:
        codes: int32 ``[h, w]``.
        meaning: Number -> class index or :data:`VOID`.

    Returns:
        uint8 ``[h, w]``; and those of the numbers that have no meaning, in a row.
    """
    known = np.array(sorted(meaning), np.int32)
    table = np.array([meaning[code] for code in known.tolist()], np.uint8)
    places = np.searchsorted(known, codes).clip(max=len(known) - 1)
    return table[places], codes[known[places] != codes]


def parse_mask_values(
    content: object, classes: tuple[str, ...], ignored: tuple[int, ...] | None, where: str
) -> MaskValues:
    """Read the key ``mask_values`` of a ``dataset.yaml``.

    Args:
        content: Its value: stored values, or colours as ``"#rrggbb"``, each with the name of a class or ``void``, and
            maybe ``other`` for all that are not named.
        classes: Names of the classes.
        ignored: Values of the key ``ignore_index``, if it is there.
        where: File and key, for messages.

    Returns:
        What stored values mean.

    Raises:
        DatasetError: If it is no such mapping, names an unknown class, or contradicts ``ignore_index``.
    """
    if not isinstance(content, dict) or not content:
        raise DatasetError(
            f"{where}: expected stored values, or colours in quotes, each with a class, but got "
            f"{'nothing' if not content else repr(content)}. For example: {_EXAMPLE}. (Without quotes, # begins a "
            "comment.)"
        )
    content = dict(content)
    other = _meaning(content.pop(OTHER_WORD), classes, f"{where}: {OTHER_WORD!r}") if OTHER_WORD in content else None
    colours = bool(content) and all(map(_is_colour, content))
    if not colours and not all(map(_is_value, content)):
        wrong = next((key for key in content if not _is_colour(key) and not _is_value(key)), None)
        told = "a mixture of both" if wrong is None else repr(wrong)
        raise DatasetError(
            f"{where}: expected stored values from 0 to 255 (to {HIGHEST} in masks of 16 bits), or else colours like "
            f"'#ff0000' in quotes (and {OTHER_WORD} for all that are not named), but got {told}. For example: "
            f"{_EXAMPLE}"
        )
    meant = {key: _meaning(name, classes, f"{where}: {key!r}") for key, name in content.items()}
    if len({*meant.values(), other} - {VOID, None}) < 2:
        raise DatasetError(f"{where}: expected values of at least two classes. For example: {_EXAMPLE}")
    codes = {int(key[1:], 16): index for key, index in meant.items()} if colours else meant
    if len(codes) < len(meant):
        raise DatasetError(f"{where}: a colour is there twice, in small and in capital letters. Name each once.")
    against = [value for value in ignored or () if colours or codes.get(value, VOID) != VOID]
    if against:
        raise DatasetError(
            f"{where}: ignore_index: {', '.join(map(str, against))} contradicts it. Leave ignore_index out, and map "
            f"what is not labelled to {VOID_WORD} here."
        )
    return MaskValues(classes, codes | dict.fromkeys(ignored or (), VOID), colours, other=other)


def _is_colour(key: object) -> bool:
    return isinstance(key, str) and _COLOUR.fullmatch(key) is not None


def _is_value(key: object) -> bool:
    return is_whole(key) and 0 <= key <= HIGHEST


def _meaning(name: object, classes: tuple[str, ...], where: str) -> int:
    if name is None:
        return VOID
    if name == VOID_WORD and name in classes:
        raise DatasetError(
            f"{where}: {name!r} is a class of this dataset, and also the word for pixels without a label. Rename the "
            "class, or leave the value empty where nothing is labelled."
        )
    if name == VOID_WORD:
        return VOID
    if not isinstance(name, str):
        raise DatasetError(f"{where}: expected the name of a class, or {VOID_WORD}, but got {name!r}.")
    if name not in classes:
        raise DatasetError(f"{where}: {unknown_name('class', name, (*classes, VOID_WORD))}")
    return classes.index(name)


def written(meaning: Mapping[int, str]) -> str:
    """How ``mask_values`` is written in a ``dataset.yaml``, on one line."""
    text = yaml.safe_dump({"mask_values": dict(meaning)}, default_flow_style=None, allow_unicode=True, width=10**6)
    return text.strip()
