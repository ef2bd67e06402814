"""What ``dataset.yaml`` and the layout say together of the values that masks store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.data.colour_map import classes_of_colours, read_colour_map
from muster.data.mask_values import HIGHEST, MaskValues, parse_mask_values
from muster.data.spec import VOID
from muster.data.yaml_checks import is_whole, require_text, wrong
from muster.errors import DatasetError


def completed(path: Path, root: Path, values: Mapping[str, Any], known: dict[str, Any], valued: bool) -> dict[str, Any]:
    """Every value, of the file or else of the layout or of its colour map.

    Args:
        path: The description, for messages.
        root: Folder that paths start from.
        values: What the file says.
        known: What the layout says.
        valued: Whether the file has the key ``mask_values``.

    Returns:
        What counts.

    Raises:
        DatasetError: If the colour map cannot be read or does not fit.
    """
    if "colour_map" in values:
        if valued:
            raise DatasetError(f"{path}: colour_map and mask_values say the same twice. Leave one of them out.")
        known |= _from_colour_map(root / require_text(path, "colour_map", values["colour_map"]), values)
        values = {key: value for key, value in values.items() if key != "classes"}
    if valued or "colour_map" in values:
        known = {key: value for key, value in known.items() if key not in {"ignore_index", "reduce_zero_label"}}
    elif "classes" in values and not _same_names(values["classes"], known.get("classes")):
        known.pop("mask_values", None)  # they name the classes of the layout
    return known | dict(values)


def _same_names(named: object, known: object) -> bool:
    """Whether both are the same classes, in whatever order."""
    return isinstance(named, list) and isinstance(known, list) and sorted(map(str, named)) == sorted(map(str, known))


def _from_colour_map(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Classes and mask values that a colour map stands for."""
    found = classes_of_colours(read_colour_map(path))
    named = values.get("classes", found["classes"])
    if not isinstance(named, list) or {*map(str, named)} != set(found["classes"]):
        raise DatasetError(
            f"classes in dataset.yaml and {path} name other classes: {named} and {found['classes']}. Leave classes "
            "out, and name those that are not to be told apart in ignore_classes."
        )
    return found | {"classes": named}


def mask_values_of(
    where: Mapping[str, Path],
    path: Path,
    taken: Mapping[str, Any],
    classes: tuple[str, ...],
    content: Mapping[Any, Any],
) -> MaskValues:
    """What stored values mean.

    Args:
        where: File that each key is from, for messages.
        path: The description, likewise.
        taken: What counts, see :func:`completed`.
        classes: Names of the classes.
        content: The file alone.

    Returns:
        The meaning, classes to be ignored made void.

    Raises:
        DatasetError: If a value is wrong, or two keys contradict each other.
    """
    ignored, from_one = _ignored(path, taken.get("ignore_index")), taken.get("reduce_zero_label", False)
    if not isinstance(from_one, bool):
        raise wrong(path, "reduce_zero_label", "true or false", from_one)
    if "mask_values" in content or "mask_values" in taken:  # even without a value: unquoted colours are comments
        if from_one:
            raise DatasetError(f"{path}: reduce_zero_label says nothing beside mask_values. Leave one of them out.")
        place = where.get("mask_values", path)
        values = parse_mask_values(taken.get("mask_values"), classes, ignored, f"{place}: key 'mask_values'")
    elif from_one:
        void = (0,) if len(classes) >= VOID else (0, VOID)
        values = MaskValues.of_indices(classes, tuple(dict.fromkeys((*void, *(ignored or ())))), first=1)
    else:
        values = MaskValues.of_indices(classes, (VOID,) if ignored is None else ignored)
    void_names = taken.get("ignore_classes", [])
    return values.without(void_names) if void_names else values


def _ignored(path: Path, value: object) -> tuple[int, ...] | None:
    numbers: list[Any] = value if isinstance(value, list) else [value]
    if value is None:
        return None
    if not numbers or not all(is_whole(number) and 0 <= number <= HIGHEST for number in numbers):
        raise wrong(path, "ignore_index", f"a mask value from 0 to 255 (or to {HIGHEST}), or a list of some", value)
    return tuple(dict.fromkeys(numbers))
