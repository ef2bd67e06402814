"""Output folders: whose they are, apart from what, and held by whom."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
import yaml

from muster.errors import ConfigError, OutputError, SelectionError
from muster.files import PARTIAL
from muster.locks import LOCK
from muster.output_kinds import ENSEMBLE, FINETUNING, PREDICTIONS, SELECTION
from muster.outputs import (
    MARKER,
    claimed,
    has_sign,
    held,
    mark,
    replaced,
    require_apart,
    require_our_file,
    require_ours,
)
from tests.helpers import at_work_elsewhere

HOLDS = """
import os, sys, time
from pathlib import Path
from muster import output_kinds, outputs
with outputs.claimed(Path(sys.argv[1]), getattr(output_kinds, sys.argv[2])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def start_holder(folder: Path, kind: str) -> subprocess.Popen[str]:
    """A process that holds a folder, and prints the number of a child that it has."""
    words = [sys.executable, "-c", HOLDS, str(folder), kind]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(folder: Path, **files: object) -> Path:
    """A folder with YAML files."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_a_new_folder_is_marked_locked_while_at_work_and_then_free(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with claimed(folder, FINETUNING) as lock:
        assert isinstance(lock, int)
        assert names(folder) == [LOCK, MARKER]
        assert (folder / LOCK).read_text().splitlines()[:2] == [str(os.getpid()), socket.gethostname()]
        (folder / "result").touch()
    assert names(folder) == [MARKER, "result"]
    with claimed(folder, FINETUNING):
        pass
    assert names(folder) == [MARKER, "result"]


def test_a_run_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    with claimed(tmp_path / "run", FINETUNING):
        pass
    (tmp_path / "empty").mkdir()
    with claimed(tmp_path / "empty", FINETUNING):
        pass
    assert names(tmp_path) == ["empty"]
    assert names(tmp_path / "empty") == []


def test_one_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path / "run", FINETUNING):
        with (
            pytest.raises(ConfigError, match=rf"another process \(number {os.getpid()}\) is at work .* in .*run"),
            claimed(tmp_path / "run", FINETUNING),
        ):
            pass
        assert (tmp_path / "run" / LOCK).exists(), "who came second took the lock of the first away"


def test_a_killed_process_holds_nothing_even_if_its_children_live(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "run"), "FINETUNING"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(ConfigError, match="another process"), claimed(tmp_path / "run", FINETUNING):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.kill(child, 0)  # it is alive
        with claimed(tmp_path / "run", FINETUNING):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_waits_as_long_as_it_is_told_to(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        claimed(tmp_path / "run", FINETUNING),
        pytest.raises(ConfigError, match="another process"),
        claimed(tmp_path / "run", FINETUNING, patience=0.3),
    ):
        pass
    assert time.monotonic() - began >= 0.3


def save(folder: Path, content: str) -> None:
    with replaced(folder, SELECTION, SelectionError) as partial:
        (partial / "config.yaml").write_text(content)
        (partial / "ranking.parquet").touch(exist_ok=False)


def test_a_result_is_not_saved_where_another_process_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    save(folder, "first")
    monkeypatch.setattr("muster.outputs.PATIENCE", 0.3)
    with (
        at_work_elsewhere(folder),
        pytest.raises(SelectionError, match=r"^The folder: another process is at work on a selection in .*s\. Wait"),
    ):
        save(folder, "second")
    assert (folder / "config.yaml").read_text() == "first"


def test_one_save_waits_for_another(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), "SELECTION"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    timer = threading.Timer(0.5, holder.kill)
    timer.start()
    began = time.monotonic()
    save(folder, "second")
    assert time.monotonic() - began >= 0.4
    timer.join()
    os.kill(child, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert names(folder) == [MARKER, "config.yaml", "ranking.parquet"]


def test_who_holds_a_folder_may_save_there(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    (tmp_path / "link").symlink_to(folder)
    with claimed(folder, SELECTION):
        save(folder, "first")
        save(tmp_path / "link", "second")
    assert names(folder) == [MARKER, "config.yaml", "ranking.parquet"]
    with held(folder, SELECTION, SelectionError):
        assert LOCK in names(folder)
        save(folder, "third")
    assert (folder / "config.yaml").read_text() == "third"
    assert names(folder) == [MARKER, "config.yaml", "ranking.parquet"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    save(tmp_path / "old", "first")
    for name in ("old", "new"):
        with (
            pytest.raises(OutputError, match=f"{name} cannot be written: No such file"),
            replaced(tmp_path / name, SELECTION, SelectionError) as partial,
        ):
            (partial / "config.yaml").rename(partial / "splits.yaml")
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old" / "config.yaml").read_text() == "first"
    with pytest.raises(SelectionError, match="broken"), held(tmp_path / "new", SELECTION, SelectionError):
        raise SelectionError("broken")
    assert names(tmp_path) == ["old"]


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK"])
def test_processes_that_only_help_touch_nothing(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claimed(tmp_path / "run", FINETUNING):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv(variable, "1")
        with claimed(tmp_path / "run", FINETUNING) as lock:
            assert lock is None
        monkeypatch.delenv(variable)
        assert names(tmp_path / "run") == [LOCK, MARKER]


def test_a_helper_begins_once_the_first_process_has_marked_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper that was quicker left its `work` there, and the first process refused the folder as somebody else's."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    found: list[list[str]] = []

    def help_out() -> None:
        with claimed(tmp_path / "run", FINETUNING):
            found.append(names(tmp_path / "run"))

    helper = Thread(target=help_out)
    helper.start()
    time.sleep(0.3)
    assert found == []
    monkeypatch.setenv("RANK", "0")
    with claimed(tmp_path / "run", FINETUNING):
        helper.join(10)
    assert found == [[LOCK, MARKER]]


def test_the_number_of_a_cluster_node_alone_makes_no_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="nothing is replaced that it did not write"), claimed(docs, SELECTION):
        pass


def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", config={"training": {}}, result={"target": "t"})
    with pytest.raises(ConfigError, match=r"mine holds 'config.yaml', which is not part of a fine-tuned ensemble"):
        require_ours(folder, FINETUNING)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        require_ours(tmp_path / "file", FINETUNING)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="is a link to nowhere, which does not exist"):
        require_ours(tmp_path / "link", FINETUNING)


def test_older_folders_are_known_by_their_records(tmp_path: Path) -> None:
    result = {"target": "t", "members": [], "single_best": "m", "mious": {}}
    require_ours(write(tmp_path / "run", config={"training": {}}, result=result), FINETUNING)
    job = {"settings": {}, "images": [], "statistics": {}, "members": []}
    write(tmp_path / "begun" / "work", job=job)
    require_ours(tmp_path / "begun", FINETUNING)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "selection.yaml").write_text("members: [")
    with pytest.raises(ConfigError, match="which is not part of a selection"):
        require_ours(tmp_path / "damaged", SELECTION)


def test_the_marker_says_what_a_folder_is(tmp_path: Path) -> None:
    mark(tmp_path, FINETUNING)
    (tmp_path / "anything").touch()
    (tmp_path / f"{PARTIAL}123-abcdefgh").touch()
    require_ours(tmp_path, FINETUNING)
    with pytest.raises(ConfigError, match="holds a fine-tuned ensemble, and a selection is to go there"):
        require_ours(tmp_path, SELECTION)


def test_what_replaces_its_folder_as_a_whole_keeps_strange_files(tmp_path: Path) -> None:
    mark(tmp_path, ENSEMBLE)
    (tmp_path / "head.safetensors").touch()
    require_ours(tmp_path, ENSEMBLE)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds 'notes.txt', which is not part of an ensemble"):
        require_ours(tmp_path, ENSEMBLE)


def test_details_of_the_marker_must_agree(tmp_path: Path) -> None:
    with claimed(tmp_path, PREDICTIONS, images="a"):
        (tmp_path / "classes.txt").touch()
    with claimed(tmp_path, PREDICTIONS, images="a"):
        pass
    with (
        pytest.raises(ConfigError, match="holds predictions of a, not of b"),
        claimed(tmp_path, PREDICTIONS, images="b"),
    ):
        pass


@pytest.mark.parametrize(
    ("output", "how"),
    [("data", "is"), ("data/deep", "lies in"), (".", "holds"), ("linked/deep", "lies in"), ("data/../data", "is")],
)
def test_inputs_and_outputs_are_apart(output: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("linked").symlink_to("data")
    with pytest.raises(ConfigError, match=rf"--output {output} {how} --target \(data\)"):
        require_apart(Path(output), {"--target": "data"})


def test_beside_is_apart(tmp_path: Path) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)
    (tmp_path / "data" / "set" / "dataset.yaml").touch()
    require_apart(tmp_path / "data2", {"--target": tmp_path / "data", "none": None, "world": "worlds/reef"})
    require_apart(tmp_path / "data" / "out", {"--data_root": tmp_path / "data"})
    with pytest.raises(ConfigError, match="lies in the dataset"):
        require_apart(tmp_path / "data" / "set" / "out", {"--data_root": tmp_path / "data"})


def test_an_error_of_the_system_is_told_with_what_is_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"none: cannot be read or written|none cannot be read or written: No such"),
        claimed(tmp_path / "run", FINETUNING),
    ):
        (tmp_path / "none").open()
    with pytest.raises(OutputError, match="goes on from the last checkpoint"), claimed(tmp_path / "run", FINETUNING):
        raise OutputError("of a file")


def test_a_single_file_is_replaced_only_if_it_is_ours(tmp_path: Path) -> None:
    path, signed = tmp_path / "report.html", partial(has_sign, sign="sign")
    require_our_file(path, signed)
    path.write_text("<html> sign")
    require_our_file(path, signed)
    path.write_text("<html>")
    with pytest.raises(OutputError, match="muster did not write it"):
        require_our_file(path, signed)
    mark(tmp_path, SELECTION)
    require_our_file(path, signed)
