"""The fenced blocks of README.md and docs/, in the order in which they are read, and how each is run.

The language after the fence says what becomes of a block; a fence without one is an error:

- ``sh``: each line is a command and is run (see :func:`tests.docs.running.run_command`). Of ``make TARGET`` only the
  target is looked up: those set up environments and take minutes.
- ``python``: executed; the blocks of a file share their names.
- ``yaml``: written to the file that its first line names in a comment (``# dataset.yaml: ...``), for the commands after
  it, and read by the reader of such files.
- ``text``: nothing that could be run: output, or how folders lie.

A block of commands that cannot run here has ``<!-- not run: REASON -->`` on the line above its fence. It is not skipped
silently: its commands are parsed and their options looked up. README.md may have none of those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = ("sh", "python", "yaml", "text")

_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_FENCE = re.compile(r"^(`{3,}|~{3,})(.*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: File, relative to the root.
        line: Number of its first line.
        language: What stands after the fence.
        content: What is between the fences.
        not_run: Why it is not run; empty if it is.
    """

    page: str
    line: int
    language: str
    content: str
    not_run: str = ""

    @property
    def name(self) -> str:
        """Where it is, for the names of tests."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block of shell, without comments and what they wrap."""
        lines = self.content.replace("\\\n", " ").splitlines()
        stripped = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in lines)
        return [part.strip() for line in stripped if line for part in line.split("&&")]


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page.

    Args:
        page: A Markdown file below the root.

    Returns:
        In their order.

    Raises:
        AssertionError: If a fence is not closed.
    """
    lines, found, start = page.read_text("utf-8").splitlines(), [], None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if start is None:
            start = (number, fence[1], fence[2].strip())
        elif fence[1] == start[1] and not fence[2].strip():
            above = _NOT_RUN.fullmatch(lines[start[0] - 2]) if start[0] > 1 else None
            content = "\n".join(lines[start[0] : number - 1])
            name = str(page.relative_to(ROOT))
            found.append(Block(name, start[0] + 1, start[2], content, above[1] if above else ""))
            start = None
    assert start is None, f"{page}:{start}: this fence is not closed"
    return found


ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]
