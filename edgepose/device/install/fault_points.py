"""Names of the moments of an installation at which a power cut may come.

The installer passes each of them to a function that does nothing; tests pass one that ends the process
there, and then look at what is left.
"""

from __future__ import annotations

from collections.abc import Callable

FaultPoint = Callable[[str], None]

FAULT_POINTS = (
    "locked",
    "state_written_aside",
    "state_renamed",
    "leftovers_removed",
    "install_begun",
    "slot_cleared",
    "file_begun",
    "file_written",
    "staged",
    "staging_verified",
    "slot_renamed",
    "trial_begun",
    "attempt_counted",
    "health_checked",
    "decided",
)
# Reached in between where keys are pinned or move on.
ANCHOR_FAULT_POINTS = ("anchor_written_aside", "anchor_renamed")


def no_fault(_name: str) -> None:
    """Goes on."""
