"""Docstrings name other objects as :func:`muster.select`; in the site these become links where there is a page."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`")


class SphinxRoles(griffe.Extension):
    """Turns roles into references, which stay plain names where nothing is there to refer to."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(lambda role: _reference(role, obj), obj.docstring.value)


def _is_module_of_its_name(obj: griffe.Object, path: str) -> bool:
    """Whether a path such as ``muster.metrics.eep`` is that of a module with a function ``eep`` in it."""
    try:
        found = obj.modules_collection[path]
    except KeyError:
        return False
    return bool(found.is_module) and found.name in found.members


def _reference(role: re.Match[str], obj: griffe.Object) -> str:
    short, name = role[1], role[2]
    shown = name.rpartition(".")[2] if short else name
    try:
        path = name if name.startswith("muster.") else obj.resolve(name)
    except griffe.NameResolutionError:
        path = name
    if _is_module_of_its_name(obj, path):
        path = f"{path}.{path.rpartition('.')[2]}"
    return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'
