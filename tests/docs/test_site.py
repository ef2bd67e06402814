"""The documentation as a site: built strictly, whole, and with nothing in it that is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHOWN = [
    *("muster", "muster.callbacks", "muster.data", "muster.metrics", "muster.pool"),
    *("muster.scoring", "muster.search", "muster.selection", "muster.tracking"),
]
"""Rooms whose public names the site explains."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def pages_of(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text("utf-8") for path in site.rglob("*.html")}


def test_every_page_is_there_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = pages_of(site)
    named = {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")}
    assert {name.replace("README.html", "index.html") for name in named} | {"404.html"} == set(pages)
    for name, text in pages.items():
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?(https?:[^\">]+)|<link[^>]* href=\"?(https?:[^\">]+)", text
        )
        assert loaded == [], name
    assert (site / "search" / "search_index.json").stat().st_size > 100_000


@pytest.mark.parametrize("module", SHOWN)
def test_every_public_name_is_explained(module: str, site: Path) -> None:
    text = "".join(pages_of(site / "api").values())
    room = import_module(module)
    names = [name for name in room.__all__ if isclass(getattr(room, name)) or isfunction(getattr(room, name))]
    # A function in a file of its own name is shown by its full path.
    anchors = {name: (f'id="{module}.{name}"', f'id="{module}.{name}.{name}"') for name in names}
    assert [name for name, ids in anchors.items() if not any(each in text for each in ids)] == []


def test_docstrings_show_no_markup_of_their_own(site: Path) -> None:
    shown = [
        name for name, text in pages_of(site / "api").items() if re.search(r":(?:func|class|data|meth|mod):", text)
    ]
    assert shown == []


def test_the_menu_names_pages_that_are_there() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    menu = yaml.safe_load(config)["nav"]
    listed = [page for entry in menu for page in (next(iter(entry.values())) if isinstance(entry, dict) else [entry])]
    assert len(listed) == len(set(listed))
    assert [page for page in listed if not (DOCS / page).is_file()] == []
