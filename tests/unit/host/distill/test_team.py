"""Who takes part, and how a batch is dealt out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.host.distill.peers import Share
from edgepose.host.distill.persons import ImageSource
from edgepose.host.distill.request import DistillationRequest
from edgepose.host.distill.team import (
    WorkerEvent,
    WorkerTask,
    decoded_event,
    decoded_task,
    encoded,
    requested_team,
)
from tests.support.distill_samples import TINY, sample_cache


@pytest.mark.parametrize(
    ("workers", "rank", "local", "message"),
    [
        ("a:1,b:2", None, None, "none was given"),
        ("a:1,b:2", 2, None, "--rank must be 0 to 1"),
        ("a:1,b:2", -1, None, "--rank must be 0 to 1"),
        ("a,b:2", 0, None, "'a' is no HOST:PORT"),
        ("a:1,b:x", 0, None, "'b:x' is no HOST:PORT"),
        ("a:1,:2", 0, None, "':2' is no HOST:PORT"),
        ("a:1,b:70000", 0, None, "'b:70000' is no HOST:PORT"),
        ("a:1,", 0, None, "'' is no HOST:PORT"),
        ("a:1,a:1", 0, None, "names a:1 twice"),
        ("a:1", 0, None, "one worker only"),
        (None, 0, None, "Give --workers, too"),
        ("a:1,b:2", 0, 2, "Leave --workers and --rank away"),
    ],
)
def test_wrong_ranks_and_host_lists_are_refused(
    workers: str | None, rank: int | None, local: int | None, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        requested_team(workers, rank, local)
    assert caught.value.exit_code == 3
    assert message in str(caught.value)


def test_right_host_lists_are_taken() -> None:
    team = requested_team("gpu-0:4711, gpu-1:4711,[::1]:4712", 2, None)
    assert team is not None
    assert team.addresses == ("gpu-0:4711", "gpu-1:4711", "[::1]:4712")
    assert (team.ranks_here, team.count, team.leads) == ((2,), 3, False)
    local = requested_team(None, None, 3)
    assert local is not None
    assert (local.ranks_here, local.leads, len(set(local.addresses))) == ((0, 1, 2), True, 3)
    assert requested_team(None, None, None) is None


def test_shares_of_a_batch_are_together_the_batch_of_one_process() -> None:
    cache = sample_cache()
    whole = BatchSource(cache, TINY, BatchSettings(6, 7)).batch(3)
    shares = [
        BatchSource(cache, TINY, BatchSettings(6, 7, share=Share(rank, 3))).batch(3) for rank in range(3)
    ]
    assert [len(share.pictures) for share in shares] == [2, 2, 2]
    assert np.array_equal(np.concatenate([share.pictures for share in shares]), whole.pictures)
    assert np.array_equal(np.concatenate([share.targets for share in shares]), whole.targets)
    assert not np.array_equal(shares[0].pictures, shares[1].pictures)


def test_a_batch_that_cannot_be_dealt_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 3"):
        Share(0, 3).places(4)


def test_an_order_and_an_event_arrive_as_they_were_sent(tmp_path: Path) -> None:
    source = ImageSource(tmp_path / "photos", tmp_path / "labels.json")
    request = DistillationRequest("edgepose-n", (source,), tmp_path, teacher=tmp_path / "t.onnx", steps=7)
    task = WorkerTask(request=request, coordinator="a:1", count=2, rank=1, join_timeout_s=9, events_fd=5)
    line = encoded(task)
    assert line.count(b"\n") == 1
    assert decoded_task(line) == task
    event = WorkerEvent(progress=(3, 9), failure=("what", "hint"), exit_code=5)
    assert decoded_event(encoded(event)) == event


def test_the_command_refuses_a_batch_that_workers_cannot_share(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="jax, the engine of several workers, is not installed")
    from edgepose.host.distill.request import Observers
    from edgepose.host.distill.supervisor import distil_together

    request = DistillationRequest("edgepose-n", (), tmp_path / "out", batch_size=5)
    team = requested_team("a:1,b:2", 0, None)
    assert team is not None
    with pytest.raises(ConfigError, match="cannot be dealt out evenly to 2 workers"):
        distil_together(request, team, Observers())


@pytest.mark.parametrize(
    ("error", "is_of_engine"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), True),
        (ValueError("operands could not be broadcast together"), False),
        (RuntimeError("Gloo"), False),
    ],
)
def test_reset_link_is_a_lost_worker_and_a_bug_is_not(error: Exception, is_of_engine: bool) -> None:
    from edgepose.host.distill.worker import _is_of_engine

    assert _is_of_engine(error) == is_of_engine
