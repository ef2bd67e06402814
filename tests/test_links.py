"""Every link between our pages leads somewhere, and so does every path that a page, a config or a comment names."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
SOURCES = [
    path
    for folder in ("benchmarks", "callbacks", "configs", "src/muster", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".yaml", ".md"}
]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```", re.DOTALL)
_PATH = re.compile(r"(?<![\w./-])(?:docs|configs|benchmarks|callbacks|src|tests)/[\w./-]*\.(?:md|yaml|py|csv|json)\b")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ +(.+)$", _CODE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_resolve(page: Path) -> None:
    for link in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        aim = page.parent / target if target else page
        assert aim.exists(), f"{named(page)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(aim), f"{named(page)} links to {link}: there is no such heading"


@pytest.mark.parametrize("source", [*PAGES, *SOURCES], ids=named)
def test_paths_that_are_named_exist(source: Path) -> None:
    for path in _PATH.findall(source.read_text("utf-8")):
        assert (ROOT / path).exists(), f"{named(source)} names {path}, which is not there"


MODULE = re.compile(r"`(muster(?:\.\w+)+)`|^from (muster(?:\.\w+)*) import", re.MULTILINE)
ROOM = re.compile(r"(?<![\w/])src/muster(?:/\w+)*(?![\w/.*])")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_rooms_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for room in ROOM.findall(text):
        assert (ROOT / room).is_dir(), f"{named(page)} names {room}, which is no folder"
    if page.name == "CHANGELOG.md":  # it tells of names that are gone
        return
    for quoted, imported in MODULE.findall(text):
        assert find(quoted or imported), f"{named(page)} names {quoted or imported}, which is not there"


def test_the_readme_names_every_room() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    rooms = {path.parent.name for path in (ROOT / "src/muster").glob("*/__init__.py")}
    assert rooms == {room for room in rooms if re.search(rf"^src/muster/{room} ", text, re.MULTILINE)}


def find(name: str) -> object:
    """The module of that name, or the member of a module."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        module, _, member = name.rpartition(".")
        return getattr(import_module(module), member, None) if module else None
