"""Poses over a Unix socket, through the real process that serves it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edgepose.device.output import socket_server
from edgepose.device.output.pose_sink import pose_line
from edgepose.device.output.socket_server import MAX_READERS, MAX_WAITING_BYTES, listening
from edgepose.device.output.streams import SocketSink
from edgepose.errors import ConfigError
from tests.support.captures import is_alive
from tests.support.pictures import persons_at, result_of
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.timing

PERSONS = persons_at([(100.0 + 9 * person, 120.0) for person in range(5)])


@contextmanager
def reader_of(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        yield connection


def wait_until_accepted(sink: SocketSink, *readers: socket.socket) -> int:
    """Writes frames until each reader got one, as connecting is not being accepted; how many it wrote."""
    waiting = set(readers)
    written = 0

    def are_served() -> bool:
        nonlocal written
        sink.write(result_of(PERSONS, written))
        written += 1
        served, _, _ = select.select(waiting, [], [], 0.05)
        waiting.difference_update(served)
        return not waiting

    until(are_served, "every reader got a line", last=lambda: waiting)
    return written


def everything(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def up_to(connection: socket.socket, end: bytes) -> bytes:
    """What is sent up to these bytes."""
    got = b""
    while not got.endswith(end):
        piece = connection.recv(1 << 16)
        assert piece, "the server ended"
        got += piece
    return got


def test_every_reader_gets_the_lines_of_the_file(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "poses.sock"
    sink = SocketSink(path, said.append)
    with reader_of(path) as first, reader_of(path) as second:
        # A reader that has nothing to say, as `socat -u` does.
        second.shutdown(socket.SHUT_WR)
        before = wait_until_accepted(sink, first, second)
        for index in range(before, before + 50):
            sink.write(result_of(PERSONS, index))
        last = pose_line(result_of(PERSONS, before + 49))
        received = [up_to(first, last), up_to(second, last)]
        sink.close(complete=True)
        sink.close(complete=True)
        assert [everything(first), everything(second)] == [b"", b""]
        for got in received:
            count = got.count(b"\n")
            # Whole lines without a gap, from when it was accepted.
            lines = [pose_line(result_of(PERSONS, before + 50 - count + index)) for index in range(count)]
            assert count > 50
            assert got == b"".join(lines)
    assert not path.exists()
    assert said == []


def test_only_this_user_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "poses.sock"
    before = os.umask(0)
    try:
        sink = SocketSink(path, print)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sink.close(complete=True)


def test_a_reader_that_does_not_read_misses_lines_and_holds_nobody_up(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "poses.sock"
    sink = SocketSink(path, said.append)
    count = 4 * MAX_WAITING_BYTES // len(pose_line(result_of(PERSONS)))
    with reader_of(path) as lazy, reader_of(path) as eager:
        before = wait_until_accepted(sink, lazy, eager)
        got_eagerly = b""
        for index in range(before, before + count):
            sink.write(result_of(PERSONS, index))
            # The eager one is never more than a few lines behind, however busy this machine is.
            while index % 20 == 0 and f'"frame":{index},'.encode() not in got_eagerly[-20_000:]:
                got_eagerly += eager.recv(1 << 16)
        sink.close(complete=True)
        got_eagerly += everything(eager)
        got = everything(lazy)
    eager_frames = [json.loads(text)["frame"] for text in got_eagerly.splitlines()]
    assert eager_frames[-count:] == list(range(before, before + count))
    # What the lazy one got are whole lines with gaps; only the very last may be torn by the end of the run.
    frames = [json.loads(text)["frame"] for text in got.split(b"\n")[:-1]]
    assert 0 < len(frames) < count
    assert frames == sorted(frames)
    dropped = before + count - frames[0] - len(frames)
    assert f"2 readers; {dropped} lines were dropped for those too slow, 0 for all" in said[0]


def test_a_server_that_hangs_drops_lines_and_does_not_stop_the_run(tmp_path: Path) -> None:
    sink = SocketSink(tmp_path / "poses.sock", print)
    assert sink._process is not None
    process = sink._process._process
    process.send_signal(signal.SIGSTOP)
    # Were one write to wait for the server, it would wait for ever: only this test wakes it.
    for index in range(2000):
        sink.write(result_of(PERSONS, index))
    assert sink._process.dropped > 0
    process.send_signal(signal.SIGCONT)
    sink.close(complete=True)


def test_a_server_that_was_killed_does_not_stop_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    sink = SocketSink(tmp_path / "poses.sock", said.append)
    assert sink._process is not None
    sink._process._process.kill()
    sink._process._process.wait()
    for index in range(3):
        sink.write(result_of(PERSONS, index))
    sink.close(complete=True)
    assert "had ended before the run" in said[0]


def test_a_socket_that_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "poses.sock"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    sink = SocketSink(path, print)
    with reader_of(path):
        pass
    sink.close(complete=True)


def test_a_socket_that_is_there_takes_readers_at_once(tmp_path: Path) -> None:
    """Looked for as fast as this machine can, while sockets come and go."""
    path, refused, done = tmp_path / "poses.sock", [], threading.Event()

    def look() -> None:
        while not done.is_set():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as reader:
                reader.setblocking(False)
                try:
                    reader.connect(str(path))
                except ConnectionRefusedError:
                    refused.append(path)
                except (FileNotFoundError, BlockingIOError):
                    continue

    looker = threading.Thread(target=look)
    looker.start()
    listeners = []
    for _ in range(300):
        listeners.append(listening(path))
        path.unlink()
    done.set()
    looker.join(PATIENCE_S)
    for listener in listeners:
        listener.close()
    assert refused == []
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_is_in_use_and_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "poses.sock"
    sink = SocketSink(path, print)
    with pytest.raises(ConfigError, match="Somebody listens"):
        SocketSink(path, print)
    assert path.exists()
    sink.close(complete=True)
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is no socket"):
        SocketSink(path, print)
    assert path.read_text() == "mine"
    with pytest.raises(ConfigError, match="Cannot listen"):
        SocketSink(tmp_path / "nowhere" / "poses.sock", print)
    with pytest.raises(ConfigError, match="Cannot listen"):
        SocketSink(tmp_path / ("x" * 200), print)


def test_the_server_ends_with_a_killed_run(tmp_path: Path) -> None:
    path = tmp_path / "poses.sock"
    code = (
        "import sys, time, pathlib\n"
        "from edgepose.device.output.streams import SocketSink\n"
        "sink = SocketSink(pathlib.Path(sys.argv[1]), print)\n"
        "print(sink._process._process.pid, flush=True)\n"
        "time.sleep(999)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        run.kill()
    until(lambda: not is_alive(server), "the server is gone")
    assert not path.exists()


def test_more_readers_than_places_are_closed_at_once(tmp_path: Path) -> None:
    sink = SocketSink(tmp_path / "poses.sock", print)
    with ExitStack() as opened:
        readers = [opened.enter_context(reader_of(tmp_path / "poses.sock")) for _ in range(MAX_READERS)]
        wait_until_accepted(sink, *readers)
        late = opened.enter_context(reader_of(tmp_path / "poses.sock"))
        assert late.recv(10) == b""
        sink.close(complete=True)


def test_a_reader_that_takes_nothing_for_long_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_server, "TAKING_LIMIT_S", 0.05)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        reader = socket_server.Reader(ours)
        reader.offer(b"x" * MAX_WAITING_BYTES)
        until(lambda: not reader.send(), "it loses its place")
    # The control: one that takes what comes keeps its place for as long as it likes.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        reader = socket_server.Reader(ours)
        time.sleep(0.06)
        reader.offer(b"line\n")
        assert reader.send()
