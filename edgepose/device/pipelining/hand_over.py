"""One thread hands things over to another, a few at most: who is too fast waits."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class HandOver(Generic[Item]):
    """A bounded queue between one giver and one taker that either may end.

    Args:
        capacity: Things that may lie in between.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._change = threading.Condition()
        self._ended = False

    def give(self, item: Item) -> bool:
        """Waits for room.

        Returns:
            False where the hand-over was ended: the item was not taken.
        """
        with self._change:
            self._change.wait_for(lambda: self._ended or len(self._items) < self._capacity)
            if self._ended:
                return False
            self._items.append(item)
            self._change.notify_all()
            return True

    def take(self, wait_s: float | None = None) -> Item | None:
        """Waits for the next item.

        Args:
            wait_s: For so long; None waits until there is one or the hand-over was ended.

        Returns:
            The item, also one that was given before the end; None: nothing came, or nothing will.
        """
        with self._change:
            self._change.wait_for(lambda: bool(self._items) or self._ended, timeout=wait_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._change.notify_all()
            return item

    def end(self) -> None:
        """Nothing more is given; what lies in between can still be taken."""
        with self._change:
            self._ended = True
            self._change.notify_all()
