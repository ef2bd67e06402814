"""Built-in datasets of texts: sentences made by rule, so that a training of seconds has something to learn.

Each set has a handful of classes. A text is a few sentences; their words are neutral ones, words of its class, and now
and then a word of another class, so that no set is learned without a fault. ``reviews`` and ``posts`` share their words
of praise and blame, ``moods`` has some of them, ``news`` and ``questions`` have their topics in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from muster.data.content import prefix_of_text
from muster.data.labelled_texts import of_texts
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.data.texts import encode_text
from muster.errors import DatasetError, unknown_name

TEXTS_PREFIX = "texts/"
"""What references of these datasets begin with."""

TEXTS_NAME = "texts_"
"""What their names begin with."""

WRITING_VERSION = 1
"""Raise it when a change makes sets have other texts: members of the old ones have not seen the new ones."""

_FIRST_TEST = 5000
_SENTENCES = (2, 3)
_STRANGE = 0.15
"""Share of words of another class in place of the class's own."""

_GOOD = "wonderful charming brilliant delightful superb lovely moving clever fresh perfect"
_BAD = "dreadful boring clumsy awful tedious ugly lifeless stupid broken painful"
_POLITICS = "minister election treaty parliament border embassy vote government summit crisis"
_SPORTS = "goal match league coach striker trophy season referee champion stadium"
_MONEY = "market shares profit bank merger prices investors budget trade earnings"
_SCIENCE = "planet software laboratory genome telescope engineers robot network satellite experiment"


@dataclass(frozen=True)
class Corpus:
    """A set of texts to be made.

    Attributes:
        domain: What its description says it is.
        classes: Class name to its words, separated by spaces.
        sentences: Sentences with two places for words of the class, ``{a}`` and ``{b}``, and one for a neutral one.
        neutral: Words that say nothing of the class.
        train: Training texts of each class.
        test: Test texts of each class.
    """

    domain: str
    classes: Mapping[str, str]
    sentences: tuple[str, ...]
    neutral: str
    train: int = 60
    test: int = 30


_ON_FILMS = (
    "The {n} was {a} and rather {b}.", "I found the whole {n} {a}, even {b}.", "What a {a} {n}, what a {b} evening!",
    "My friends called its {n} {a}; I would say {b}.", "A {a} story with a {b} {n}.",
)  # fmt: skip
_ON_EVENTS = (
    "On {n} the {a} was all about the {b}.", "Reports of {n} name the {a} and a new {b}.",
    "After the {a}, the {b} is expected by {n}.", "Experts said on {n} that one {a} more would change the {b}.",
)  # fmt: skip
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_OF_FILMS = "film plot acting music ending cast script scenery dialogue picture"

CORPORA: Mapping[str, Corpus] = {
    "reviews": Corpus("film reviews", {"negative": _BAD, "positive": _GOOD}, _ON_FILMS, _OF_FILMS),
    "posts": Corpus(
        "short posts",
        {"negative": _BAD, "neutral": "ordinary usual average common normal plain regular typical", "positive": _GOOD},
        ("{n} again: {a}, {b}, that is it.", "today my {n} is {a} and {b}", "so {a}! the {n} feels {b}"),
        "bus coffee lunch phone class weather train email garden neighbour",
    ),
    "moods": Corpus(
        "diary entries",
        {
            "joy": "happy cheerful glad delightful lovely grateful thrilled smiling",
            "sadness": "sad lonely tearful gloomy hopeless lifeless grieving empty",
            "anger": "furious angry bitter outraged hateful annoyed painful mad",
            "fear": "afraid nervous scared anxious shaking terrified worried uneasy",
        },
        ("i feel {a} and {b} about the {n}", "all {n} i was {a}, then {b}", "the {n} left me {a}, nearly {b}"),
        "morning evening meeting exam journey call visit letter news weekend",
    ),
    "news": Corpus(
        "news", {"world": _POLITICS, "sports": _SPORTS, "business": _MONEY, "science": _SCIENCE}, _ON_EVENTS, _DAYS
    ),
    "questions": Corpus(
        "questions",
        {"politics": _POLITICS, "sports": _SPORTS, "science": _SCIENCE},
        (
            "Who knows the {a} of the {b} on {n}?",
            "Why does a {a} need a {b} every {n}?",
            "Which {a} had the {b} last {n}?",
        ),
        _DAYS,
    ),
}
"""Built-in sets by name."""


def open_texts(name: str) -> Dataset:
    """Open a built-in dataset of texts.

    Args:
        name: One of :data:`CORPORA`.

    Returns:
        The dataset, with reference ``"texts/NAME"``.

    Raises:
        DatasetError: If there is none of that name.

    Example:
        >>> from muster.data.texts import decode_text
        >>> decode_text(open_texts("posts").train[2].image)  # doctest: +ELLIPSIS
        'today my class is brilliant and delightful. email again: delightful, superb, that is it. so perfect! ...'
    """
    if name not in CORPORA:
        raise DatasetError(unknown_name("built-in texts", name, CORPORA))
    corpus = CORPORA[name]
    spec = of_texts(
        DatasetSpec(
            name=f"{TEXTS_NAME}{name}",
            domain=corpus.domain,
            classes=tuple(corpus.classes),
            source="written by muster.data.sentences",
            licence="Apache-2.0",
        )
    )
    splits = []
    for split, first, each in (("train", 0, corpus.train), ("test", _FIRST_TEST, corpus.test)):
        identifiers = tuple(f"{first + number:04d}" for number in range(each * len(corpus.classes)))
        splits.append(
            Split(spec, split, identifiers, partial(_read, name), partial(_class_of, name), partial(_content, name))
        )
    return Dataset(spec, splits[0], splits[1], f"{TEXTS_PREFIX}{name}")


def write_text(name: str, number: int) -> str:
    """One text of a set, the same on every machine.

    Args:
        name: One of :data:`CORPORA`.
        number: Its class is the remainder by the number of classes.
    """
    corpus = CORPORA[name]
    words = [each.split() for each in corpus.classes.values()]
    own, draw = number % len(words), np.random.default_rng((WRITING_VERSION, list(CORPORA).index(name), number))

    def of_class() -> str:
        other = (own + int(draw.integers(1, len(words)))) % len(words)
        known = words[other if draw.random() < _STRANGE else own]
        return known[int(draw.integers(len(known)))]

    neutral, said = corpus.neutral.split(), []
    for _ in range(int(draw.choice(_SENTENCES))):
        sentence = corpus.sentences[int(draw.integers(len(corpus.sentences)))]
        filled = sentence.format(a=of_class(), b=of_class(), n=neutral[int(draw.integers(len(neutral)))])
        said.append(filled if filled[-1] in ".?!" else f"{filled}.")
    return " ".join(said)


def _class_of(name: str, identifier: str) -> Tensor:
    return torch.tensor([[int(identifier) % len(CORPORA[name].classes)]])


def _read(name: str, identifier: str) -> Sample:
    return Sample(identifier, encode_text(write_text(name, int(identifier))), _class_of(name, identifier))


def _content(name: str, identifier: str) -> str:
    return prefix_of_text(write_text(name, int(identifier)))
