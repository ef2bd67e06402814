"""What tests of several folders use, and which of them run in the same process."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

SHARED = {"workplace": "tests/scripts"}
"""Fixtures that take so long that all tests with them run in one process, which makes them once."""


@pytest.hookimpl(wrapper=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Deal tests to processes file by file, and those of :data:`SHARED` together."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        group = next((group for name, group in SHARED.items() if name in names), str(item.path))
        item.add_marker(pytest.mark.xdist_group(group))
    return (yield)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :attr:`tests.odd_inputs.bench.Bench.stock` describes; tests read it, and spoil copies."""
    from tests.odd_inputs.bench import make_stock  # here, as it takes seconds, and few tests need it

    folder = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUSTER_CACHE", str(folder / "cache"))
        return make_stock(folder)
