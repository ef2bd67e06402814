"""Every fenced block of README.md and docs/ runs as it stands, in order, in one folder; only smaller.

What is reduced, and nothing else (:mod:`tests.docs.running`): training and fine-tuning take 2 steps; the built-in pool
has four of its seven sources, and 12 training images of each; selections look at 50 pixels of 40 images, with 40
resamples; the single model of equal cost is left out. Tiny datasets stand in for the user's own and for the real ones.
A later block uses what earlier ones made, so a test runs whatever comes before its block and was not run yet.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster.data.dataset_yaml import DESCRIPTION_FILE, read_description, read_heading
from tests.docs.running import (
    CODE_REDUCED,
    LAUNCHERS,
    STARTED,
    options_of,
    prepare,
    require_target,
    run_command,
    split_command,
)
from tests.docs.snippets import ALL_BLOCKS, LANGUAGES, PAGES, ROOT, Block

MYDATA = Path("path/to/mydata")
"""Where the README's commands look for the dataset that it describes."""


class Place:
    """The folder in which everything is run, and how far that is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.done = 0
        self.names: dict[str, dict[str, Any]] = {}
        self.described: dict[str, Any] = {}

    def run_through(self, block: Block) -> None:
        """Run all blocks up to this one that were not run yet."""
        last = ALL_BLOCKS.index(block) + 1
        todo, self.done = ALL_BLOCKS[self.done : last], max(self.done, last)
        for each in todo:
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # as a user sees them
                self._run(each)

    def _run(self, block: Block) -> None:
        if block.not_run:
            require_known(block)
        elif block.language == "sh":
            for command in block.commands:
                run_command(command)
        elif block.language == "python":
            exec(compile(smaller(block.content), block.name, "exec"), self.names.setdefault(block.page, {}))
        elif block.language == "yaml":
            self._read(block)

    def _read(self, block: Block) -> None:
        """A description of a dataset; one without a name is an addition to the first."""
        assert re.match(rf"# {re.escape(DESCRIPTION_FILE)}\b", block.content), "say in a comment first which file it is"
        content = yaml.safe_load(block.content)
        if not self.described:
            self.described = content
            (MYDATA / DESCRIPTION_FILE).write_text(block.content, "utf-8")
            read_description(read_heading(MYDATA))
            return
        folder = self.home / f"described {ALL_BLOCKS.index(block)}"
        folder.mkdir()
        complete = content if "name" in content else {**self.described, **content}
        (folder / DESCRIPTION_FILE).write_text(yaml.safe_dump(complete), "utf-8")
        read_description(read_heading(folder))


def smaller(code: str) -> str:
    """Python code with fewer steps."""
    for written, replaced in CODE_REDUCED.items():
        code = code.replace(written, replaced)
    return code


def require_known(block: Block) -> None:
    """Check that the commands of a block that is not run have the options that they are given."""
    assert block.language == "sh", "only commands may be left alone"
    assert len(block.not_run.split()) >= 3, "give the reason"
    for command in block.commands:
        script, words = split_command(command)
        if script == "make":
            require_target(words)
        else:
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= options_of(script), command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("snippets")
    prepare(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MUSTER_CACHE", str(home / "cache"))
        yield Place(home)


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=[block.name for block in ALL_BLOCKS])
def test_block(block: Block, place: Place) -> None:
    assert block.language in LANGUAGES, f"{block.name}: write one of {', '.join(LANGUAGES)} after the fence"
    place.run_through(block)


def test_everything_that_is_reduced_is_there() -> None:
    code = "".join(block.content for block in ALL_BLOCKS if block.language == "python")
    assert all(written in code for written in CODE_REDUCED)


def test_the_readme_leaves_nothing_alone() -> None:
    assert [block.name for block in ALL_BLOCKS if block.not_run and block.page == "README.md"] == []
    assert {block.language for block in ALL_BLOCKS if block.page == "README.md"} == set(LANGUAGES)


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    """In commands those of the script; in sentences those of any."""
    known = {script: options_of(script) for script in STARTED}
    anywhere = frozenset().union(*known.values()) | options_of("-m benchmarks") | {"--help", "--print_config"}
    text = page.read_text("utf-8")
    named = set(re.findall(r"(?<![\w<!-])--[a-z_]+(?:\.[a-z_]+)*", text))
    assert named <= anywhere | (LAUNCHERS if page.name == "scale.md" else set())
    for block in ALL_BLOCKS:
        if block.page == str(page.relative_to(ROOT)) and block.language == "sh":
            for command in block.commands:
                script, words = split_command(command)
                given = {word.partition("=")[0] for word in words if word.startswith("--")}
                assert script not in known or given <= known[script], command


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_to_a_file_leads_there(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_first_screen_shows_a_result() -> None:
    """A table of numbers and one small image, before the first heading."""
    first = (ROOT / "README.md").read_text("utf-8").split("\n## ")[0]
    image = re.search(r"!\[.{10,}?\]\((.+?)\)", first)
    assert image
    assert (ROOT / image[1]).stat().st_size < 150_000
    assert re.search(r"\| \*\*0\.\d{3}\*\* \|", first)
    assert len(first.splitlines()) < 50
