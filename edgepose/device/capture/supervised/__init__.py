"""Capture in a process of its own: pictures through shared memory, and a keeper that starts it again."""
