"""Files through a process of their own: the same frames, the same errors, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepose.device.capture.frame_source import FrameSource
from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import parse_source
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.errors import ConfigError, DeviceError
from tests.support.captures import (
    capture_pid,
    child_of,
    is_alive,
    kill_capture,
    read_frame,
    read_on,
)
from tests.support.pictures import write_pictures, write_video
from tests.support.waiting import until

pytestmark = pytest.mark.timing

_FRAMES = 40
_SHARED = Path("/dev/shm")  # noqa: S108 (looked into, not written)


@pytest.fixture(name="video")
def _video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "v.mp4", frames=_FRAMES)


def _all(source: FrameSource) -> list[np.ndarray]:
    images: list[np.ndarray] = []
    while not source.ended:
        frame = source.read(1.0)
        if frame is not None:
            assert frame.index == len(images)
            images.append(frame.image.copy())
    source.close()
    return images


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_frames_are_those_of_the_file_each_once_and_in_order(video: Path, tmp_path: Path, kind: str) -> None:
    path = video if kind == "video" else write_pictures(tmp_path / "pictures", 7)
    address = parse_source(str(path))
    supervised = SupervisedSource(address)
    assert supervised.info == open_source(address).info
    found, expected = _all(supervised), _all(open_source(address))
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_pictures_that_are_held_stay_as_they_are_and_no_other_comes_meanwhile(video: Path) -> None:
    source = SupervisedSource(parse_source(str(video)))
    held = [read_frame(source) for _ in range(5)]
    before = [frame.image.copy() for frame in held]
    for frame, copy in zip(held, before, strict=True):
        assert np.array_equal(frame.image, copy)
    del frame
    held.clear()
    rest = 5
    while not source.ended:
        rest += source.read(1.0) is not None
    assert rest == _FRAMES
    source.close()


def test_a_file_is_read_ahead_while_its_frame_is_looked_at(video: Path) -> None:
    source = SupervisedSource(parse_source(str(video)))
    read_frame(source)
    # Nothing more was asked for since.
    until(lambda: source._link.messages.wait(0.0), "the next frame waits")
    source.close()


@pytest.mark.parametrize("damage", ["missing", "empty", "no_video", "cut"])
def test_a_bad_file_is_the_same_error_as_without_a_process(video: Path, tmp_path: Path, damage: str) -> None:
    bad = tmp_path / "bad.mp4"
    if damage != "missing":
        whole = video.read_bytes()
        bad.write_bytes({"empty": b"", "no_video": b"text" * 99, "cut": whole[: len(whole) // 2]}[damage])
    address = parse_source(str(bad))
    with pytest.raises(ConfigError) as expected:
        _all(open_source(address))
    source = SupervisedSource(address)
    with pytest.raises(ConfigError) as found:
        _all(source.opened())
    source.close()
    assert (found.value.message, found.value.hint) == (expected.value.message, expected.value.hint)


def test_a_picture_that_is_damaged_on_the_way_is_named_after_the_ones_before_it(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 4)
    victim = sorted(folder.iterdir())[2]
    victim.write_bytes(b"no picture")
    source = SupervisedSource(parse_source(str(folder)))
    assert [read_frame(source).index for _ in range(2)] == [0, 1]
    with pytest.raises(ConfigError, match=victim.name):
        read_on(source)
    source.close()


def test_a_file_whose_process_is_killed_ends_with_one_sentence(video: Path) -> None:
    source = SupervisedSource(parse_source(str(video)))
    read_frame(source)
    kill_capture(source)
    with pytest.raises(DeviceError, match=r"The process that reads .*v\.mp4 was killed by signal 9"):
        read_on(source)
    source.close()


def test_a_killed_keeper_ends_with_one_sentence_and_leaves_no_process(video: Path) -> None:
    source = SupervisedSource(parse_source(str(video)))
    read_frame(source)
    child = capture_pid(source)
    os.kill(source.supervisor_pid, signal.SIGKILL)
    # The capture process dies of its supervisor's death; until then it may still deliver the whole file.
    until(lambda: not is_alive(child), "the capture process is gone")
    with pytest.raises(DeviceError, match=r"watches over .*v\.mp4 was killed by signal 9"):
        read_on(source)
    source.close()


def test_closing_leaves_no_process_and_no_descriptor(video: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    source = SupervisedSource(parse_source(str(video)))
    frame = read_frame(source)
    pids = (source.supervisor_pid, capture_pid(source))
    source.close()
    source.close()
    assert not any(is_alive(pid) for pid in pids)
    # A picture outlives its source, and what it lies in goes with it.
    assert frame.image.shape[2] == 3
    del frame
    assert len(set(Path("/proc/self/fd").iterdir())) <= len(before)


def test_a_killed_reader_leaves_neither_processes_nor_shared_memory(video: Path) -> None:
    program = (
        "import sys, time; from edgepose.device.capture.source_address import parse_source; "
        "from edgepose.device.capture.supervised.supervised_source import SupervisedSource; "
        "s = SupervisedSource(parse_source(sys.argv[1])); f = s.read(99); "
        "print(s.supervisor_pid, flush=True); time.sleep(999)"
    )
    shared_before = set(_SHARED.iterdir())
    with subprocess.Popen(
        [sys.executable, "-c", program, str(video)], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        supervisor = int(reader.stdout.readline())
        child = child_of(supervisor)
        assert child is not None
        reader.kill()
    until(lambda: not is_alive(supervisor) and not is_alive(child), "both processes are gone")
    assert set(_SHARED.iterdir()) == shared_before


def _status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{field}:"))


@pytest.mark.parametrize("lock", [True, False])
def test_both_processes_are_locked_in_and_have_no_socket(video: Path, *, lock: bool) -> None:
    source = SupervisedSource(parse_source(str(video)), CaptureOptions(lock=lock))
    read_frame(source)
    for pid in (source.supervisor_pid, capture_pid(source)):
        # 2 is SECCOMP_MODE_FILTER, 0 is none: proc(5). Unlocked is the control.
        assert _status(pid, "Seccomp") == ("2" if lock else "0")
        assert _status(pid, "NoNewPrivs") == ("1" if lock else "0")
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert not [link for link in links if link.startswith("socket:")]
    source.close()


def test_the_keeper_maps_no_picture_and_no_library_that_could_read_one(video: Path) -> None:
    source = SupervisedSource(parse_source(str(video)))
    read_frame(source)
    supervisor, child = (
        Path(f"/proc/{pid}/maps").read_text() for pid in (source.supervisor_pid, capture_pid(source))
    )
    # The capture process is the control: there both are.
    for name in ("edgepose-pictures", "cv2"):
        assert name in child
        assert name not in supervisor
    source.close()
