"""Which samples of a batch one of several processes makes."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """One process's part of every batch.

    Attributes:
        rank: Which of the processes, from 0.
        count: How many there are.
    """

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
