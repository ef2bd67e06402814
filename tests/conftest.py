"""What tests of several folders use, and which of them run in the same process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TOGETHER = {f"tests/scripts/test_{name}.py": "tests/scripts" for name in ("chain", "interruptions", "two_processes")}
"""Files whose fixtures take so long that they are made once, in one process, for all of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal tests to processes file by file, and those of :data:`TOGETHER` as one file.

    Groups, which xdist has for that, are not heeded with pytest 9.2, so that each test went to any process.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return TOGETHER.get(file, file)

    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :attr:`tests.odd_inputs.bench.Bench.stock` describes; tests read it, and spoil copies."""
    from tests.odd_inputs.bench import make_stock  # here, as it takes seconds, and few tests need it

    folder = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUSTER_CACHE", str(folder / "cache"))
        return make_stock(folder)
