"""Train a pool of source models: ``python train.py --help``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from muster.commands.main import start

    sys.exit(start("train", "train.py"))
