"""Tasks that the tests of executors give to worker processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from muster.errors import ConfigError


def double(content: str, tell: Callable[[str], None]) -> str:
    tell("half way")
    print("not for the parent")
    return content * 2


def refuse(content: str, tell: Callable[[str], None]) -> str:
    raise ConfigError(f"expected something else than {content}")


def crash(content: str, tell: Callable[[str], None]) -> str:
    print("what a log shows", file=sys.stderr)
    raise ZeroDivisionError(content)


def missing_file(content: str, tell: Callable[[str], None]) -> str:
    return Path(content).read_text("utf-8")


def die(content: str, tell: Callable[[str], None]) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def which_process(content: str, tell: Callable[[str], None]) -> str:
    return f"{os.getpid()} {os.environ.get('MARK')}"


def die_once(content: str, tell: Callable[[str], None]) -> str:
    print("before it died", file=sys.stderr, flush=True)
    mark = Path(content)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "at last"


def wait_for_ever(content: str, tell: Callable[[str], None]) -> str:
    tell(str(os.getpid()))
    while True:
        time.sleep(1)


def train_and_be_killed(content: str, tell: Callable[[str], None]) -> str:
    """Train a member; its process is killed, once in all, at a message that finds a checkpoint on disk."""
    from muster.training.pool_training import train_job

    job = json.loads(content)
    mark = Path(job["pool"]) / "killed"

    def told(message: str) -> None:
        tell(message)
        if (Path(job["pool"]) / "work" / job["name"] / "last.ckpt").is_file():
            with suppress(FileExistsError):
                mark.touch(exist_ok=False)
                mark.write_text(job["name"])
                os.kill(os.getpid(), signal.SIGKILL)

    return train_job(content, told)
