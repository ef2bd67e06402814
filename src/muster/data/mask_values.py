"""From what a mask file stores to class indices, as ``dataset.yaml`` says: by index, by other values, or by colours.

Axis names: ``h`` and ``w`` are the rows and columns of one mask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from muster.data.orientation import Pixels
from muster.data.spec import VOID
from muster.errors import DatasetError, unknown_name

VOID_WORD = "void"
"""What ``mask_values`` maps to where nothing is labelled; an empty value means the same."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SHOWN = 5
_EXAMPLE = "mask_values: {0: background, 255: foreground} or mask_values: {'#000000': background, '#ff0000': void}"


@dataclass(frozen=True)
class MaskValues:
    """What each stored value means.

    Attributes:
        classes: Names of the classes.
        meaning: Stored value, or colour as 0xRRGGBB -> class index or :data:`VOID`.
        colours: Whether masks are read by their colours.
        ignore_index: Stored value that means void, where values are class indices; ``None`` with ``mask_values``.
    """

    classes: tuple[str, ...]
    meaning: Mapping[int, int]
    colours: bool = False
    ignore_index: int | None = None

    @classmethod
    def of_indices(cls, classes: tuple[str, ...], ignore_index: int = VOID) -> MaskValues:
        """Stored values are class indices, but for one that means void."""
        meaning = {index: index for index in range(len(classes))} | {ignore_index: VOID}
        return cls(classes, meaning, ignore_index=ignore_index)

    def to_indices(self, stored: Pixels, mask: Path, dataset: str) -> Pixels:
        """Turn a stored mask into class indices.

        Args:
            stored: ``[h, w]`` values, or ``[h, w, 3]`` colours.
            mask: Its file, for the message of an error.
            dataset: Name of the dataset, likewise.

        Returns:
            uint8 ``[h, w]``: class indices and :data:`VOID`.

        Raises:
            DatasetError: If it holds a value without a meaning.
        """
        return self._of_colours(stored, mask, dataset) if self.colours else self._of_values(stored, mask, dataset)

    def _of_values(self, stored: Pixels, mask: Path, dataset: str) -> Pixels:
        counts = np.bincount(stored.ravel(), minlength=VOID + 1)
        counts[list(self.meaning)] = 0
        wrong = np.flatnonzero(counts).tolist()
        if wrong:
            raise self._unknown(mask, dataset, [str(value) for value in wrong], int(counts.sum()))
        if all(value == meant for value, meant in self.meaning.items()):
            return stored
        table = np.full(VOID + 1, VOID, np.uint8)
        for value, meant in self.meaning.items():
            table[value] = meant
        return table[stored]

    def _of_colours(self, stored: Pixels, mask: Path, dataset: str) -> Pixels:
        codes = stored[..., 0].astype(np.int32) << 16 | stored[..., 1].astype(np.int32) << 8 | stored[..., 2]
        known = np.array(sorted(self.meaning), np.int32)
        places = np.searchsorted(known, codes).clip(max=len(known) - 1)
        strange = known[places] != codes
        if strange.any():
            wrong = [f"'#{code:06x}'" for code in np.unique(codes[strange]).tolist()]
            raise self._unknown(mask, dataset, wrong, int(strange.sum()))
        table = np.array([self.meaning[code] for code in known.tolist()], np.uint8)
        indices: Pixels = table[places]
        return indices

    def _unknown(self, mask: Path, dataset: str, wrong: list[str], pixels: int) -> DatasetError:
        values = ", ".join(wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
        kind = "colour(s)" if self.colours else "value(s)"
        start = f"Mask {mask} of dataset {dataset!r} holds the {kind} {values} ({pixels} pixels), but "
        if self.ignore_index is None:
            return DatasetError(
                f"{start}mask_values in dataset.yaml does not name them. Add them, as a class or as {VOID_WORD}, or "
                "correct the mask."
            )
        return DatasetError(
            f"{start}the dataset has {len(self.classes)} classes (0 to {len(self.classes) - 1}) and "
            f"{self.ignore_index} for void. Correct the mask, or classes, ignore_index or mask_values in dataset.yaml "
            f"({_EXAMPLE})."
        )


def parse_mask_values(content: object, classes: tuple[str, ...], ignore_index: int | None, where: str) -> MaskValues:
    """Read the key ``mask_values`` of a ``dataset.yaml``.

    Args:
        content: Its value: stored values, or colours as ``"#rrggbb"``, each with the name of a class or ``void``.
        classes: Names of the classes.
        ignore_index: Value of that key, if it is there.
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
    keys = list(content)
    colours = all(isinstance(key, str) and _COLOUR.fullmatch(key) for key in keys)
    values = all(isinstance(key, int) and not isinstance(key, bool) and 0 <= key <= VOID for key in keys)
    if not colours and not values:
        wrong = next((key for key in keys if not _is_key(key)), None)
        told = "a mixture of both" if wrong is None else repr(wrong)
        raise DatasetError(
            f"{where}: expected stored values from 0 to {VOID}, or else colours like '#ff0000' in quotes, but got "
            f"{told}. For example: {_EXAMPLE}"
        )
    meant = {key: _meaning(name, classes, f"{where}: {key!r}") for key, name in content.items()}
    if len(set(meant.values()) - {VOID}) < 2:
        raise DatasetError(f"{where}: expected values of at least two classes. For example: {_EXAMPLE}")
    codes = {int(key[1:], 16): index for key, index in meant.items()} if colours else meant
    if len(codes) < len(meant):
        raise DatasetError(f"{where}: a colour is there twice, in small and in capital letters. Name each once.")
    if ignore_index is not None and (colours or codes.get(ignore_index, VOID) != VOID):
        raise DatasetError(
            f"{where}: ignore_index: {ignore_index} contradicts it. Leave ignore_index out, and map what is not "
            f"labelled to {VOID_WORD} here."
        )
    return MaskValues(classes, codes if ignore_index is None else codes | {ignore_index: VOID}, colours)


def _is_key(key: object) -> bool:
    if isinstance(key, str):
        return _COLOUR.fullmatch(key) is not None
    return isinstance(key, int) and not isinstance(key, bool) and 0 <= key <= VOID


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
