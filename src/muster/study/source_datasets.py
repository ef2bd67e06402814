"""Datasets that the members of pools were trained on, as far as they are at hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from muster.data import ContentSketch, Dataset, content_prefixes, open_dataset
from muster.data.opening import (
    BOXES_PREFIX,
    DEPTHS_PREFIX,
    KEYPOINTS_PREFIX,
    SCENES_PREFIX,
    WORLD_PREFIX,
    apart,
    is_built_in,
)
from muster.data.published import all_published
from muster.data.sentences import CORPORA, TEXTS_NAME, TEXTS_PREFIX
from muster.data.worlds import WORLD_NAMES
from muster.data.worlds.depths import DEPTHS_NAME
from muster.data.worlds.objects import BOXES_NAME, KEYPOINTS_NAME
from muster.data.worlds.scenes import SCENES, SCENES_NAME
from muster.errors import ConfigError, DatasetError
from muster.files import read_yaml
from muster.pool import Member

POOL_CONFIG = "config.yaml"
"""Of a pool: with what train.py was asked for it."""

_COMPARED_IMAGES = 2000
"""Images of a folder that are compared with those that a card remembers: some seconds of reading."""


def source_datasets(
    members: Iterable[Member],
    targets: Mapping[str, Dataset],
    data_root: Path | None = None,
    pools: Sequence[Path] = (),
) -> tuple[dict[str, Dataset], dict[str, str]]:
    """Open the datasets that members were trained on.

    A folder of a dataset's name is looked for below the data root, beside the targets, and below the data root that a
    pool was trained from. Where a card knows the images, the folder must have some of them: another dataset may have
    the same name.

    Args:
        members: Of all pools; their cards name their sources.
        targets: These are open already.
        data_root: Folder of datasets.
        pools: Folders of the pools, whose configurations may name another one.

    Returns:
        Sources by name, in the order of the names, targets left out; and for each source that is not at hand the
        reason.
    """
    names = sorted({name for member in members for name in _names(member)} - set(targets))
    seen = {sketch.dataset: sketch for member in members for sketch in member.card.contents}
    roots = list(dict.fromkeys(_roots(targets.values(), data_root, pools)))
    found, missing = dict[str, Dataset](), dict[str, str]()
    for name in names:
        dataset, reason = _open(name, seen.get(name), roots)
        if dataset is None:
            missing[name] = reason
        else:
            found[name] = dataset
    return found, missing


def _names(member: Member) -> list[str]:
    """Its own sources, not what it started from."""
    card = member.card
    names = [source.dataset for source in card.sources] or [card.dataset]
    return [name for name in names if name and card.classes]


def _roots(targets: Iterable[Dataset], data_root: Path | None, pools: Sequence[Path]) -> Iterator[Path]:
    if data_root is not None:
        yield data_root.absolute()
    for dataset in targets:
        if not is_built_in(dataset.reference):
            yield Path(apart(dataset.reference)[0]).parent
    for pool in pools:
        with suppress(ConfigError):  # a pool from elsewhere may have none, or another file of that name
            config = read_yaml(pool / POOL_CONFIG, ConfigError)
            root = config.get("data_root") if isinstance(config, dict) else None
            if isinstance(root, str):
                yield Path(root).absolute()


def _open(name: str, seen: ContentSketch | None, roots: Sequence[Path]) -> tuple[Dataset | None, str]:
    """A dataset of that name, or why there is none."""
    reasons = []
    for reference in _references(name, roots):
        try:
            dataset = open_dataset(reference)
            if _is_the_one(dataset, name, seen):
                return dataset, ""
            reasons.append(f"{reference} is another dataset")
        except DatasetError as error:
            reasons.append(str(error))
    where = f"in {' or '.join(map(str, roots))}" if roots else "at hand: give --data_root"
    return None, "; ".join(reasons) or f"there is no folder of that name {where}"


def _references(name: str, roots: Sequence[Path]) -> Iterator[str]:
    if name in WORLD_NAMES:
        yield WORLD_PREFIX + name
    own = ((DEPTHS_NAME, DEPTHS_PREFIX), (BOXES_NAME, BOXES_PREFIX), (KEYPOINTS_NAME, KEYPOINTS_PREFIX))
    for begins, prefix in own:
        world = name.removeprefix(begins)
        if world != name and world in WORLD_NAMES:
            yield prefix + world
    scenes = name.removeprefix(SCENES_NAME)
    if scenes != name and scenes in SCENES:
        yield SCENES_PREFIX + scenes
    texts = name.removeprefix(TEXTS_NAME)
    if texts != name and texts in CORPORA:
        yield TEXTS_PREFIX + texts
    if name and Path(name).name == name:  # a name from elsewhere may be anything
        yield from (str(root / name) for root in roots if os.path.isdir(root / name))  # noqa: PTH112 (never an error)
    for meant in (each for each in all_published() if each.name == name):
        # Its folder may be called like another spec of the same files, as cityscapes is for cityscapes33.
        keys = [each.key for each in all_published() if each.source == meant.source]
        places = (root / key for root in roots for key in dict.fromkeys([meant.key, *keys]))
        yield from (f"{place}:{meant.key}" for place in places if os.path.isdir(place))  # noqa: PTH112


def _is_the_one(dataset: Dataset, name: str, seen: ContentSketch | None) -> bool:
    """Whether a member saw these images, as far as its card knows; else by the name."""
    if seen is None or not seen.images or dataset.train.content is None:
        return dataset.spec.name == name
    return seen.shared_with(frozenset(content_prefixes(dataset.train.subset(_COMPARED_IMAGES, 0)))) > 0
