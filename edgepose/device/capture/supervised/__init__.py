"""Capture in a process of its own: images through shared memory, and a supervisor that starts it again."""
