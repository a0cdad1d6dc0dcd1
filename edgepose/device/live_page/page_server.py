"""The page over HTTP, on the loopback interface alone.

One thread serves everybody, and no one can take the place of others: a connection is for one request, which
must be whole after ten seconds however its bytes come; where all places are taken, the one that has waited
longest for its request makes room.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

from edgepose.device.live_page.page_state import MAX_REQUEST_BYTES, Answer, PageState, answer_to, refusal

ADDRESS = "127.0.0.1"
MAX_VIEWERS = 8
# The viewers among them. A browser opens six to one host at once.
MAX_CONNECTIONS = 64
REQUEST_LIMIT_S = 10.0
# A viewer that takes nothing for so long has gone.
_SEND_LIMIT_S = 10.0
# So long and so much is read after an answer, so that a client that still sends gets it.
_GOODBYE_S = 1.0
_GOODBYE_BYTES = 1 << 16
_STEP_S = 1 / 30
_FIGURES_EVERY_S = 1.0


class LiveFeed:
    """The newest state, for those who look and for the one who feeds.

    Args:
        temperature_celsius: Asked once a second where someone looks.
    """

    def __init__(
        self,
        temperature_celsius: Callable[[], float | None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._temperature_celsius = temperature_celsius
        self._clock_s = clock_s
        self._state = PageState()
        self._lock = threading.Lock()

    def take(self, lines: list[bytes]) -> None:
        """Takes lines as they came; one that is damaged is left out."""
        with self._lock:
            for line in lines:
                with suppress(ValueError):
                    self._state.take(line, self._clock_s())

    def end(self) -> None:
        """Nothing more will come."""
        with self._lock:
            self._state.ended = True

    def newest(self) -> tuple[int, dict[str, Any] | None, bool]:
        """The newest frame's number, its skeletons, and whether nothing more will come."""
        with self._lock:
            return self._state.number, self._state.view, self._state.ended

    def figures(self) -> dict[str, Any]:
        """The figures now."""
        temperature = self._temperature_celsius()
        with self._lock:
            return self._state.figures(self._clock_s(), temperature)


class _Viewer:
    """Gets events; one that takes them too slowly misses some, one that takes none is dropped."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._took_at_s = time.monotonic()
        self.is_new = True
        self.gone = asyncio.Event()
        # It has nothing more to say; that it left is noticed by a write that fails.
        transport.pause_reading()

    def offer(self, events: bytes) -> None:
        """Sends events where those before are sent: never more than one step waits for a viewer."""
        now_s = time.monotonic()
        if self._transport.is_closing():
            self.gone.set()
        elif not self._transport.get_write_buffer_size():
            self._took_at_s = now_s
            if events:
                self._transport.write(events)
                self.is_new = False
        elif now_s - self._took_at_s > _SEND_LIMIT_S:
            self._transport.abort()
            self.gone.set()


class PageServer:
    """Serves one feed.

    Args:
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, port: int, feed: LiveFeed) -> None:
        self._feed = feed
        # Nothing asks for SO_REUSEPORT: a second server on the port fails and does not share it.
        self._listener = socket.create_server((ADDRESS, port), backlog=MAX_CONNECTIONS)
        self.server_port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopped, self._ended = asyncio.Event(), threading.Event()
        self._looked_at = asyncio.Event()
        self._viewers: set[_Viewer] = set()
        self._open: set[asyncio.StreamWriter] = set()
        # In the order in which they came.
        self._without_request: dict[asyncio.StreamWriter, None] = {}

    @property
    def address(self) -> str:
        """For a browser."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def serve_forever(self) -> None:
        """Serves until ``shutdown``; in a thread of its own."""
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._ended.set()

    def shutdown(self) -> None:
        """Ends ``serve_forever`` and waits for its end; from another thread."""
        with suppress(RuntimeError):
            # It has ended already where this is raised.
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._ended.wait()

    def server_close(self) -> None:
        """Frees the port."""
        self._listener.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._listener, limit=MAX_REQUEST_BYTES)
        events = asyncio.create_task(self._send_events())
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({events, stopped}, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        events.cancel()
        stopped.cancel()
        # Cancelling what serves a connection would be told as an error by asyncio; its end is not.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for viewer in self._viewers:
                viewer.gone.set()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.wait(left, timeout=0.1)
        # The loop closes the connections in its next turn.
        await asyncio.sleep(0)
        if not events.cancelled():
            # Without events the page is of no use, and why must be seen.
            events.result()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS and not self._make_room():
            writer.transport.abort()
            return
        self._open.add(writer)
        self._without_request[writer] = None
        try:
            answer = await self._answer(reader)
            self._without_request.pop(writer, None)
            await self._send(answer, reader, writer)
        except (OSError, EOFError, asyncio.TimeoutError):
            # It left in the middle, sends no whole request in time, or takes nothing.
            writer.transport.abort()
        finally:
            self._without_request.pop(writer, None)
            self._open.discard(writer)
            writer.close()

    def _make_room(self) -> bool:
        """Ends the connection that has waited longest for its request; whether there was one."""
        for writer in self._without_request:
            del self._without_request[writer]
            writer.transport.abort()
            return True
        return False

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_LIMIT_S)
        except asyncio.LimitOverrunError:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            return refusal(status, f"A request has at most {MAX_REQUEST_BYTES} bytes.")
        answer = answer_to(head)
        if answer.body is None and len(self._viewers) >= MAX_VIEWERS:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} look already.")
        return answer

    async def _send(self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer.encoded())
        if answer.body is None:
            viewer = _Viewer(cast("asyncio.Transport", writer.transport))
            self._viewers.add(viewer)
            self._looked_at.set()
            try:
                await viewer.gone.wait()
            finally:
                self._viewers.discard(viewer)
            return
        await asyncio.wait_for(writer.drain(), _SEND_LIMIT_S)
        writer.write_eof()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_read_away(reader), _GOODBYE_S)

    async def _send_events(self) -> None:
        """The same bytes for all; more frames than a screen can show are left out."""
        seen, figures_at_s = 0, 0.0
        while True:
            await self._looked_at.wait()
            number, view, ended = self._feed.newest()
            poses = _event("poses", view) if view is not None else b""
            news = poses if number != seen else b""
            seen = number
            has_new = any(viewer.is_new for viewer in self._viewers)
            figures = b""
            if ended or has_new or time.monotonic() >= figures_at_s:
                figures = _event("figures", self._feed.figures())
                figures_at_s = time.monotonic() + _FIGURES_EVERY_S
            for viewer in self._viewers:
                viewer.offer((poses if viewer.is_new else news) + figures)
                if ended:
                    viewer.gone.set()
            if not self._viewers:
                self._looked_at.clear()
            await asyncio.sleep(_STEP_S)


async def _read_away(reader: asyncio.StreamReader) -> None:
    left = _GOODBYE_BYTES
    while left > 0 and (piece := await reader.read(left)):
        left -= len(piece)


def _event(name: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return f"event: {name}\ndata: {text}\n\n".encode()
