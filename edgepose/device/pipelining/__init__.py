"""Capture, inference and output side by side, in order."""
