"""Slots: no two pictures that somebody looks at share a byte, whatever the task of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.capture.supervised.shared_images import Slot, SlotTable

_LIMIT = 4


def _overlap(first: Slot, second: Slot) -> bool:
    return first.offset < second.offset + second.capacity and second.offset < first.offset + first.capacity


@given(st.lists(st.one_of(st.integers(1, 50_000), st.none()), max_size=60), st.randoms())
def test_held_slots_never_overlap_and_lie_within_the_memory(steps: list[int | None], random: object) -> None:
    table = SlotTable(_LIMIT)
    held: list[Slot] = []
    for size in steps:
        if size is not None and table.has_room:
            slot = table.take(size)
            assert slot.capacity >= size
            assert slot.offset + slot.capacity <= table.end
            assert not any(_overlap(slot, other) for other in held)
            held.append(slot)
        elif held:
            slot = held.pop(random.randrange(len(held)))  # type: ignore[attr-defined]
            table.release(slot.number)
        assert table.has_room == (len(held) < _LIMIT)


def test_pictures_of_one_size_need_no_more_memory_however_many_come() -> None:
    table = SlotTable(_LIMIT)
    for _ in range(1000):
        first, second = table.take(5000), table.take(5000)
        table.release(first.number)
        table.release(second.number)
    assert table.end == 2 * 8192


def test_sizes_that_change_back_and_forth_end_at_the_largest() -> None:
    table = SlotTable(_LIMIT)
    for _ in range(100):
        for size in (1000, 9000):
            table.release(table.take(size).number)
    assert table.end == 4096 + 12_288


def test_a_full_table_refuses_and_an_unknown_slot_is_ignored() -> None:
    table = SlotTable(1)
    slot = table.take(1)
    table.release(99)
    with pytest.raises(ValueError, match="all 1 slots are held"):
        table.take(1)
    table.release(slot.number)
    table.release(slot.number)
    assert table.take(1).offset == slot.offset
