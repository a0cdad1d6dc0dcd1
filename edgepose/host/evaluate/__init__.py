"""Accuracy of what ships, and the gate that judges it."""
