"""The dataset that another one is made of, as its ``dataset.yaml`` names it with the key ``of``."""

from __future__ import annotations

from pathlib import Path

from muster.data.dataset_yaml import Heading
from muster.data.layout import name_layout
from muster.data.opening import apart, is_built_in, open_dataset
from muster.data.spec import Dataset
from muster.data.yaml_checks import require_text, wrong
from muster.errors import DatasetError


def open_other(heading: Heading, made_by: str) -> Dataset:
    """Open the dataset that ``of`` names.

    Args:
        heading: Of the dataset that is made of it.
        made_by: The reader of that one; the other must have another.

    Returns:
        The other dataset.

    Raises:
        DatasetError: If it is not named, cannot be opened, or is made in the same way itself.
    """
    path, value = heading.path, heading.options.get("of")
    if value is None:
        raise DatasetError(
            f"{path}: missing 'of': expected the path of another dataset, seen from this file, e.g. 'of: ../mydata'."
        )
    reference = require_text(path, "of", value)
    folder, rest = apart(reference, heading.root)
    place = heading.root / Path(folder).expanduser()
    if not is_built_in(reference):
        if place.is_dir() and name_layout(place) == made_by:
            raise wrong(path, "of", f"a dataset that is not made by the reader {made_by} itself", reference)
        reference = str(place.absolute()) + rest
    try:
        return open_dataset(reference)
    except DatasetError as error:
        raise DatasetError(f"{path}: key 'of': {error}") from error
