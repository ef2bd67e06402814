"""Nothing phones home: neither our libraries by themselves, nor because we use them."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.telemetry import EVERYBODY, QUIET, switch_off

SCRIPT = """
import socket, sys

def guarded(connect):
    def call(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            print("reached for", address, flush=True)
            raise OSError("no network here")
        return connect(self, address)
    return call

socket.socket.connect, socket.socket.connect_ex = map(guarded, (socket.socket.connect, socket.socket.connect_ex))

import muster
from pathlib import Path
from huggingface_hub.utils import send_telemetry
import lightly.loss
from muster.tracking import KINDS, Content, Run, close_loggers, make_loggers, send

loggers = make_loggers(KINDS.names(), Run(Path(sys.argv[1]), "select", "run", "pool", "target", {"size": 3}))
for logger in loggers:
    logger.log_metrics({"loss": 1.0}, step=0)
send(loggers, Content({"miou": 0.5}))
close_loggers(loggers)
send_telemetry("muster")
import mlflow.telemetry.client as telemetry
if telemetry.get_telemetry_client() is not None:
    print("MLflow's telemetry is on")
print("done", len(loggers), flush=True)
if len(sys.argv) > 2:
    import urllib.request
    try:
        urllib.request.urlopen("http://example.org", timeout=5)
    except OSError:
        pass
"""


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """The way out of the machine for whoever heeds proxies, and the first line that each of them says there."""
    asked: list[bytes] = []

    class Closed(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closed) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def environment(address: str, home: Path) -> dict[str, str]:
    """That of a user who said nothing: MLflow keeps quiet by itself where it sees tests or continuous integration."""
    spoken = {*QUIET, EVERYBODY, "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "CI", "GITHUB_ACTIONS", "WANDB_API_KEY"}
    kept = {name: value for name, value in os.environ.items() if name not in spoken}
    ways = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address)
    return {**kept, **ways, "no_proxy": "localhost,127.0.0.1", "NETRC": str(home / "none"), "HOME": str(home)}


def test_nothing_connects(proxy: tuple[str, list[bytes]], tmp_path: Path) -> None:
    """Every kind of logger in one run; then a call that is meant to be seen, so that blindness would be noticed."""
    address, asked = proxy
    words = [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), "and be seen"]
    done = subprocess.run(words, env=environment(address, tmp_path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["done 4"]
    assert [line.split()[1] for line in asked] == [b"http://example.org"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"csv", "mlruns", "tensorboard", "wandb"}


def test_what_a_user_says_holds() -> None:
    nothing_said: dict[str, str] = {}
    switch_off(nothing_said)
    assert nothing_said == {**QUIET, EVERYBODY: "true"}
    for name in (*QUIET, EVERYBODY):
        said = {name: "as I like"}
        switch_off(said)
        assert said[name] == "as I like"
        assert set(said) == {*QUIET} | {name}  # DO_NOT_TRACK would go over what was said of one library


def test_it_is_off_once_muster_is_imported() -> None:
    import huggingface_hub.constants

    import muster  # noqa: F401

    assert set(QUIET) <= set(os.environ)
    assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
