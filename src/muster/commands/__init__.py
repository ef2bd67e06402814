"""The commands behind the scripts: typed functions that read, call the package, and print."""

import os

# Before torch is first imported: its CPU threads otherwise spin while they wait for each other, and where other
# processes share the cores a training step then takes seven times as long (measured on 2 cores under load).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
