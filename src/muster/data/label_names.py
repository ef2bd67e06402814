"""What the names in files of annotations mean: polygons and boxes call objects by words of their tools."""

from __future__ import annotations

from muster.data.dataset_yaml import Description
from muster.data.mask_values import VOID_WORD
from muster.data.spec import VOID
from muster.data.yaml_checks import wrong
from muster.errors import DatasetError, unknown_name


def indices_of_labels(description: Description) -> dict[str, int]:
    """Class index, or void, of every name that is known.

    Args:
        description: Of the dataset; ``labels`` says what is no class by its own name.

    Raises:
        DatasetError: If ``labels`` is no mapping, or names a class that there is not.
    """
    named, where = description.options.get("labels", {}), description.path
    if description.published is not None and "labels" not in description.own:
        where = description.published.path
    if not isinstance(named, dict):
        raise wrong(where, "labels", "labels, each with a class or void", named)
    found = {name: index for index, name in enumerate(description.spec.classes)}
    found |= dict.fromkeys(description.ignored_classes, VOID)
    known = dict(found)
    for label, name in named.items():
        if name != VOID_WORD and name not in known:
            told = unknown_name("class", str(name), (*known, VOID_WORD))
            raise DatasetError(f"{where}: key 'labels': {label!r}: {told}")
        found[str(label)] = VOID if name == VOID_WORD else known[name]
    return found
