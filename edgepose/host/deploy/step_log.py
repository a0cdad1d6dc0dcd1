"""Tells the user each step with its figure and time, and keeps them for the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgepose.spec.deployment_report import DeploymentStep


class StepLog:
    """The steps that were carried out.

    Args:
        total: Number of steps planned.
        say: Takes one line at a time.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.steps: list[DeploymentStep] = []
        self._total = total
        self._say = say

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Times a step.

        Yields:
            A function that takes the step's figure in words; the last one counts.
        """
        detail = ""

        def note(text: str) -> None:
            nonlocal detail
            detail = text

        start_ns = time.monotonic_ns()
        yield note
        seconds = (time.monotonic_ns() - start_ns) / 1e9
        self.steps.append(DeploymentStep(name=name, detail=detail, seconds=round(seconds, 3)))
        number = f"[{len(self.steps)}/{self._total}]"
        self._say(f"{number} {name:<10} {detail}  ({seconds:.1f} s)")
