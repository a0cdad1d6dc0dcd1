"""Pose maths: numpy only, no I/O, no clock, no randomness."""
