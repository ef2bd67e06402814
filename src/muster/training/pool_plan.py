"""What a pool shall hold: datasets x architectures x pre-trainings, with exceptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from muster.data import Dataset, ImageSize, open_dataset, require_usable, warn_of_shared_images
from muster.data.opening import is_built_in
from muster.errors import ConfigError, unknown_name
from muster.expected import find_misfit
from muster.files import as_file_name, to_builtin_types
from muster.models import SOURCES, build_model, check_architecture, weights_file
from muster.models.adoption import Adoption
from muster.pool import WEIGHTS
from muster.tasks.task import choose_images, in_classes
from muster.training.adoption import AdoptionJob
from muster.training.checks import require_shared_batches, require_trainable
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.multi_source_plan import MultiSource, require_one_rate
from muster.training.planned_source import open_source
from muster.training.settings import SourceSettings

_MOST_MASKS = 5000
"""Masks of a split that are looked at before anything is trained: some twenty seconds. A worker reads them all."""


class Override:
    """Other settings for some members; what is left out stays as it is for all.

    In YAML a mapping: ``{members: "attic-*", steps: 30, crop_size: null}``.

    Attributes:
        members: Names of the members concerned; ``*`` and ``?`` are wildcards.
        settings: Any of :class:`muster.training.settings.SourceSettings`, by name.
    """

    def __init__(self, members: str, **settings: object) -> None:
        """Keep what is named.

        Args:
            members: Names of the members concerned.
            settings: What is other for them; ``None`` where that is a value of the setting.

        Raises:
            ConfigError: If a name is no setting, or a value has the wrong type.
        """
        kinds = self.kinds()
        for name, value in {"members": members, **settings}.items():
            if name not in kinds:
                raise ConfigError(f"plan.overrides for {members!r}: {unknown_name('training setting', name, kinds)}")
            if misfit := find_misfit(name, to_builtin_types(value), kinds[name]):
                raise ConfigError(f"plan.overrides for {members!r}: {misfit.sentence}")
        self.members, self.settings = members, settings

    @staticmethod
    def kinds() -> dict[str, Any]:
        """The keys of such a mapping, with their types: those of the settings, and ``members``."""
        hints = get_type_hints(SourceSettings)
        return {"members": str, **{field.name: hints[field.name] for field in fields(SourceSettings)}}

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Override:
        """Read a mapping, as YAML gives it."""
        return cls(**content)

    def to_mapping(self) -> dict[str, Any]:
        """The mapping that gives the same again, in plain values."""
        named: dict[str, Any] = to_builtin_types({"members": self.members, **self.settings})
        return named

    def __eq__(self, other: object) -> bool:
        """Whether another is the same."""
        return isinstance(other, Override) and self.to_mapping() == other.to_mapping()

    def __hash__(self) -> int:
        """The hash of the members' names; equal overrides have the same."""
        return hash(self.members)

    def apply(self, settings: SourceSettings) -> SourceSettings:
        """The settings with what this override names put in.

        Raises:
            ConfigError: If a value is out of its range.
        """
        kinds = self.kinds()
        # YAML has lists where the settings have tuples, and takes 1e-3 for a text.
        given = {name: _as_kind(value, kinds[name]) for name, value in self.settings.items()}
        try:
            return replace(settings, **given)
        except ConfigError as error:
            raise ConfigError(f"plan.overrides for {self.members!r}: {error}") from error


def _as_kind(value: object, kind: object) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_as_kind(each, float) for each in value)
    return float(value) if kind is float and isinstance(value, str | int) else value


@dataclass(frozen=True)
class Network:
    """An architecture and what it starts from.

    Attributes:
        architecture: A name as in the README, e.g. fpn:resnet18.
        pretraining: none, imagenet, or the path of a safetensors file; with weights, a word for what they have learned.
        weights: A safetensors file to start from, of the whole architecture or of its backbone alone.
        datasets: On which of the plan's datasets it is trained; on all of them unless some are named.
    """

    architecture: str
    pretraining: str = "none"
    weights: Path | None = None
    datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse weights that have learned nothing, and words that would not stand in a name.

        Raises:
            ConfigError: If there are weights, but no word for what they have learned.
        """
        if self.weights is not None and as_file_name(self.pretraining) != self.pretraining:
            raise ConfigError(
                f"plan: expected a word for what {str(self.weights)!r} has learned, such as "
                f"pretraining: imagenet, but got {self.pretraining!r}."
            )
        if self.weights is not None and self.pretraining == "none":
            raise ConfigError(
                f"plan: {self.architecture!r} starts from weights ({self.weights}): say what they have "
                "learned, such as pretraining: imagenet."
            )

    @property
    def start(self) -> str:
        """The pre-training as :func:`muster.models.build_model` takes it."""
        return self.pretraining if self.weights is None else str(self.weights)


@dataclass(frozen=True)
class PoolPlan:
    """A pool: every dataset with every architecture and pre-training and with every network named; and adopted models.

    Attributes:
        datasets: Folders with a dataset.yaml, or built-in worlds as worlds/NAME. FOLDER@150 takes a seeded choice of
            150 training images, and worlds/NAME@2000 has 2000 of them.
        architectures: Names as in the README, e.g. small_fpn, hrnet_w18 or fpn:resnet18.
        pretrainings: none, imagenet, or the path of a safetensors file.
        overrides: Other settings for some members; later ones win.
        networks: Architectures that each name what they start from; one after the other, each on every dataset, or on
            those that it names.
        multi_source: Members with one backbone and a head for each of several datasets; each a mapping with
            architecture, and more.
        adopt: Models that others trained, see docs/adopting.md; each a mapping with name, from, and more.
    """

    datasets: Sequence[str] = ()
    architectures: Sequence[str] = ()
    pretrainings: Sequence[str] = ("none",)
    overrides: Sequence[Override] = ()
    networks: Sequence[Network] = ()
    multi_source: Sequence[MultiSource] = ()
    adopt: Sequence[Adoption] = ()

    @property
    def references(self) -> list[str]:
        """What is trained on, datasets of multi-source members alone included; each once."""
        own = (reference for entry in self.multi_source for reference in entry.datasets)
        return list(dict.fromkeys([*self.datasets, *own]))


def member_name(dataset: str, architecture: str, pretraining: str) -> str:
    """Name of a member, fit for a folder: ``camvid-fpn_resnet18``, with the pre-training last unless it is none."""
    parts = [dataset, architecture] + ([] if pretraining == "none" else [_pretraining_name(pretraining)])
    return "-".join(as_file_name(part) for part in parts)


def _pretraining_name(pretraining: str) -> str:
    """The word itself, the file's name, or that of the member it is of."""
    path = Path(pretraining)
    if path.suffix.lower() != Path(WEIGHTS).suffix:
        return pretraining
    return path.resolve().parent.name if path.name == WEIGHTS else path.stem


def plan_jobs(
    plan: PoolPlan,
    settings: SourceSettings,
    pool: Path,
    hardware: Hardware,
    data_root: Path | None = None,
    logger: tuple[str, ...] = ("csv",),
) -> list[MemberJob]:
    """Spell a plan out, and check at the door what can be checked without training.

    Args:
        plan: What the pool shall hold.
        settings: For all members that no override names.
        pool: The pool's folder.
        hardware: What to compute on.
        data_root: Folder below which datasets are looked for.
        logger: Kinds of loggers that curves go to.

    Returns:
        One job a member to be trained: first every architecture with every pre-training, dataset by dataset, then
        network by network, then the multi-source members.

    Raises:
        DatasetError: If a dataset cannot be opened, a mask cannot be read, or only one class of a split has labelled
            pixels.
        PretrainingError: If weights to start from are not there or do not fit.
        ConfigError: If nothing is planned, two members would have the same name, an override matches none or has a
            value out of range, or a member's batches or crops cannot work.
    """
    planned = _planned(plan, data_root)
    jobs = [
        MemberJob(
            each.name,
            pool,
            "" if each.shares_body else each.sources[0].reference,
            each.network.architecture,
            each.network.pretraining,
            _settings(each, plan, settings),
            hardware,
            logger,
            each.network.weights,
            tuple(source.reference for source in each.sources) if each.shares_body else (),
        )
        for each in planned
    ]
    _check(plan, [*(job.name for job in jobs), *(entry.name for entry in plan.adopt)])
    used = {source.reference: source for each in planned for source in each.sources}
    for dataset in used.values():
        warn_of_shared_images(dataset)
    for job in jobs:
        _check_batches(job, used)
    _check_data(list(used.values()), jobs)
    return jobs


class _Planned(NamedTuple):
    """A member to be trained.

    Attributes:
        name: Its name.
        network: Its network.
        sources: Its sources.
        shares_body: Whether it has a head for each of them.
        train_images: How many training images are used, where the plan says so of its source.
    """

    name: str
    network: Network
    sources: tuple[Dataset, ...]
    shares_body: bool = False
    train_images: int | None = None


def _planned(plan: PoolPlan, data_root: Path | None) -> list[_Planned]:
    """The members of a plan that are to be trained, in order."""
    opened = {reference: open_source(reference, data_root) for reference in plan.references}
    of_plan = [opened[reference] for reference in plan.datasets]
    _check_networks(plan)
    grid = [Network(*each) for each in product(plan.architectures, plan.pretrainings)]
    bodies = [Network(entry.architecture, entry.pretraining, entry.weights) for entry in plan.multi_source]
    _check_starts([*grid, *plan.networks, *bodies])
    single = [
        *product(of_plan, grid),
        *(
            (opened[reference], network)
            for network in plan.networks
            for reference in plan.datasets
            if not network.datasets or reference in network.datasets
        ),
    ]
    planned = [
        _Planned(
            member_name(source.label, network.architecture, network.pretraining),
            network,
            (source.dataset,),
            train_images=source.train_images,
        )
        for source, network in single
    ]
    for entry, body in zip(plan.multi_source, bodies, strict=True):
        own = [opened[reference] for reference in entry.datasets] or of_plan
        for called, sources in entry.members(own):
            name = entry.name or member_name(called, body.architecture, body.pretraining)
            planned.append(_Planned(name, body, sources, shares_body=True))
    return planned


def _check_networks(plan: PoolPlan) -> None:
    for network in plan.networks:
        for reference in network.datasets:
            if reference not in plan.datasets:
                told = unknown_name("dataset of plan.datasets", reference, plan.datasets)
                raise ConfigError(f"plan.networks, {network.architecture}: {told}")


def _check_starts(networks: Sequence[Network]) -> None:
    """Refuse unknown architectures, and weights that are not there or do not fit; those of a hub are not asked for."""
    for network in networks:
        check_architecture(network.architecture)
    for network in networks:
        if weights_file(network.architecture, network.start) is not None:
            build_model(network.architecture, 1, network.start)


def _check_data(datasets: Sequence[Dataset], jobs: Sequence[MemberJob]) -> None:
    """Look once at the masks that members yet to be trained need; where they are used, all is read in full.

    The built-in worlds are known to be sound, and are drawn anew for each look.
    """
    for dataset in datasets:
        waiting = [job for job in jobs if dataset.reference in job.sources and not job.folder.is_dir()]
        if not waiting or is_built_in(dataset.reference):
            continue
        for count, seed in dict.fromkeys((job.settings.train_images, job.settings.seed) for job in waiting):
            some = choose_images(dataset.train, count, seed).subset(_MOST_MASKS, seed)
            require_usable(in_classes(some), masks_only=True)
        require_usable(in_classes(dataset.test.subset(_MOST_MASKS, 0)), masks_only=True)


def _check_batches(job: MemberJob, opened: Mapping[str, Dataset]) -> None:
    """What a training would refuse at its start. A network is built for it only where the batch is a single image."""
    try:
        if job.datasets:
            require_one_rate(job.settings)
        job.own_statistics()
        job.hardware.require_devices(job.hardware.devices)
        require_shared_batches(job.settings, job.hardware.devices)  # torchrun or not, a member has its own processes
        if job.settings.batch_size == 1:
            classes = opened[job.sources[0]].spec.num_classes
            model = build_model(job.architecture, classes)
            require_trainable({job.name: model}, job.settings, ImageSize.of(job.settings.image_size))
    except ConfigError as error:
        raise ConfigError(f"{job.name}: {error}") from error


def _settings(member: _Planned, plan: PoolPlan, settings: SourceSettings) -> SourceSettings:
    """Those of all members, with what overrides say; a number of images that stands with a dataset goes before both."""
    for override in plan.overrides:
        if fnmatchcase(member.name, override.members):
            settings = override.apply(settings)
    return settings if member.train_images is None else replace(settings, train_images=member.train_images)


def plan_adoptions(plan: PoolPlan, pool: Path, hardware: Hardware, data_root: Path | None = None) -> list[AdoptionJob]:
    """What a plan says of models that others trained, checked as far as it can be without opening them.

    Args:
        plan: What the pool shall hold.
        pool: The pool's folder.
        hardware: What to compute on.
        data_root: Folder below which datasets are looked for.

    Returns:
        One job a model, in the order of the plan.

    Raises:
        ConfigError: If a source is not known.
        DatasetError: If a dataset is not there.
    """
    for entry in plan.adopt:
        SOURCES[entry.source]
        if entry.data is not None:
            open_dataset(entry.data, data_root)
    return [AdoptionJob(pool, entry, hardware, data_root) for entry in plan.adopt]


def _check(plan: PoolPlan, names: Sequence[str]) -> None:
    starts = bool(plan.architectures and plan.pretrainings) or bool(plan.networks)
    of_plan = any(not entry.datasets for entry in plan.multi_source)
    asks_for_training = bool(plan.datasets or plan.architectures or plan.networks)
    if not names or (asks_for_training and not (plan.datasets and (starts or of_plan))):
        raise ConfigError(
            "plan: expected at least one dataset, and one architecture with a pre-training or one of networks or "
            "multi_source; or models to adopt."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"plan: more than one member would be named {', '.join(twice)}. Name each entry once.")
    for override in plan.overrides:
        if not any(fnmatchcase(name, override.members) for name in names):
            raise ConfigError(
                f"plan.overrides: no member matches {override.members!r}. The members are: {', '.join(names)}."
            )
