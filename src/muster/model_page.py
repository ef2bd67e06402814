"""The page of a model, a README.md with metadata: what it is, how to use it, and on whose terms, as hubs show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from muster.markdown import markdown_table
from muster.tasks.task import Task

PAGE = "README.md"

NOT_STATED = "not stated"
"""What stands for terms that nobody said."""

_CREATIVE_COMMONS = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")

_IDENTIFIERS = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "odbl", "pddl", "unlicense"),
    *("gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
    *(f"cc-{kind}-3.0" for kind in _CREATIVE_COMMONS),
    *(f"cc-{kind}-4.0" for kind in _CREATIVE_COMMONS),
)
"""Licences that the Hugging Face hub has a name for, of those that data and weights commonly come with."""


_INHERITED = (
    "Weights made with others' data and weights inherit their terms. All of these apply; muster adds none, and says "
    f"what it was told: *{NOT_STATED}* gives no permission."
)


@dataclass(frozen=True)
class ModelPage:
    """What the page of a model says.

    Attributes:
        title: Its heading.
        about: What it is, in sentences.
        usage: How to open it, as Python code.
        facts: What is known of it: label and value.
        classes: Its label space.
        licences: Terms of the data and weights that it is made from, by what they are of.
        task: What it predicts.
        datasets: Names of these datasets.
        citations: What to cite.
        tags: Words that it is found by, besides those that all have.
        reached: For each dataset that it was tested on, its result.
    """

    title: str
    about: str
    usage: str
    facts: Mapping[str, str]
    classes: Sequence[str]
    licences: Mapping[str, str]
    task: Task
    datasets: Sequence[str] = ()
    citations: Sequence[str] = ()
    tags: Sequence[str] = ()
    reached: Mapping[str, float] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The page's metadata, as the Hugging Face hub reads them."""
        known: dict[str, Any] = {
            **_licence_fields(self.licences.values()),
            "library_name": "muster",
            "pipeline_tag": self.task.hub_tags[0] if self.task.hub_tags else "",
            "tags": list(dict.fromkeys([*self.task.hub_tags, "pytorch", *self.tags])),
            "datasets": list(dict.fromkeys(map(as_identifier, self.datasets))),
            "metrics": [self.task.hub_metric],
        }
        if not self.task.hub_metric:
            del known["metrics"]
        elif self.reached:
            results = [_result(self.task, dataset, value) for dataset, value in self.reached.items()]
            known["model-index"] = [{"name": self.title, "results": results}]
        return {key: value for key, value in known.items() if value}

    def text(self) -> str:
        """The whole file."""
        head = yaml.safe_dump(self.metadata(), sort_keys=False, allow_unicode=True, width=1000)
        parts = [
            f"---\n{head}---\n\n# {_plain(self.title)}",
            _plain(self.about),
            f"```python\n{self.usage}\n```",
            _table(("", ""), self.facts.items()),
            f"**Classes**: {', '.join(map(_plain, self.classes))}.",
            "## Licences",
            _INHERITED,
            _table(("of", "terms"), self.licences.items()),
        ]
        if cited := [each for each in dict.fromkeys(self.citations) if each.strip()]:
            parts += ["## To cite", "\n".join(f"- {_plain(each)}" for each in cited)]
        return "\n\n".join(parts) + "\n"


def licence_identifier(terms: str) -> str | None:
    """The hub's name of a licence, where terms are nothing but a licence's name.

    Args:
        terms: As a dataset or a file of weights states them.

    Returns:
        The name; ``None`` for anything else, a sentence that mentions a licence included.

    Example:
        >>> licence_identifier("CC BY-SA 4.0"), licence_identifier("MIT (the code; terms of the images are unknown)")
        ('cc-by-sa-4.0', None)
    """
    plain = re.sub(r"[\s_-]+", "-", terms.strip().casefold()).removesuffix("-licence").removesuffix("-license")
    return plain if plain in _IDENTIFIERS else None


def as_identifier(name: str) -> str:
    """A dataset's name in the characters that a hub takes."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "unnamed"


def _licence_fields(terms: Iterable[str]) -> dict[str, str]:
    """One licence if all terms are that one; otherwise the page itself says which apply."""
    found = {licence_identifier(each) for each in terms}
    (only,) = found if len(found) == 1 else (None,)
    if only is not None:
        return {"license": only}
    return {"license": "other", "license_name": "terms-of-data-and-weights", "license_link": PAGE}


def _result(task: Task, dataset: str, value: float) -> dict[str, Any]:
    return {
        "task": {"type": task.hub_tags[0]},
        "dataset": {"type": as_identifier(dataset), "name": dataset, "split": "test"},
        "metrics": [{"type": task.hub_metric, "value": round(value, 4), "name": task.result}],
    }


def _table(headings: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(markdown_table(headings, [(_plain(label), _plain(value)) for label, value in rows]))


def _plain(text: str) -> str:
    """A text on one line that Markdown and HTML leave alone."""
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", " ".join(text.split()))
