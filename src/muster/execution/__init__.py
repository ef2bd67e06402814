"""Execution: jobs side by side in processes of their own, watched over."""
