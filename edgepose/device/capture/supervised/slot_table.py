"""Which parts of the shared memory hold a picture that somebody still looks at. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_PAGE_BYTES = 4096


@dataclass(frozen=True)
class Slot:
    """Room for one picture.

    Attributes:
        number: Its name in messages.
        offset: Where it begins, in bytes.
        capacity: How many bytes it has.
    """

    number: int
    offset: int
    capacity: int


class SlotTable:
    """Gives each picture a slot of its own until the reader gives it back.

    A picture that needs more than its slot has gets new room at the end; sizes that change back and forth
    therefore end at the largest.

    Args:
        limit: So many slots at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free: list[Slot] = []
        self._held: dict[int, Slot] = {}
        self._numbers = 0
        self.end = 0

    @property
    def has_room(self) -> bool:
        """Whether ``take`` would succeed."""
        return len(self._held) < self._limit

    def take(self, size: int) -> Slot:
        """A slot for a picture, which nobody else writes or reads.

        Args:
            size: Its bytes.

        Raises:
            ValueError: All slots are held.
        """
        if not self.has_room:
            raise ValueError(f"all {self._limit} slots are held")
        fitting = [slot for slot in self._free if slot.capacity >= size]
        if fitting:
            slot = fitting[0]
            self._free.remove(slot)
        else:
            # What is too small is given up for good: pictures of a camera all have one size.
            self._free.clear()
            slot = Slot(self._numbers, self.end, -(-size // _PAGE_BYTES) * _PAGE_BYTES)
            self._numbers += 1
            self.end += slot.capacity
        self._held[slot.number] = slot
        return slot

    def release(self, number: int) -> None:
        """Takes a slot back; one that is not held is ignored."""
        slot = self._held.pop(number, None)
        if slot is not None:
            self._free.append(slot)
