"""Checkpoints survive kills, damage and full disks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.distill.checkpoints import Checkpoint, CheckpointFolder
from edgepose.host.distill.training import MetricsLog
from tests.support.full_disk import largest_file, small_disk

RUN = {"seed": 1, "student": "edgepose-s"}


def _checkpoint(step: int, size: int = 3) -> Checkpoint:
    arrays = (np.full(size, step, np.float32), np.array(step, np.int64))
    return Checkpoint(step, float(step), RUN, arrays)


def test_a_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "c")
    folder.save(_checkpoint(7))
    found, notes = folder.load_latest(RUN)
    assert found is not None
    assert (found.step, found.elapsed_s, notes) == (7, 7.0, [])
    for stored, saved in zip(found.arrays, _checkpoint(7).arrays, strict=True):
        assert stored.dtype == saved.dtype
        assert np.array_equal(stored, saved)


def test_a_new_run_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "none").load_latest(RUN) == (None, [])


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2, 3, 4):
        folder.save(_checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003.npz", "step-00000004.npz"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path: Path, share: float) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_checkpoint(1))
    newest = folder.save(_checkpoint(2))
    data = newest.read_bytes()
    newest.write_bytes(data[: int(len(data) * share)])
    found, notes = folder.load_latest(RUN)
    assert found is not None
    assert found.step == 1
    assert "step-00000002.npz is damaged" in notes[0]


def test_flipped_bits_in_a_checkpoint_are_noticed(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    path = folder.save(_checkpoint(1, size=1000))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="No checkpoint"):
        folder.load_latest(RUN)


def test_another_runs_checkpoint_is_refused_with_what_differs(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_checkpoint(1))
    with pytest.raises(ConfigError, match="seed was 1, is 2"):
        folder.load_latest({**RUN, "seed": 2})


def test_a_full_disk_keeps_the_earlier_checkpoint_whole(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(_checkpoint(1))
    with largest_file(50_000), pytest.raises(ConfigError, match=r"step-00000001\.npz is whole"):
        folder.save(_checkpoint(2, size=100_000))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.npz"]
    found, notes = folder.load_latest(RUN)
    assert found is not None
    assert (found.step, notes) == (1, [])


def test_a_really_full_disk_keeps_the_earlier_checkpoint_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path, "256k"):
        folder = CheckpointFolder(tmp_path)
        folder.save(_checkpoint(1))
        with pytest.raises(ConfigError, match="No space left"):
            folder.save(_checkpoint(2, size=100_000))
        found, _ = folder.load_latest(RUN)
        assert found is not None
        assert found.step == 1


def test_the_log_drops_what_will_be_written_again_and_lines_cut_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.write(step, loss=float(step))
    with path.open("ab") as stream:
        stream.write(b'{"step":4,"lo')
    MetricsLog(path, first_step=2).write(3, loss=30.0)
    assert path.read_text().splitlines() == [
        '{"step":1,"loss":1.0}',
        '{"step":2,"loss":2.0}',
        '{"step":3,"loss":30.0}',
    ]


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":9}\n')
    MetricsLog(path)
    assert path.read_text() == ""


def test_a_run_that_only_goes_on_to_its_end_knows_the_loss_that_was_logged(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.last("loss") is None
    log.write(1, loss=4.0)
    log.write(2, loss=3.5)
    log.write(2, validation={"oks_ap": 0.1})
    assert MetricsLog(tmp_path / "metrics.jsonl", first_step=2).last("loss") == 3.5
