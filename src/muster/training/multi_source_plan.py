"""What a plan says of members with a head for each of several datasets, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muster.data import Dataset
from muster.errors import ConfigError, some_names, unknown_name
from muster.files import as_file_name
from muster.tasks.task import task_of
from muster.training.planned_source import PlannedSource
from muster.training.settings import SourceSettings

EACH = "each"
"""What ``all_but`` says where there shall be a member for every dataset, without that dataset."""


@dataclass(frozen=True)
class MultiSource:
    """A member with one backbone and a head for each of several datasets.

    Attributes:
        architecture: A name as in the README, e.g. fpn:resnet18.
        pretraining: none, imagenet, or the path of a safetensors file; with weights, a word for what they have learned.
        weights: A safetensors file to start from, as in plan.networks.
        datasets: What it is trained on; by default all of plan.datasets.
        all_but: The name of one of them that is left out, so that the member is a candidate for it; each makes a member
            for every dataset, without that one.
        name: Name of the member; by default all_but_DATASET-ARCHITECTURE, and the pre-training unless it is none.
    """

    architecture: str
    pretraining: str = "none"
    weights: Path | None = None
    datasets: Sequence[str] = ()
    all_but: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse names that are missing, or that serve for no folder.

        Raises:
            ConfigError: If the members would have no name, or one name for several.
        """
        if self.name and self.name != as_file_name(self.name):
            raise self.error(f"name {self.name!r} does not serve as the name of a folder")
        if self.name and self.all_but == EACH:
            raise self.error(f"all_but: {EACH} makes several members, which cannot all have the name {self.name!r}")
        if self.datasets and not self.all_but and not self.name:
            raise self.error("expected a name for the member, as it is trained on datasets of your choice")

    def error(self, what: str) -> ConfigError:
        """An error that names this entry.

        Args:
            what: What is wrong, without a full stop.

        Returns:
            To be raised.
        """
        return ConfigError(f"plan.multi_source, {self.name or self.architecture!r}: {what}.")

    def members(self, opened: Sequence[PlannedSource]) -> list[tuple[str, tuple[PlannedSource, ...]]]:
        """The members that this entry is for.

        Args:
            opened: Its datasets.

        Returns:
            For each the first part of its name, where the entry has none, and its sources.

        Raises:
            ConfigError: If ``all_but`` is none of the datasets, no dataset is left, two have one name, they are for
                different tasks or for one whose heads no sources share, their images differ in channels, or a number
                of images is said of one of them alone.
        """
        if capped := [source.label for source in opened if source.train_images is not None]:
            raise self.error(
                f"{', '.join(capped)}: the number of training {opened[0].dataset.spec.holds} is the same for all "
                "sources of a member. Set it by an override (train_images)"
            )
        self._require_names([source.dataset for source in opened])
        if not self.all_but:
            self._require_alike(opened)
            return [("all", tuple(opened))]
        names = [source.dataset.spec.name for source in opened]
        if self.all_but not in (EACH, *names):
            raise self.error(f"all_but: {unknown_name('dataset', self.all_but, (EACH, *names)).rstrip('.')}")
        left_out = names if self.all_but == EACH else [self.all_but]
        others = {name: tuple(each for each in opened if each.dataset.spec.name != name) for name in left_out}
        for sources in others.values():
            self._require_alike(sources)
        return [(f"all_but_{name}", sources) for name, sources in others.items()]

    def _require_alike(self, sources: Sequence[PlannedSource]) -> None:
        specs = [source.dataset.spec for source in sources]
        tasks = {spec.task: spec.name for spec in specs}
        if len(tasks) > 1:
            came = ", ".join(f"{name} for {task}" for task, name in tasks.items())
            raise self.error(
                f"expected datasets for one task, as one loss trains all heads, but got {came}. Make a member of each "
                "task"
            )
        if task_of(specs[0]).finds_objects:
            raise self.error(
                f"{specs[0].task} has heads that several sources cannot share a layer with so far. Train a member for "
                "each source"
            )
        channels = {spec.channels for spec in specs}
        if len(channels) > 1:
            raise self.error(
                f"expected datasets whose images have the same number of channels, as one backbone sees them "
                f"all, but got {', '.join(map(str, sorted(channels)))}"
            )

    def _require_names(self, opened: Sequence[Dataset]) -> None:
        names = [dataset.spec.name for dataset in opened]
        if len(names) < (2 if self.all_but else 1):
            raise self.error(f"expected at least {2 if self.all_but else 1} datasets, but got {len(names)}")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise self.error(f"expected datasets of different names, but more than one is called {some_names(twice)}")


def require_one_rate(settings: SourceSettings) -> None:
    """Refuse to choose what is not chosen for a multi-source member.

    Args:
        settings: How the member is to be trained.

    Raises:
        ConfigError: If there are several rates or numbers of steps to choose from, or held-out images are to tell when
            the rate falls.
    """
    if settings.schedule == "plateau":
        raise ConfigError(
            "expected another schedule than plateau for a multi-source member: held-out samples of several datasets "
            "have no common loss. Give it one by an override."
        )
    if settings.tried_rates:
        raise ConfigError(
            "expected one learning rate, one number of steps and no tried_stops for a multi-source member, but got "
            f"learning_rates {list(settings.learning_rates)}, step_counts {list(settings.step_counts)} and tried_stops "
            f"{settings.tried_stops}: held-out samples of several datasets have no common result to choose by. Give it "
            "one of each by an override."
        )
