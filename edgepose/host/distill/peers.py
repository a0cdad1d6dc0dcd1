"""The other processes of a run, as the training loop sees them, and each one's share of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError

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
        """Checks that all were started alike; the digest is a SHA-256 in hexadecimal.

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


@dataclass(frozen=True)
class Share:
    """One process's part of every batch."""

    rank: int = 0
    count: int = 1

    def places(self, size: int) -> range:
        """Places in a batch of ``size`` samples: runs in the order of the ranks, all equally long.

        Raises:
            ConfigError: The batch cannot be dealt out evenly.
        """
        if size % self.count:
            raise ConfigError(
                f"A batch of {size} samples cannot be dealt out evenly to {self.count} workers.",
                f"Give --batch-size a multiple of {self.count}.",
            )
        each = size // self.count
        return range(self.rank * each, (self.rank + 1) * each)
