"""Fine-tune a selected ensemble, or predict with one: ``python finetune.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    from callbacks import EnsembleSelection
    from muster.commands.cli import run
    from muster.commands.finetune import finetune

    config = Path(__file__).parent / "configs" / "finetune" / "default.yaml"
    sys.exit(run(finetune, "finetune.py", config, choose=EnsembleSelection))
