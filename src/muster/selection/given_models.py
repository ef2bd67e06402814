"""Models as somebody has them at hand, as members that can be scored: folders, names on a hub, modules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from muster.data import Preprocessing
from muster.errors import ConfigError, PoolError
from muster.files import as_file_name
from muster.models import SOURCES, Blueprint, SourceModel
from muster.models.adapted import adapt
from muster.models.adoption import Adopted, Adoption
from muster.models.hub_files import local_or_hub
from muster.models.model_source import facts_of, usual_side_of
from muster.pool import CARD, MEMBERS, Member, Pool, card_of_adopted
from muster.remote import address_of, fetched, with_copies
from muster.tasks.task import task_of

Given: TypeAlias = str | Path | nn.Module | Mapping[str, Any] | Member
"""A folder or a name on a hub, a network, or what a pool plan says of a model to adopt."""


@dataclass(frozen=True, eq=False)
class GivenMember(Member):
    """A member that lies in memory.

    Attributes:
        model: The network.
    """

    model: SourceModel = field(kw_only=True)

    def load_model(self, device: torch.device | str = "cpu") -> SourceModel:
        """The network, in evaluation mode."""
        model = self.model if self.target is None else task_of(self.target).fitted(self.model)
        return model.to(device).eval()

    def load_unverified(self, device: torch.device | str = "cpu") -> SourceModel:
        """See :meth:`load_model`: there are no files that could be others."""
        return self.load_model(device)

    def verified_checksum(self) -> str:
        """There is none to compare with."""
        return self.card.checksum

    def load_source_sample(self) -> dict[str, Tensor]:
        """There is none.

        Raises:
            PoolError: In any case.
        """
        raise PoolError(f"Member {self.name!r}: a model that is no member of a pool has no sample of its source.")


@dataclass(frozen=True)
class Glance(Adoption):
    """A model that is looked at and not kept: names of its classes, and mean and std of its images, may be missing."""

    where: ClassVar[str] = "models"

    def class_names(self, count: int, known: Sequence[str] = ()) -> tuple[str, ...]:
        """See :meth:`Adoption.class_names`; classes without a name are numbered."""
        return super().class_names(count, known or [f"class {index}" for index in range(count)])

    def preprocessing(self, own: Preprocessing | None = None) -> Preprocessing | None:
        """See :meth:`Adoption.preprocessing`; images are normalised as the target's if nothing is known."""
        said = (self.mean, self.std, self.image_size, self.channel_order)
        return None if own is None and said == (None,) * 4 else super().preprocessing(own)


def members_from(models: Given | Sequence[Given] | Mapping[str, Given]) -> tuple[Member, ...]:
    """Make members of models.

    Args:
        models: One or several. A path is the folder of a pool (all its members), of a member, or one that
            ``save_pretrained`` of transformers or SMP wrote, or timm for a hub, also in an object store
            (``s3://BUCKET/FOLDER``); other text is a name on a hub (``OWNER/NAME``). A module is a network that gives
            scores ``[b, classes, h, w]``, or of whole images ``[b, classes]``; a mapping with the key ``from`` is an
            entry of a pool plan's ``adopt``, and one whose ``model`` is a module says more of it (``classes``, ``mean``
            and ``std``, ``image_size``, ``layer``). Any other mapping gives names to models. Without ``classes`` they
            are numbered; without ``mean`` and ``std`` images are normalised by those of the target. A module of timm
            says both itself.

    Returns:
        The members, their names made distinct.

    Raises:
        MusterError: If one is none of these, or cannot be read or understood.
    """
    found: list[Member] = []
    taken: set[str] = set()
    for name, given in _named(models):
        members = list(_members(given))
        for member in members:
            called = name if name and len(members) == 1 else member.name
            found.append(_called(member, _distinct(called, taken)))
            taken.add(found[-1].name)
    if not found:
        raise ConfigError("models: expected at least one model, but got none.")
    return tuple(found)


def _named(models: Given | Sequence[Given] | Mapping[str, Given]) -> Iterator[tuple[str, Given]]:
    if isinstance(models, Mapping) and "from" not in models and not isinstance(models.get("model"), nn.Module):
        yield from models.items()
    elif isinstance(models, str | Path | nn.Module | Mapping | Member):
        yield "", models
    else:
        yield from (("", given) for given in models)


def _members(given: Given) -> Iterator[Member]:
    if isinstance(given, Member):
        yield given
    elif isinstance(given, nn.Module):
        yield _of_module({"model": given})
    elif isinstance(given, Mapping):
        own = isinstance(given.get("model"), nn.Module)
        yield _of_module(given) if own else _adopted({"name": _name_of(given), **given})
    elif isinstance(given, str | Path):
        yield from _of_path(str(given))
    else:
        raise ConfigError(
            f"models: expected paths, names on a hub, torch modules or mappings, but got a {type(given).__name__}."
        )


def _of_path(given: str) -> Iterator[Member]:
    path = fetched(with_copies(Path(given))).expanduser()
    given = given if address_of(path) is None else str(path)  # a hub has no addresses of stores
    if (path / CARD).is_file():
        yield Member.open(path)
    elif (path / MEMBERS).is_dir():
        yield from Pool.open(path)
    else:
        entry = {"name": as_file_name(path.name), "from": _library_of(given), "model": given}
        yield _adopted(entry)


def _library_of(given: str) -> str:
    """Which library's ``save_pretrained`` wrote a folder, by its config."""
    path = local_or_hub(given, ("config.json",)) / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"models: {given} is neither a pool, nor a member, nor a folder or a model on a hub that save_pretrained "
            f"wrote: {path} cannot be read ({error}). A file of weights needs a mapping: {{from: smp, architecture: "
            "..., weights: ..., classes: [...]}}, as in a pool plan."
        ) from error
    if "_model_class" in config:
        return "smp"
    return "timm" if "architecture" in config and "model_type" not in config else "transformers"


def _adopted(content: Mapping[str, Any]) -> Member:
    """A member of what a model source makes of an entry."""
    entry = Glance.from_mapping(content)
    return _member(entry.name, SOURCES[entry.source].adopt(entry), entry)


def _of_module(content: Mapping[str, Any]) -> Member:
    """A member of a network; it is copied, as finding its classifier changes it."""
    said = {key: value for key, value in content.items() if key != "model"}
    network: nn.Module = content["model"]
    given = str(said.pop("name", "") or as_file_name(type(network).__name__))
    entry = Glance.from_mapping({"name": given, "from": "python", **said})
    model: SourceModel
    names, task = tuple[str, ...](), ""
    if isinstance(network, SourceModel):
        model = deepcopy(network)
    else:
        known, side = facts_of(network), usual_side_of(entry, network)
        blueprint = Blueprint("python", type(network).__name__)
        model = adapt(blueprint, deepcopy(network).cpu().float(), entry.layer, usual_side=side)
        model.preprocessing, names, task = known.preprocessing, known.classes, known.task
    return _member(given, Adopted(model, entry.complete(model, model.preprocessing, names), task=task), entry)


def _member(name: str, adopted: Adopted, entry: Adoption) -> Member:
    card = card_of_adopted(adopted, name, entry.dataset, task=entry.task)
    return GivenMember(Path(name), card, model=adopted.model.eval())


def _name_of(entry: Mapping[str, Any]) -> str:
    """A name for an entry that has none: the last part of what it names."""
    named = str(entry.get("model") or entry.get("weights") or entry.get("architecture") or "model")
    return as_file_name(Path(named).name)


def _distinct(name: str, taken: set[str]) -> str:
    number, found = 2, name
    while found in taken:
        number, found = number + 1, f"{name}-{number}"
    return found


def _called(member: Member, name: str) -> Member:
    return member if member.name == name else replace(member, card=replace(member.card, name=name))
