"""What an installation brings along: the closure of the requirements as resolved here, and what the wheel holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
REFUSED = {
    "lightning": "two releases (2.6.2 and 2.6.3) were published by an attacker; pytorch-lightning is a package apart"
}
"""Distributions that nothing of ours may pull in, and why."""


def resolved(name: str, extras: frozenset[str] = frozenset()) -> dict[str, str]:
    """Every installed distribution that one needs, directly or not, and which one asks for it.

    A requirement whose marker does not hold here, or that is not installed although it is asked for, is an error of
    the installation, not of this function: the latter is told as missing.
    """
    found: dict[str, str] = {}
    waiting = [(name, extras, "")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted, options, asked_by = waiting.pop()
        wanted = canonicalize_name(wanted)
        if (wanted, options) in seen:
            continue
        seen.add((wanted, options))
        found.setdefault(wanted, asked_by)
        for text in distribution(wanted).requires or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": each}) for each in options | {""}):
                waiting.append((need.name, frozenset(need.extras), wanted))
    return found


@pytest.mark.parametrize("extras", [(), ("test",)], ids=["core", "test"])
def test_nothing_refused_is_pulled_in(extras: tuple[str, ...]) -> None:
    closure = resolved("muster", frozenset(extras))
    assert {"torch", "pytorch-lightning", "torchmetrics"} <= set(closure)  # or nothing was followed
    pulled_in = {name: closure[name] for name in REFUSED if name in closure}
    assert pulled_in == {}, f"{pulled_in} (name: asked for by); {REFUSED}"


def test_the_check_would_find_what_a_dependency_pulls_in() -> None:
    assert resolved("muster")["lightning-utilities"] in {"pytorch-lightning", "torchmetrics"}
    with pytest.raises(PackageNotFoundError):
        resolved("a-distribution-that-is-not-there")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as pip would install it, built of a copy: building writes beside the sources."""
    pytest.importorskip("setuptools", minversion="77", reason="it is what builds the wheel")
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("configs", "src"):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=left_out)
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(made)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return next(made.glob("*.whl"))


def test_the_wheel_holds_the_configurations_the_callbacks_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        entries = next(name for name in held if name.endswith("entry_points.txt"))
        assert "muster = muster.commands.main:main" in archive.read(entries).decode()
        for path in sorted((ROOT / "configs").rglob("*.yaml")):
            name = f"muster/configs/{path.relative_to(ROOT / 'configs')}"
            assert archive.read(name) == path.read_bytes()
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "muster").rglob("*.py")}
    assert modules <= held
    assert "muster/callbacks/ensemble_selection.py" in modules
    assert {"muster/py.typed", "muster/report/page.css", "muster/report/page.html"} <= held
    top = {name.partition("/")[0] for name in held}
    assert top == {"muster", next(name for name in top if name.endswith(".dist-info"))}


def test_an_unpacked_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    """As ``python -m muster``, with its default configuration and its callbacks, where nothing is known of sources."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "home").mkdir()
    code = """
import muster, muster.callbacks, runpy, sys
print(muster.__file__, muster.callbacks.EnsembleSelection.__name__)
sys.argv = ["muster", "select", "--print_config"]
runpy.run_module("muster", run_name="__main__")  # what python -m does
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path / "home",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    where, _, shown = done.stdout.partition("\n")
    assert where.split() == [str(tmp_path / "site" / "muster" / "__init__.py"), "EnsembleSelection"]
    default = yaml.safe_load((ROOT / "configs" / "select" / "default.yaml").read_text())
    assert (default["pool"], default["target"]) == ("runs/pools/worlds", "worlds/harbour_drive")
    assert {name: value for name, value in yaml.safe_load(shown).items() if name in default} == default
