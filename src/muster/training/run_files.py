"""What lies in the folder of a fine-tuning."""

from __future__ import annotations

WORK = "work"
ENSEMBLE = "ensemble"
RESULT = "result.yaml"
HISTORY = "history.csv"
CONFUSION = "confusion.csv"
