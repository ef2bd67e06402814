"""Train a pool of source models: ``python train.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    from muster.commands.cli import run
    from muster.commands.train import train

    sys.exit(run(train, "train.py", Path(__file__).parent / "configs" / "train" / "worlds.yaml"))
