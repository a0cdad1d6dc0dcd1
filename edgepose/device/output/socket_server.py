"""``python -m edgepose.device.output.socket_server PATH``: lines of standard input to all who connect."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from edgepose.device.output.line_splitter import LineSplitter

# About ten seconds of one person at 30 frames a second.
MAX_WAITING_BYTES = 1 << 20
MAX_READERS = 16
_FLUSH_LIMIT_S = 2.0
# A reader that takes nothing of what waits for so long has gone; its place is free for another one.
TAKING_LIMIT_S = 60.0
_PIECE_BYTES = 1 << 18


class Reader:
    """One connection: lines that wait for it, and how many it missed.

    Attributes:
        waiting: Bytes of whole lines, the first of which may be sent in part.
        dropped: Lines that it was too slow for.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self.connection = connection
        self.waiting = bytearray()
        self.dropped = 0
        self._took_at_s = time.monotonic()

    def offer(self, line: bytes) -> None:
        """Takes a line, or drops it whole where too much waits already."""
        if len(self.waiting) + len(line) > MAX_WAITING_BYTES:
            self.dropped += 1
        else:
            self.waiting += line

    def send(self) -> bool:
        """Sends what the system takes; returns whether the reader is still there."""
        try:
            while self.waiting:
                del self.waiting[: self.connection.send(self.waiting)]
                self._took_at_s = time.monotonic()
        except BlockingIOError:
            return time.monotonic() - self._took_at_s < TAKING_LIMIT_S
        except OSError:
            return False
        self._took_at_s = time.monotonic()
        return True


class LineServer:
    """Takes lines from one descriptor to many connections.

    Attributes:
        dropped: Lines that readers who left were too slow for.
    """

    def __init__(self, source: int, listener: socket.socket) -> None:
        self.readers = 0
        self.dropped = 0
        self._source = source
        self._listener = listener
        self._lines = LineSplitter()
        self._connected: dict[int, Reader] = {}
        self._ready = selectors.DefaultSelector()
        self._ready.register(source, selectors.EVENT_READ)
        self._ready.register(listener, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until the lines end; then what waits is sent for at most two seconds."""
        while self._step():
            pass
        limit = time.monotonic() + _FLUSH_LIMIT_S
        while any(r.waiting for r in self._connected.values()) and (left := limit - time.monotonic()) > 0:
            for key, events in self._ready.select(left):
                self._on_reader(int(key.fd), events)
        for number in list(self._connected):
            self._forget(number)

    def _step(self) -> bool:
        for key, events in self._ready.select():
            if key.fd == self._source:
                piece = os.read(self._source, _PIECE_BYTES)
                if not piece:
                    self._ready.unregister(self._source)
                    self._ready.unregister(self._listener)
                    return False
                self._hand_out(self._lines.take(piece))
            elif key.fd == self._listener.fileno():
                self._accept()
            else:
                self._on_reader(int(key.fd), events)
        return True

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            if len(self._connected) >= MAX_READERS:
                connection.close()
                return
            self.readers += 1
            self._connected[connection.fileno()] = Reader(connection)
            self._ready.register(connection, selectors.EVENT_READ)

    def _hand_out(self, lines: list[bytes]) -> None:
        for number, reader in list(self._connected.items()):
            for line in lines:
                reader.offer(line)
            self._send(number)

    def _on_reader(self, number: int, events: int) -> None:
        if number not in self._connected:
            return
        if events & selectors.EVENT_READ and not self._listens_only(number):
            return
        if events & selectors.EVENT_WRITE:
            self._send(number)

    def _listens_only(self, number: int) -> bool:
        """Nothing is taken from a reader; one that says no more may go on reading."""
        reader = self._connected[number]
        try:
            if not reader.connection.recv(1 << 12):
                # `socat -u` and the like close their sending half at once: only a failed send says more.
                self._watch(number, reading=False)
        except BlockingIOError:
            pass
        except OSError:
            self._forget(number)
            return False
        return True

    def _send(self, number: int) -> None:
        if self._connected[number].send():
            self._watch(number)
        else:
            self._forget(number)

    def _watch(self, number: int, *, reading: bool | None = None) -> None:
        reader = self._connected[number]
        try:
            was = self._ready.get_key(number).events
        except KeyError:
            was = 0
        reads = bool(was & selectors.EVENT_READ) if reading is None else reading
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if reader.waiting else 0)
        if events == was:
            return
        if was and events:
            self._ready.modify(reader.connection, events)
        elif events:
            self._ready.register(reader.connection, events)
        else:
            self._ready.unregister(reader.connection)

    def _forget(self, number: int) -> None:
        reader = self._connected.pop(number)
        # What waits until the end is as lost as what was dropped before.
        self.dropped += reader.dropped + reader.waiting.count(b"\n")
        with suppress(KeyError):
            self._ready.unregister(reader.connection)
        reader.connection.close()


def listening(path: Path) -> socket.socket:
    """A socket at a path, for this user alone; one that a killed run left is replaced.

    Raises:
        ValueError: Something else is there, or someone listens; the message is for people.
        OSError: It cannot be made.
    """
    if path.is_symlink() or path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ValueError(f"{path} is there and is no socket.")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(ConnectionRefusedError):
            probe.connect(str(path))
            raise ValueError(f"Somebody listens at {path} already.")
        path.unlink()
    # It gets its name once it listens: who waits for the path may connect at once. The name before that
    # is as long, as the system allows only about 100 bytes.
    unready = path.with_name(path.name[:-1] + ("_" if path.name.endswith("~") else "~"))
    if unready.is_socket():
        unready.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(unready))
        listener.listen(MAX_READERS)
        # Unlike a rename, a link takes no one's place.
        path.hardlink_to(unready)
        unready.unlink()
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.settimeout(0)
    return listener


def main() -> None:
    """Says ``Started``, serves until standard input ends, says ``Ended``."""
    from edgepose.device.output.streams import Ended, Started
    from edgepose.records.record import to_json

    # The run is stopped, and then ends these lines: readers get the last frame in any case.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    path = Path(sys.argv[1])
    try:
        listener = listening(path)
    except (ValueError, OSError) as problem:
        reason = str(problem) if isinstance(problem, ValueError) else f"Cannot listen at {path}: {problem}."
        print(to_json(Started(problem=reason, hint="Choose another --socket.")), flush=True)  # noqa: T201
        return
    made = path.stat().st_ino
    print(to_json(Started(place=str(path))), flush=True)  # noqa: T201 (the protocol)
    server = LineServer(sys.stdin.fileno(), listener)
    try:
        server.serve()
    finally:
        with suppress(OSError):
            if path.stat().st_ino == made:
                path.unlink()
    with suppress(BrokenPipeError):
        print(to_json(Ended(readers=server.readers, dropped=server.dropped)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
