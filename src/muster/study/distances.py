"""How far each target is from the datasets that members were trained on, by features of one network (M21 3.2).

Each dataset's features are a job of their own, kept as a result is; the distances and the map are made of those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from muster.data import Dataset, open_dataset
from muster.errors import ConfigError
from muster.files import read_yaml
from muster.machine import resolve_device
from muster.models import SOURCES
from muster.pool import Member
from muster.records import parse_record
from muster.study.cells import kind_of
from muster.study.papers.dataset_features import image_features
from muster.study.papers.domain_distance import domain_distances
from muster.study.papers.image_map import MAP_IMAGES, image_map
from muster.study.results import RECORD, StudyJob, read_table
from muster.study.tables import COLUMNS, PRE_TRAINING, SINGLE_SOURCE
from muster.tasks.task import seen_spec
from muster.training.finished import digest_of

FEATURES_TASK = "muster.study.distances:features_job"
TASK = "muster.study.distances:distances_job"
"""What a worker process is told to call."""

SEED = 0
"""Of the images of each dataset."""

MOST_ON_MAP = 1500
"""Images on the map, of all datasets together: its time grows with their square, and more dots hide each other."""

_FEWEST_ON_MAP = 4


@dataclass(frozen=True)
class FeaturesJob(StudyJob):
    """A dataset whose images a network is to see.

    Attributes:
        dataset: Where it lies, see :func:`muster.data.open_dataset`.
        images: Which of its training images.
        member: Folder of the network.
        checksum: Of its weights.
        image_size: To which images are resized.
        device: Where the network runs.
    """

    dataset: str
    images: tuple[str, ...]
    member: Path
    checksum: str
    image_size: int | str
    device: str

    @staticmethod
    def of(
        dataset: Dataset, images: int, member: Member, image_size: int | str, device: str, folder: Path
    ) -> FeaturesJob:
        """The job for a seeded choice of so many training images of a dataset."""
        chosen = dataset.train.subset(images, SEED).identifiers
        return FeaturesJob(folder, dataset.reference, chosen, member.folder, member.card.checksum, image_size, device)

    def description(self) -> str:
        """See :meth:`StudyJob.description`: wherever dataset and member lie."""
        return digest_of(
            {
                "images": self.images,
                "dataset": Path(self.dataset).name,
                "weights": self.checksum,
                "size": self.image_size,
            }
        )


def features_job(content: str, tell: Callable[[str], None]) -> str:
    """Look at a dataset's images in a worker process.

    Args:
        content: A :class:`FeaturesJob` as JSON.
        tell: Takes that it is done, as JSON.

    Returns:
        Nothing: the table lies in its folder.
    """
    job = parse_record(json.loads(content), FeaturesJob, "job", ConfigError)
    train = replace((dataset := open_dataset(job.dataset)).train, identifiers=job.images)
    device = resolve_device(job.device)
    model = Member.open(job.member).used_for(seen_spec(dataset.spec)).load_model(device)
    names, features = image_features(model, train, job.image_size, len(train), SEED, device)
    columns = [str(dimension) for dimension in range(features.shape[1])]
    table = pd.DataFrame(features, columns=columns)
    table.insert(0, "image", list(names))
    job.write_tables({"features": table})
    tell(json.dumps([1, None]))
    return ""


@dataclass(frozen=True)
class DistancesJob(StudyJob):
    """Datasets to compare with each other.

    Attributes:
        features: By dataset, the folder of its features; those that failed are passed over.
        domains: Of each.
        targets: Which of them are targets.
        member: Name of the network.
        kind: Its kind, see :mod:`muster.study.tables`.
    """

    features: dict[str, Path]
    domains: dict[str, str]
    targets: tuple[str, ...]
    member: str
    kind: str

    def description(self) -> str:
        """See :meth:`StudyJob.description`."""
        records = {name: folder / RECORD for name, folder in self.features.items()}
        known = {name: read_yaml(path, ConfigError) for name, path in records.items() if path.is_file()}
        return digest_of(
            {"features": known, "domains": self.domains, "targets": self.targets, "member": (self.member, self.kind)}
        )


def distances_job(content: str, tell: Callable[[str], None]) -> str:
    """Compare datasets in a worker process.

    Args:
        content: A :class:`DistancesJob` as JSON.
        tell: Takes that it is done, as JSON.

    Returns:
        Nothing: the tables lie in their folder.
    """
    job = parse_record(json.loads(content), DistancesJob, "job", ConfigError)
    read = {name: read_table(folder, "features") for name, folder in job.features.items()}
    job.write_tables(compare(job, {name: table for name, table in read.items() if len(table)}))
    tell(json.dumps([1, None]))
    return ""


def compare(job: DistancesJob, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Distances from targets to all other datasets, and the map of images.

    Args:
        job: Says what they are.
        tables: Of each dataset, ``image`` and the features.

    Returns:
        The tables ``distances`` and ``image_map`` of :mod:`muster.study.tables`.
    """
    features = {name: table.drop(columns="image").to_numpy() for name, table in tables.items()}
    distances = domain_distances(features, targets=job.targets).assign(member=job.member, kind=job.kind)
    if sum(map(len, features.values())) < _FEWEST_ON_MAP:
        return {"distances": distances, "image_map": pd.DataFrame(columns=list(COLUMNS["image_map"]))}
    shown = min(MAP_IMAGES, max(1, MOST_ON_MAP // len(features)))
    places = image_map(features, job.domains, shown, SEED)
    rows = zip(places["dataset"], places["image"], strict=True)
    places["image"] = [tables[name]["image"].iloc[place] for name, place in rows]
    return {"distances": distances, "image_map": places}


def network_for_distances(members: Iterable[Member], targets: Iterable[str] = ()) -> Member | None:
    """The network whose features datasets are compared by.

    M21 takes one that was trained on several datasets, so that none is at home in it alone.

    Args:
        members: Of all pools; programs that cannot be fine-tuned are passed over.
        targets: Of multi-source members with as many sources, the one that knows the most of these is taken.

    Returns:
        The multi-source member with the most sources; without one, the largest backbone straight from pre-training;
        without one, the member with the most training images. ``None`` if there is no member.
    """
    known, named = [m for m in members if SOURCES[m.card.built_by.library].can_be_finetuned], set(targets)
    kinds = {kind: [m for m in known if kind_of(m.card) == kind] for kind in (PRE_TRAINING, SINGLE_SOURCE)}
    several = [member for member in known if len(member.card.sources) > 1]
    if several:
        return min(several, key=lambda m: (-len(m.card.sources), -len(named & set(m.card.trained_on)), m.name))
    if kinds[PRE_TRAINING]:
        return min(kinds[PRE_TRAINING], key=lambda m: (-m.card.parameters, m.name))
    return min(kinds[SINGLE_SOURCE], key=lambda m: (-(m.card.train_images or 0), m.name), default=None)
