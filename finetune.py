"""Fine-tune a selected ensemble, or predict with one: ``python finetune.py --help``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from muster.commands.main import start

    sys.exit(start("finetune", "finetune.py"))
