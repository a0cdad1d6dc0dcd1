"""The state machine alone: every order of events that it allows, and those that it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.install import transitions
from edgepose.device.install.transitions import DeviceState, SlotContent
from edgepose.errors import ConfigError, DeployError
from edgepose.records.record import from_json, to_json
from tests.support.cut_off import HEALTHY

NOW = "2026-01-01T00:00:00+00:00"


def content(version: int, profile: str = "board") -> SlotContent:
    return SlotContent(
        bundle_version=version,
        bundle_sha256=f"{version:064x}",
        manifest_sha256=f"{version:064x}",
        model_sha256=f"{version:064x}",
        profile_id=profile,
    )


def committed(state: DeviceState, version: int) -> DeviceState:
    staged = transitions.begin_trial(transitions.begin_install(state, content(version)))
    return transitions.commit(transitions.count_attempt(staged), HEALTHY, NOW)


@given(st.lists(st.sampled_from(["install", "stage_only", "trial_only", "sick", "rollback"]), max_size=30))
def test_the_active_version_only_changes_by_commit_and_always_has_its_files(steps: list[str]) -> None:
    state, active = DeviceState(), None
    for number, step in enumerate(steps, start=1):
        if step == "rollback":
            if state.previous_content is None:
                continue
            wanted = state.previous_content
            on_trial = transitions.begin_rollback(state)
            assert set(transitions.slots_to_clear(on_trial)) == set()
            state = transitions.commit(on_trial, HEALTHY, NOW)
            active = wanted
        else:
            staging = transitions.begin_install(state, content(number))
            assert staging.active_content == active
            # Files may only be written where nothing refers to them any more.
            assert staging.pending is not None
            assert staging.pending.slot in transitions.slots_to_clear(staging)
            trial = transitions.begin_trial(staging)
            assert trial.active_content == active
            assert trial.pending is not None
            assert trial.pending.slot not in transitions.slots_to_clear(trial)
            if step == "install":
                state, active = transitions.commit(trial, HEALTHY, NOW), content(number)
            else:
                cut = {"stage_only": staging, "trial_only": trial, "sick": trial}[step]
                state = transitions.abandon(cut, "", NOW, interrupted=step != "sick")
        assert state.active_content == active
        assert state.pending is None
        kept = {"a", "b"} - set(transitions.slots_to_clear(state))
        assert kept == set(state.contents)
        assert from_json(to_json(state), DeviceState, "state") == state


def test_an_installation_never_touches_the_active_slot() -> None:
    state = committed(DeviceState(), 1)
    assert state.active == "a"
    assert transitions.begin_install(state, content(2)).pending.slot == "b"  # type: ignore[union-attr]


def test_the_version_before_is_given_up_before_its_files_are_touched() -> None:
    state = committed(committed(DeviceState(), 1), 2)
    assert state.previous_content == content(1)
    assert transitions.begin_install(state, content(3)).previous_content is None


def test_a_bundle_for_another_profile_and_a_downgrade_are_refused() -> None:
    state = committed(DeviceState(), 5)
    transitions.check_install(state, content(5), allow_downgrade=False)
    transitions.check_install(state, content(4), allow_downgrade=True)
    with pytest.raises(DeployError):
        transitions.check_install(state, content(4), allow_downgrade=False)
    with pytest.raises(ConfigError):
        transitions.check_install(state, content(6, "other"), allow_downgrade=True)
    transitions.check_install(DeviceState(), content(1, "other"), allow_downgrade=False)


def test_a_trial_may_be_tried_twice_in_all() -> None:
    state = transitions.begin_trial(transitions.begin_install(DeviceState(), content(1)))
    allowed = []
    for _ in range(3):
        allowed.append(transitions.may_try_again(state))
        state = transitions.count_attempt(state)
    assert allowed == [True, True, False]


def test_the_history_is_bounded_and_keeps_the_newest() -> None:
    state = DeviceState()
    for version in range(1, transitions.MAX_HISTORY + 20):
        state = committed(state, version)
    assert len(state.history) == transitions.MAX_HISTORY
    assert state.history[-1].bundle_version == transitions.MAX_HISTORY + 19


def test_the_highest_version_survives_a_rollback() -> None:
    state = committed(committed(DeviceState(), 1), 2)
    back = transitions.commit(transitions.begin_rollback(state), HEALTHY, NOW)
    assert back.active_content == content(1)
    assert back.highest_version == 2


@pytest.mark.parametrize(
    "step",
    [
        transitions.begin_trial,
        transitions.count_attempt,
        lambda state: transitions.commit(state, HEALTHY, NOW),
        lambda state: transitions.abandon(state, "", NOW, interrupted=True),
    ],
)
def test_a_step_out_of_order_is_a_bug(step: Callable[[DeviceState], DeviceState]) -> None:
    with pytest.raises(ValueError):
        step(DeviceState())


@pytest.mark.parametrize(
    "text",
    [
        '{"active": "b"}',
        '{"active": "c"}',
        '{"contents": {"a": 1}}',
        '{"schema": "edgepose.device_state/2"}',
        '{"unknown": 1}',
    ],
)
def test_a_state_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        from_json(text, DeviceState, "state")
