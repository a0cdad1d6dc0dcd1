"""The other processes of a run, as the training loop sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import keras
import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[np.generic]]


class Peers(Protocol):
    """All processes of a run. Every method is called by all of them, in the same order."""

    @property
    def rank(self) -> int:
        """Which one this is; 0 leads: it alone writes checkpoints, log and exports."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def of_leader(self, value: float) -> float:
        """The leader's value."""
        ...

    def arrays_of_leader(self, arrays: Arrays) -> Arrays:
        """The leader's arrays; the others give arrays of the same shapes and dtypes."""
        ...

    def require_agreement(self, digest: str) -> None:
        """Checks that all were started alike.

        Args:
            digest: SHA-256 of what must be the same, in hexadecimal.

        Raises:
            ConfigError: Another process has another digest.
        """
        ...

    def part(self) -> None:
        """Ends the common work; what follows belongs to this process alone."""
        ...


class Alone:
    """A run of one process."""

    rank = 0
    count = 1

    def of_leader(self, value: float) -> float:
        """See ``Peers``."""
        return value

    def arrays_of_leader(self, arrays: Arrays) -> Arrays:
        """See ``Peers``."""
        return arrays

    def require_agreement(self, digest: str) -> None:
        """See ``Peers``."""

    def part(self) -> None:
        """See ``Peers``."""


@contextmanager
def undistributed() -> Iterator[None]:
    """What is built or run inside belongs to this process alone."""
    kept = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(kept)
