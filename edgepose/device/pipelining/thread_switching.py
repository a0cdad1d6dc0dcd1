"""How long the models wait for the interpreter while another thread holds it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Python's 5 ms are half a frame's time: a thread that comes back from the model would wait so long for one
# that writes JSON. Switching more often only costs where two threads want to run Python at once.
_INTERVAL_S = 0.0002


@contextmanager
def prompt_switching() -> Iterator[None]:
    """Lets a waiting thread run after 0.2 ms, inside the block."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(min(_INTERVAL_S, before_s))
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
