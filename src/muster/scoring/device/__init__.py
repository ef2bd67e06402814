"""Scoring on other devices: operations on tensors."""
