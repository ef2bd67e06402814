"""Python's own module `select` is found although a script of the root has its name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.scripts.processes import ROOT, run

USES_SELECT = """
import select, selectors, subprocess, sys
assert callable(select.select), select
assert "SELECTED" not in dir(select)
with selectors.DefaultSelector() as selector:
    done = subprocess.run([sys.executable, "-c", "import select; print(select.select.__module__)"],
                          capture_output=True, text=True, check=True, timeout=60)
print(done.stdout.strip(), getattr(select, "__file__", "built in"))
"""

SPAWNS = """
import multiprocessing

def work(queue):
    import select, subprocess
    queue.put(select.select.__module__)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
    raise SystemExit(process.exitcode)
"""


@pytest.mark.parametrize("code", [USES_SELECT, SPAWNS], ids=["subprocess and selectors", "a spawned process"])
def test_a_script_beside_ours_gets_the_standard_module(code: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "select.py", tmp_path)  # the folder of a script comes first on sys.path
    (tmp_path / "script.py").write_text(code)
    done = run(["script.py"], tmp_path, tmp_path)
    assert done.stdout.split()[0] == "select"
    assert str(tmp_path / "select.py") not in done.stdout
