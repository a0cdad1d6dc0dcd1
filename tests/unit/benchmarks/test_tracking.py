"""What benchmarks/tracking.py counts as a switch, a fragment and a person without an id."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def test_switches_fragments_and_missing_ids_are_counted_by_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from tracking import count

    clip = [SimpleNamespace(persons=np.array(persons)) for persons in ([0, 1], [1, 0], [0, 1], [0])]
    # Person 0: 7, none, 7, 9. Person 1: none, 8, 7.
    found = count(clip, [[7, -1], [8, -1], [7, 7], [9]])
    assert found == {"switches": 2, "fragmentations": 2, "without_id": 2, "found": 7}
