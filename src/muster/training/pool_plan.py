"""What a pool shall hold: datasets x architectures x pre-trainings, with exceptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

from muster.data import Dataset, open_dataset, require_usable, size_for, warn_of_shared_images
from muster.data.opening import is_built_in
from muster.errors import ConfigError, unknown_name
from muster.files import as_file_name
from muster.models import SOURCES, build_model, check_architecture, weights_file
from muster.models.adoption import Adoption
from muster.pool import WEIGHTS
from muster.tasks.task import choose_images, in_classes
from muster.training.adoption import AdoptionJob
from muster.training.checks import require_shared_batches, require_trainable
from muster.training.hardware import Hardware
from muster.training.member_job import MemberJob
from muster.training.multi_source_plan import MultiSource, require_one_rate
from muster.training.plan_entries import Network, Override
from muster.training.planned_source import PlannedSource, open_source
from muster.training.settings import SourceSettings

_MOST_MASKS = 5000
"""Masks of a split that are looked at before anything is trained: some twenty seconds. A worker reads them all."""


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
    _check_starts(_networks(plan))
    jobs, sources = spell_out(plan, settings, pool, hardware, data_root, logger)
    for dataset in sources.values():
        warn_of_shared_images(dataset)
    for job in jobs:
        _check_batches(job, sources)
    _check_data(list(sources.values()), jobs)
    return jobs


def spell_out(
    plan: PoolPlan,
    settings: SourceSettings,
    pool: Path,
    hardware: Hardware,
    data_root: Path | None = None,
    logger: tuple[str, ...] = ("csv",),
    open_one: Callable[[str, Path | None], PlannedSource] = open_source,
) -> tuple[list[MemberJob], dict[str, Dataset]]:
    """Spell a plan out without a look at images and weights.

    Args:
        plan: See :func:`plan_jobs`; so are the others.
        settings: For all members that no override names.
        pool: The pool's folder.
        hardware: What to compute on.
        data_root: Folder below which datasets are looked for.
        logger: Kinds of loggers that curves go to.
        open_one: Opens a dataset of the plan.

    Returns:
        One job a member, and the datasets by the references that jobs have.

    Raises:
        DatasetError: If a dataset cannot be opened.
        ConfigError: If nothing is planned, a name is not known, two members would have the same name, or an override
            matches none or has a value out of range.
    """
    planned = _planned(plan, data_root, open_one)
    jobs = [
        MemberJob(
            each.name,
            pool,
            "" if each.shares_body else each.sources[0].dataset.reference,
            each.network.architecture,
            each.network.pretraining,
            _settings(each, plan, settings),
            hardware,
            logger,
            each.network.weights,
            tuple(source.dataset.reference for source in each.sources) if each.shares_body else (),
        )
        for each in planned
    ]
    _check(plan, [*(job.name for job in jobs), *(entry.name for entry in plan.adopt)], planned)
    return jobs, {source.dataset.reference: source.dataset for each in planned for source in each.sources}


class _Planned(NamedTuple):
    """A member to be trained.

    Attributes:
        name: Its name.
        network: Its network.
        sources: Its sources.
        shares_body: Whether it has a head for each of them.
    """

    name: str
    network: Network
    sources: tuple[PlannedSource, ...]
    shares_body: bool = False

    @property
    def references(self) -> list[str]:
        """Its sources, as the plan writes them."""
        return [source.reference for source in self.sources]


def _grid(plan: PoolPlan) -> list[Network]:
    return [Network(*each) for each in product(plan.architectures, plan.pretrainings)]


def _bodies(plan: PoolPlan) -> list[Network]:
    return [Network(entry.architecture, entry.pretraining, entry.weights) for entry in plan.multi_source]


def _networks(plan: PoolPlan) -> list[Network]:
    """All of them."""
    return [*_grid(plan), *plan.networks, *_bodies(plan)]


def _planned(
    plan: PoolPlan, data_root: Path | None, open_one: Callable[[str, Path | None], PlannedSource]
) -> list[_Planned]:
    """The members of a plan that are to be trained, in order."""
    _check_architectures(_networks(plan))
    opened = {reference: open_one(reference, data_root) for reference in plan.references}
    of_plan = [opened[reference] for reference in plan.datasets]
    _check_networks(plan)
    single = [
        *product(of_plan, _grid(plan)),
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
            (source,),
        )
        for source, network in single
    ]
    for entry, body in zip(plan.multi_source, _bodies(plan), strict=True):
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


def _check_architectures(networks: Sequence[Network]) -> None:
    for network in networks:
        check_architecture(network.architecture)


def _check_starts(networks: Sequence[Network]) -> None:
    """Refuse weights that are not there or do not fit; those of a hub are not asked for."""
    _check_architectures(networks)
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
            spec = opened[job.sources[0]].spec
            model = build_model(job.architecture, spec.num_classes)
            require_trainable({job.name: model}, job.settings, size_for(spec, job.settings.image_size))
    except ConfigError as error:
        raise ConfigError(f"{job.name}: {error}") from error


def _settings(member: _Planned, plan: PoolPlan, settings: SourceSettings) -> SourceSettings:
    """Those of all members, with what overrides say; a number of images that stands with a dataset goes before both."""
    for override in plan.overrides:
        if override.matches(member.name, member.references):
            settings = override.apply(settings)
    counts = [] if member.shares_body else [source.train_images for source in member.sources]
    return replace(settings, train_images=counts[0]) if any(counts) else settings


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


def _check(plan: PoolPlan, names: Sequence[str], planned: Sequence[_Planned]) -> None:
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
        if not any(override.matches(member.name, member.references) for member in planned):
            raise ConfigError(
                f"plan.overrides: no member matches {override.told}. The members are: {', '.join(names)}."
            )
