"""Some of the classes of another dataset, of any layout and task.

::

    # dataset.yaml
    reader: class_subset
    of: ../caltech101     any dataset; or scenes/NAME, worlds/NAME
    share: 0.6            of its classes (by default drawn from 0.4 to 1)
    seed: 3               which ones (0 by default)

``PATH#3`` in place of a dataset is the same with seed 3, without a folder of its own.
"""

from __future__ import annotations

from pathlib import Path

from muster.data.class_subset import class_subset, draw_classes, subset_name
from muster.data.dataset_yaml import SUBSET_KEYS, Heading, read_description
from muster.data.layout import LAYOUTS, Layout
from muster.data.other_dataset import open_other
from muster.data.spec import Dataset
from muster.data.splits import compare_counts
from muster.data.yaml_checks import is_whole, wrong
from muster.tasks.task import task_of

NAME = "class_subset"


class ClassSubset(Layout):
    """Some of the classes of another dataset."""

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002 (nothing but the key reader says so)
        """Never: ``dataset.yaml`` has to say it."""
        return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; of a segmentation dataset every mask is read."""
        whole = open_other(heading, NAME)
        share, seed = _asked(heading)
        classes = [whole.spec.classes[place] for place in draw_classes(whole.spec.num_classes, share, seed)]
        said = {key: text for key in ("domain", "source", "licence", "citation") if (text := getattr(whole.spec, key))}
        known = {**heading.unsaid, "name": subset_name(whole.spec.name, seed), **said, "classes": classes}
        has_maps = task_of(whole.spec).has_class_maps
        description = read_description(heading, known, keys=SUBSET_KEYS, whole_images=not has_maps)
        if description.ignored_classes or list(description.spec.classes) != classes:
            raise wrong(heading.path, "classes", "nothing, as they are drawn", list(description.spec.classes))
        found = class_subset(whole, description.spec, reference)
        compare_counts(description, {"train": len(found.train), "test": len(found.test)})
        return found


def _asked(heading: Heading) -> tuple[float | None, int]:
    share, seed = heading.options.get("share"), heading.options.get("seed", 0)
    is_share = isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share <= 1
    if share is not None and not is_share:
        raise wrong(heading.path, "share", "a share above 0, at most 1", share)
    if not is_whole(seed) or seed < 0:
        raise wrong(heading.path, "seed", "a whole number from 0", seed)
    return (None if share is None else float(share)), seed


LAYOUTS.add(NAME, ClassSubset())
