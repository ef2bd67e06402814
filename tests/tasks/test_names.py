"""Outside of the tasks no code knows one by name: what differs is asked of the task, see :mod:`muster.tasks.task`.

A third task in a test (``test_third_task.py``) shows only that what it comes by asks for no name. So all code is
looked through here. A dataset and a model may *say* which task they are for, as ``task="..."``; whoever *asks* has to
ask the task.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import muster
from muster.tasks.facts import TaskFacts
from muster.tasks.task import TASKS

ROOT = Path(muster.__file__).parent
OTHER_WORDS = {"depth", "keypoints"}  # of a network and a card; of a file of COCO: names only where a task is asked for
NAMES = set(TASKS.names()) - OTHER_WORDS
OF_TASKS = {"name", "unit", "result", "key", "class_result"}
SAID = {("muster/data/spec.py", "segmentation")}  # what everything was before there were tasks
OF_OTHERS = {
    ("muster/data/layouts/coco_instances.py", "segmentation"),  # a key of COCO's files
    ("muster/data/layouts/huggingface.py", "segmentation"),  # what a column of masks may be called
}
MENTIONED = re.compile(rf"[\"']({'|'.join(NAMES)})[\"']|\btask\b|\bwords\.|muster\.tasks\.")


def named(code: str) -> Iterator[tuple[int, str]]:
    """Line and name of each place where code knows a task."""
    if not MENTIONED.search(code):
        return
    nodes = list(ast.walk(ast.parse(code)))
    constants = [node for node in nodes if isinstance(node, ast.Constant) and node.value in NAMES]
    said = {id(part) for node in nodes for part in declared(node)} if constants else set()
    yield from ((node.lineno, str(node.value)) for node in constants if id(node) not in said)
    for node in nodes:
        if isinstance(node, ast.Compare | ast.Match):
            parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.subject]
            if any(asks(part) for part in parts) and (isinstance(node, ast.Match) or any(map(is_fixed, parts))):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in {f"muster.tasks.{name}" for name in TASKS.names()}:
            yield node.lineno, str(node.module)


def declared(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of code that say a task: ``task="..."`` of a call, of a field or of a parameter."""
    if (isinstance(node, ast.keyword) and node.arg == "task") or (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "task"
        and node.value
    ):
        yield from ast.walk(node.value)
    elif isinstance(node, ast.arguments):
        defaults = zip(reversed(node.args), reversed(node.defaults), strict=False)
        keywords = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        yield from (
            part for each, value in (*defaults, *keywords) if each.arg == "task" and value for part in ast.walk(value)
        )


def asks(node: ast.AST) -> bool:
    """Whether an expression is a task's name, or another of its words."""
    if isinstance(node, ast.Name):
        return node.id == "task"
    if isinstance(node, ast.Attribute):
        is_of_task = node.attr in OF_TASKS and ast.unparse(node.value).rpartition(".")[2] in {"task", "words"}
        return node.attr == "task" or is_of_task
    return False


def is_fixed(node: ast.AST) -> bool:
    """Whether an expression is the same whatever the task: a text, several, or a constant."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(node.value)
    return isinstance(node, ast.Tuple | ast.List | ast.Set) or (isinstance(node, ast.Name) and node.id.isupper())


def test_tasks_are_asked_and_not_known() -> None:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT.parent).as_posix()
        if not place.startswith("muster/tasks/"):
            found += [(place, *each) for each in named(path.read_text("utf-8"))]
    assert [each for each in found if (each[0], each[2]) not in SAID | OF_OTHERS] == []
    assert {(place, name) for place, _, name in found} == SAID | OF_OTHERS  # none stands there for nothing


def test_pages_ask_too() -> None:
    words = "|".join(OF_TASKS | {"task"})
    asked = re.compile(rf"\b({words})\s*[!=]=\s*[\"']|[\"']({'|'.join(NAMES)})[\"']")
    assert {
        path.name: found.group() for path in ROOT.rglob("*.html") if (found := asked.search(path.read_text()))
    } == {}


@pytest.mark.parametrize(
    "code",
    [
        'if spec.task != "segmentation": pass',
        '_TASKS = ("segmentation", "multilabel")',
        'rows = boxes() if task == "detection" else persons()',
        'tolerances = [0.1] if task == "keypoints" else []',
        "if known.task == TASK: pass",
        'return "classification" if pooled else "segmentation"',
        'kinds = {"text_classification": 1}',
        'if self.task.unit == "pixel": pass',
        'if result.words.key in ("miou", "ap"): pass',
        'match spec.task:\n    case "depth": pass',
        "from muster.tasks.segmentation import SEGMENTATION",
    ],
)
def test_what_the_look_finds(code: str) -> None:
    assert list(named(code))


@pytest.mark.parametrize(
    "code",
    [
        'spec = replace(spec, task="multilabel" if several else "classification")',
        "if source.task != own.name: pass",
        'def opened(task: str = "classification") -> None: pass',
        'card.get("depth"), {"keypoints": []}',
    ],
)
def test_what_it_leaves(code: str) -> None:
    assert not list(named(code))


def test_words_of_tasks_are_facts() -> None:
    assert set(TaskFacts.__annotations__) >= OF_TASKS
