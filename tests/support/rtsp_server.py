"""A real RTSP camera: GStreamer's server, in a process of the system's Python, on loopback.

Run as a program by :class:`RtspCamera`; GStreamer's bindings belong to the system's Python, not to a virtual
environment, so this file imports nothing of the project.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_SYSTEM_PYTHON = "/usr/bin/python3"
_PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(Gst.ElementFactory.find(name) for name in ('videotestsrc', 'jpegenc', 'rtpjpegpay'))"
)
MISSING = (
    "GStreamer's RTSP server is not installed: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 "
    "gstreamer1.0-plugins-good"
)


def has_rtsp_server() -> bool:
    """Whether this machine can play an RTSP camera."""
    if shutil.which(_SYSTEM_PYTHON) is None:
        return False
    return subprocess.run([_SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False).returncode == 0


class RtspCamera:
    """A camera that can be unplugged and plugged in again.

    Attributes:
        url: Its address.
    """

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self._port}/camera"
        self._process: subprocess.Popen[str] | None = None

    def plug(self, pattern: str = "ball", size_wh: tuple[int, int] = (320, 240)) -> None:
        """Starts it.

        Args:
            pattern: What it sees, as ``videotestsrc`` names it; ``ball`` moves, ``white`` stands still.
            size_wh: Of its pictures.
        """
        width, height = size_wh
        launch = (
            f"( videotestsrc is-live=true pattern={pattern} ! "
            f"video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! jpegenc ! "
            "rtpjpegpay name=pay0 )"
        )
        self._process = subprocess.Popen(
            [_SYSTEM_PYTHON, __file__, str(self._port), launch],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._process.stdout is None or self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the RTSP server did not start")

    def unplug(self) -> None:
        """Ends it at once, in mid-frame."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _serve(port: str, launch: str) -> None:
    import gi  # type: ignore[import-not-found]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]

    library: Any = GstRtspServer
    Gst.init(None)
    server = library.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = library.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__" and Path(sys.argv[0]).name == Path(__file__).name:
    _serve(*sys.argv[1:3])
