"""Capture in a process of its own: pictures through shared memory, and a supervisor that starts it again."""
