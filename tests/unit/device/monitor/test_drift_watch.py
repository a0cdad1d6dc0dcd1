"""Windows to events: undisturbed, planted, with hysteresis, across restarts and other models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.monitor.drift_watch import DriftLimits, DriftWatch
from edgepose.records.drift_record import DriftReference
from edgepose.records.record import from_json, to_json
from edgepose.runtime.drift_features import Samples, histogram, no_samples

MODEL = "a" * 64
LIMITS = DriftLimits(learned_windows=10)


def window(rng: np.random.Generator, brightness: float = 0.5, persons: int = 2) -> Samples:
    """A window of a lit place."""
    samples = no_samples()
    samples["brightness"] = rng.normal(brightness, 0.05, 150).tolist()
    samples["persons"] = rng.poisson(persons, 150).astype(float).tolist()
    if persons:
        samples["confidence"] = rng.uniform(0.6, 0.9, 150 * persons).tolist()
    return samples


def learned(reference: DriftReference | None = None, seed: int = 0) -> tuple[DriftWatch, np.random.Generator]:
    """A watch that has learned."""
    rng = np.random.default_rng(seed)
    watch = DriftWatch(MODEL, reference, limits=LIMITS)
    for _ in range(LIMITS.learned_windows):
        assert watch.take(window(rng), "learning") == ((), ())
    assert not watch.status.learning
    return watch, rng


def reference(brightness: float) -> DriftReference:
    """A model that was judged on such pictures."""
    values = np.random.default_rng(9).normal(brightness, 0.05, 200).tolist()
    return DriftReference(pictures=200, features={"brightness": histogram("brightness", values)})


@pytest.mark.parametrize("seed", range(5))
def test_an_undisturbed_place_raises_nothing(seed: int) -> None:
    watch, rng = learned(reference(0.5), seed)
    assert [watch.take(window(rng), "now") for _ in range(100)] == [((), ())] * 100
    assert not watch.status.retrain


def test_a_dark_place_is_an_event_after_three_windows_that_names_size_and_beginning() -> None:
    watch, rng = learned()
    begun = [watch.take(window(rng, 0.2), str(number))[0] for number in range(1, 6)]
    assert [len(events) for events in begun] == [0, 0, 1, 0, 0]
    (event,) = begun[2]
    assert (event.feature, event.kind, event.since, event.until) == ("brightness", "shifted", "1", None)
    assert event.size.typical == pytest.approx(0.2, abs=0.05)
    assert event.size.reference == pytest.approx(0.5, abs=0.05)
    assert watch.status.retrain
    assert watch.status.going_on


def test_an_event_ends_after_three_calm_windows_and_the_model_stays_marked() -> None:
    watch, rng = learned()
    for _ in range(3):
        watch.take(window(rng, 0.2), "dark")
    ended = [watch.take(window(rng), str(number))[1] for number in range(1, 5)]
    assert [len(events) for events in ended] == [0, 0, 1, 0]
    assert ended[2][0].until == "3"
    assert watch.status.going_on == ()
    assert watch.status.retrain


@given(st.lists(st.booleans(), max_size=25))
def test_an_event_begins_and_ends_only_after_three_windows_in_a_row(dark: list[bool]) -> None:
    watch, rng = learned()
    going_on, row = False, 0
    for is_dark in dark:
        begun, ended = watch.take(window(rng, 0.2 if is_dark else 0.5), "now")
        row = row + 1 if is_dark != going_on else 0
        turned = row == LIMITS.windows
        assert (bool(begun), bool(ended)) == (turned and is_dark, turned and not is_dark)
        if turned:
            going_on, row = is_dark, 0
        assert bool(watch.status.going_on) is going_on


def test_pictures_unlike_those_the_model_was_judged_on_are_told_while_still_learning() -> None:
    rng = np.random.default_rng(0)
    watch = DriftWatch(MODEL, reference(0.8), limits=LIMITS)
    begun = [watch.take(window(rng, 0.2), str(number))[0] for number in range(1, 4)]
    assert [event.kind for events in begun for event in events] == ["outside"]
    assert watch.status.learning
    assert begun[2][0].size.psi is None


def test_an_empty_dark_room_is_not_outside_of_what_the_model_was_judged_on() -> None:
    watch, rng = DriftWatch(MODEL, reference(0.5), limits=LIMITS), np.random.default_rng(0)
    assert [watch.take(window(rng, 0.05, persons=0), "night") for _ in range(5)] == [((), ())] * 5
    # The negative control: somebody is there.
    assert any(watch.take(window(rng, 0.05), "night")[0] for _ in range(5))


def test_an_event_of_being_outside_does_not_end_because_everybody_left() -> None:
    calm, rng = learned()
    watch = DriftWatch(MODEL, reference(0.8), calm.baseline, limits=LIMITS)
    for _ in range(3):
        watch.take(window(rng), "here")
    assert [event.kind for event in watch.status.going_on] == ["outside"]
    nobody = window(rng, persons=0)
    nobody["persons"] = window(rng)["persons"]
    assert [watch.take(nobody, "gone")[1] for _ in range(5)] == [()] * 5


def test_a_place_that_is_restless_by_itself_is_allowed_more() -> None:
    rng = np.random.default_rng(0)
    watch = DriftWatch(MODEL, None, limits=LIMITS)
    for number in range(LIMITS.learned_windows):
        watch.take(window(rng, 0.3 if number % 2 else 0.6), "learning")
    assert [watch.take(window(rng, 0.3), "now")[0] for _ in range(6)] == [()] * 6
    # The negative control: a place of one light alone calls that dark.
    calm, rng = learned()
    assert any(calm.take(window(rng, 0.3), "now")[0] for _ in range(6))


def test_a_feature_with_few_samples_is_not_judged() -> None:
    watch, _rng = learned()
    few = no_samples()
    few["brightness"] = [0.0] * (LIMITS.least_samples - 1)
    assert [watch.take(few, "now")[0] for _ in range(5)] == [()] * 5
    few["brightness"] = [0.0] * LIMITS.least_samples
    assert any(watch.take(few, "now")[0] for _ in range(5))


def test_a_restart_goes_on_where_the_last_run_was() -> None:
    watch, rng = learned()
    for _ in range(4):
        watch.take(window(rng, 0.2), "before")
    baseline = from_json(to_json(watch.baseline), type(watch.baseline), "a file")
    status = from_json(to_json(watch.status), type(watch.status), "a file")
    again = DriftWatch(MODEL, None, baseline, status, LIMITS)
    assert [again.take(window(rng, 0.2), "after")[0] for _ in range(4)] == [()] * 4
    assert again.status.going_on[0].since == "before"


def test_another_model_learns_anew() -> None:
    watch, rng = learned()
    other = DriftWatch("b" * 64, None, watch.baseline, watch.status, LIMITS)
    assert other.status.learning
    assert other.baseline.windows == 0
    assert [other.take(window(rng, 0.2), "new")[0] for _ in range(5)] == [()] * 5


def test_only_the_newest_hundred_events_are_kept() -> None:
    watch, rng = learned()
    for number in range(120):
        for brightness in (0.2, 0.5):
            for _ in range(3):
                watch.take(window(rng, brightness), str(number))
    assert len(watch.status.events) == 100
    assert watch.status.events[-1].since == "119"


def test_a_slower_device_is_an_event_and_no_reason_to_train() -> None:
    rng = np.random.default_rng(0)
    watch = DriftWatch(MODEL, None, limits=LIMITS)
    begun: list[str] = []
    for number in range(LIMITS.learned_windows + 3):
        taken = window(rng)
        taken["latency"] = rng.normal(3.0 if number < LIMITS.learned_windows else 5.0, 0.3, 150).tolist()
        begun += [event.feature for event in watch.take(taken, "now")[0]]
    assert begun == ["latency"]
    assert watch.status.going_on
    assert watch.status.asked_for == ()
    assert not watch.status.retrain
