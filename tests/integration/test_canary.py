"""No pixel of a frame is in anything that a run writes, streams or shows: searched for, byte by byte."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.device.install.installer import install_bundle
from tests.support.bundle_fixtures import bundle_folder
from tests.support.canary import SIZE_WH, canary_picture, traces_in, write_canary_pictures
from tests.support.constant_models import write_one_stage
from tests.support.pictures import STANDING
from tests.support.waiting import PATIENCE_S, until

__all__ = ["bundle_folder"]

_FRAMES = 1500


class Looker:
    """Reads what a socket or the page gives, until it ends."""

    def __init__(self, pieces: Callable[[], bytes], *ends: Callable[[], object]) -> None:
        self._pieces, self._ends = pieces, ends
        self.heard = b""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while piece := self._pieces():
            self.heard += piece
        for end in self._ends:
            end()

    def all(self) -> bytes:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.heard


def _socket_looker(path: Path) -> Looker:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    until(path.exists, "the socket of the run")
    connection.connect(str(path))
    return Looker(lambda: connection.recv(1 << 16), connection.close)


def _page_looker(port: int, path: str) -> Looker:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    return Looker(lambda: answer.read1(1 << 16), answer.close, connection.close)


def _files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_pixel_is_in_what_a_run_writes_streams_and_shows(bundle_folder: Path, tmp_path: Path) -> None:
    pictures = write_canary_pictures(tmp_path / "pictures", _FRAMES)
    place = tmp_path / "device"
    root, home, lines = place / "root", place / "home", place / "poses.jsonl"
    for folder in (place, home, home / "tmp"):
        folder.mkdir()
    install_bundle(bundle_folder / "version1.epb", root)
    before = _files_below(place)
    options = ["--root", root, "--output", lines, "--socket", place / "poses.sock", "--telemetry"]
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", pictures, *options]
    # Whatever it puts into a home or a temporary folder is looked at too.
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
        "HOME": str(home), "TMPDIR": str(home / "tmp"),
    }  # fmt: skip
    said = tmp_path / "said.txt"
    with (
        said.open("wb") as log,
        subprocess.Popen(
            [*map(str, command), "--live-page", "--port", "0", "--json", str(place / "run.json")],
            stdout=log, stderr=log, env=environment, cwd=home,
        ) as process,
    ):  # fmt: skip
        reader = _socket_looker(place / "poses.sock")
        address = until(
            lambda: re.search(rb"http://127\.0\.0\.1:(\d+)/", said.read_bytes()),
            "the page's address",
            last=said.read_bytes,
        )
        assert address is not None
        port = int(address[1])
        viewer = _page_looker(port, "/events")
        shown = b"".join(_page_looker(port, path).all() for path in ("/", "/page.js", "/page.css"))
        assert process.wait(PATIENCE_S) == 0, said.read_text()
    # What is searched is not empty, and everything that was asked for is there.
    streamed, watched = reader.all(), viewer.all()
    assert b'"schema":"edgepose.poses/1"' in streamed
    assert b"event: poses" in watched
    assert b"event: figures" in watched
    assert b"<canvas" in shown
    assert len(lines.read_text().splitlines()) == _FRAMES
    assert json.loads((place / "run.json").read_text())["frames"] == _FRAMES
    written = {path: content for path, content in _files_below(place).items() if before.get(path) != content}
    names = {path.name for path in written}
    assert {"poses.jsonl", "run.json", "telemetry.sqlite3", "telemetry.prom"} <= names
    everything = {**{str(path): content for path, content in written.items()}, "said": said.read_bytes()}
    everything |= {"socket": streamed, "page": shown, "events": watched}
    assert {name: traces for name, content in everything.items() if (traces := traces_in(content))} == {}
    # Negative control: the same search over the pictures themselves, and over one that lies in the root.
    assert traces_in((pictures / "000000.bmp").read_bytes()) == ["BGR raw"]
    (root / "var" / "telemetry" / "forgotten.bin").write_bytes(b"x" + canary_picture().tobytes())
    leaks = [path.name for path, content in _files_below(root).items() if "RGB raw" in traces_in(content)]
    assert leaks == ["forgotten.bin"]


def _planted() -> dict[str, bytes]:
    picture = canary_picture()
    row = picture[24]
    return {
        "RGB raw": b"abc" + picture.tobytes(),
        "BGR raw": picture[..., ::-1].tobytes(),
        "green raw": np.ascontiguousarray(picture[..., 1]).tobytes(),
        "grey raw": cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).tobytes(),
        "RGB from 0 to 1": (picture / np.float32(255)).astype(np.float32).tobytes(),
        "RGB as float32": picture.astype(np.float32).tobytes(),
        "RGB in hex": picture.tobytes().hex().encode(),
        "RGB in base64": base64.b64encode(b"a" + row.tobytes()),
        "RGB in numbers": json.dumps(row.ravel().tolist()).encode(),
        "PNG": cv2.imencode(".png", picture)[1].tobytes(),
        "JPEG": cv2.imencode(".jpg", picture)[1].tobytes(),
    }


@pytest.mark.parametrize("kind", sorted(_planted()))
def test_the_search_finds_what_is_planted(kind: str) -> None:
    content = _planted()[kind]
    assert kind in traces_in(b"before" + content + b"after")
    assert traces_in(np.random.default_rng(1).bytes(100_000)) == []


def test_a_drawn_video_that_a_user_asks_for_holds_the_picture(tmp_path: Path) -> None:
    """The other negative control: ``--render`` is the one output with pixels, and only when it is given."""
    pictures = write_canary_pictures(tmp_path / "pictures", 3)
    model = write_one_stage(tmp_path / "m.onnx", [np.array([30, 32]) + STANDING * 40], [0.9])
    drawn = tmp_path / "drawn.mp4"
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", pictures, "--model", model]
    done = subprocess.run(
        [*map(str, command), "--render", str(drawn)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "MP4" in traces_in(drawn.read_bytes())
    found, frame = cv2.VideoCapture(str(drawn)).read()
    assert found
    assert frame.shape[:2] == SIZE_WH[::-1]
    truth = canary_picture()[..., ::-1].astype(float)
    likeness = np.corrcoef(cv2.blur(truth, (3, 3)).ravel(), cv2.blur(frame.astype(float), (3, 3)).ravel())
    assert likeness[0, 1] > 0.3
