"""Any module of a user's own code, by the name of a function that builds it."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from torch import nn

from muster.errors import ConfigError
from muster.models.adapted import adapt, cut
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.model_source import SOURCES, ModelSource, usual_side_of
from muster.models.source_model import SourceModel
from muster.models.tensors import load_tensors, read_tensors

_BUILDER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Python(ModelSource):
    """``from: python``: ``model`` is ``package.module:build``, a function without arguments that gives the network."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("model", "weights")
        entry.unused("architecture", "encoder", "pretraining", "arguments")
        network = built(entry.model)
        path = Path(str(entry.weights)).expanduser()
        load_tensors(network, read_tensors(path), str(path))
        blueprint = Blueprint("python", type(network).__name__, {"builder": entry.model})
        model = adapt(blueprint, network, entry.layer, usual_side=usual_side_of(entry, network))
        return Adopted(model, entry.complete(model))

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (the network says it)
        """See :meth:`ModelSource.build`."""
        return cut(blueprint, built(blueprint.config["builder"]))


def built(builder: str) -> nn.Module:
    """Call a function of the user's own.

    The name comes from the user, or from the card of a member: opening such a member runs the code that is installed
    here under that name, and no other.

    Args:
        builder: ``package.module:function``.

    Returns:
        What it built.

    Raises:
        ConfigError: If there is no such function, it fails, or it gives something else than a module.
    """
    if not _BUILDER.fullmatch(builder):
        raise ConfigError(f"model: expected a builder as package.module:function, but got {builder!r}.")
    package, _, name = builder.partition(":")
    try:
        function = getattr(import_module(package), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"model: {builder!r} cannot be imported ({error}). Install the package, or put its folder on PYTHONPATH."
        ) from error
    if not callable(function):
        raise ConfigError(f"model: {builder!r} is a {type(function).__name__}, not a function that builds a network.")
    try:
        network = function()
    except Exception as error:
        raise ConfigError(f"model: {builder!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"model: {builder!r} gave a {type(network).__name__}, not a torch module.")
    return network.float()


SOURCES.add("python", Python())
