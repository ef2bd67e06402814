"""Files that say which colour of a mask means which class, as labelling tools and public datasets write them.

Three forms are read, told by their lines::

    name,r,g,b              0 128 192   Bicyclist       # label:color_rgb:parts:actions
    Sky,128,128,128         192 0 128   Child           background:0,0,0::
    Building,128,0,0        64 128 64   Animal          car:64,0,128::

Left: ``class_dict.csv``, with or without its first line. Middle: ``label_colors.txt`` of CamVid. Right:
``labelmap.txt`` of CVAT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.data.mask_values import VOID_WORD
from muster.data.text_lists import text_lines
from muster.errors import DatasetError

_NUMBER = r"\s*(\d{1,3})\s*"
_FORMS = (
    re.compile(rf"(?P<name>[^,]+),{_NUMBER},{_NUMBER},{_NUMBER}"),
    re.compile(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(?P<name>\S.*)"),
    re.compile(rf"(?P<name>[^:]+):{_NUMBER},{_NUMBER},{_NUMBER}(:.*)?"),
)
_HEADINGS = re.compile(r"\s*name\s*,\s*r\s*,\s*g\s*,\s*b\s*", re.IGNORECASE)
_EXAMPLE = "name,r,g,b\nbackground,0,0,0\ntree,0,128,0\n"


def read_colour_map(path: Path) -> dict[str, str]:
    """Read a colour map.

    Args:
        path: The file.

    Returns:
        Colour as ``"#rrggbb"`` -> name, in the order of the file. Several colours may have one name.

    Raises:
        DatasetError: If it cannot be read, a line is of no known form, or a colour is there twice.
    """
    meaning: dict[str, str] = {}
    for number, line in enumerate(text_lines(path, "The colour map"), start=1):
        if not line.strip() or line.lstrip().startswith("#") or _HEADINGS.fullmatch(line):
            continue
        found = next((match for form in _FORMS if (match := form.fullmatch(line.rstrip()))), None)
        levels = [] if found is None else [int(level) for level in found.groups() if level and level.isdigit()][:3]
        if found is None or max(levels) > 255:
            raise DatasetError(
                f"{path}, line {number}: expected a class and its colour as three levels from 0 to 255, but got "
                f"{line.strip()[:80]!r}. For example:\n{_EXAMPLE}"
            )
        colour = "#{:02x}{:02x}{:02x}".format(*levels)
        if colour in meaning:
            raise DatasetError(f"{path}, line {number}: the colour {colour} is {meaning[colour]!r} above already.")
        meaning[colour] = found["name"].strip()
    if not meaning:
        raise DatasetError(f"{path} holds no colour. For example:\n{_EXAMPLE}")
    return meaning


def classes_of_colours(meaning: Mapping[str, str]) -> dict[str, Any]:
    """What a colour map says in the words of ``dataset.yaml``.

    Args:
        meaning: See :func:`read_colour_map`.

    Returns:
        ``classes``, every name but that of void, in the order of the file; and ``mask_values``.
    """
    classes = list(dict.fromkeys(name for name in meaning.values() if name.casefold() != VOID_WORD))
    values = {colour: name if name in classes else None for colour, name in meaning.items()}
    return {"classes": classes, "mask_values": values}
