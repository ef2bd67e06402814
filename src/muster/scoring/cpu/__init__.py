"""Scoring on the processor: loops compiled by Numba."""
