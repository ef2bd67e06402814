"""Tasks that the tests of executors give to worker processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
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
