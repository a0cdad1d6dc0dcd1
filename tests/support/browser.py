"""A real headless browser, driven by the DevTools protocol over a pipe (chrome --remote-debugging-pipe)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import PATIENCE_S, until

_NAMES = ("chromium", "chromium-browser", "google-chrome")
REBOUND = "rebound.example"


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def open_page(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; events on the way are kept."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") != self._number:
                self.events.append(message)
                continue
            assert "error" not in message, message
            result: dict[str, Any] = message["result"]
            return result

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    def dark(self, *, on: bool) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def go(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Until an expression is true."""
        return until(lambda: self.ask(expression), expression)

    def wait_until_drawn(self) -> None:
        """Until whatever the page has asked to draw is drawn: the second frame begins after the first."""
        self.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def screenshot(self, path: Path | None = None) -> bytes:
        content = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(content)
        return content

    def heard(self, method: str) -> list[dict[str, Any]]:
        """Parameters of all events of a kind so far."""
        self.call("Runtime.evaluate", expression="0")
        return [e["params"] for e in self.events if e.get("method") == method]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], PATIENCE_S)[0], "the browser says nothing"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser ended"
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextmanager
def headless_browser(profile: Path) -> Iterator[Browser]:
    """Starts a browser with a profile of its own; skips the test where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} is installed")
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    def pipes_at_3_and_4() -> None:
        # Copies first, so that neither overwrites the other.
        ends = os.dup(command_read), os.dup(answer_write)
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    # A foreign name that leads to this machine, as DNS rebinding would make one.
    arguments = [
        f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-pipe",
        "--no-first-run",
    ]
    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments, "--disable-dev-shm-usage", f"--user-data-dir={profile}", "about:blank"],
            stdout=log,
            stderr=log,
            close_fds=False,
            env={**os.environ, "TMPDIR": str(profile.parent)},
            preexec_fn=pipes_at_3_and_4,  # noqa: PLW1509 (Chromium wants its pipes at these numbers)
        )
    os.close(command_read)
    os.close(answer_write)
    browser = Browser(command_write, answer_read)
    try:
        browser.open_page()
        yield browser
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(command_write)
        os.close(answer_read)
