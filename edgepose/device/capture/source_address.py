"""Understands the SOURCE argument; looks at no file and opens nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal
from urllib.parse import unquote, urlsplit

from edgepose.errors import ConfigError

SourceKind = Literal["path", "camera", "v4l2", "rtsp", "csi", "picamera2", "shared"]

FORMS = (
    "a video file, an image file, a folder of images, file:///PATH, a camera index such as 0, "
    "v4l2:///dev/video0, rtsp://HOST/STREAM, csi://0, picamera2://0 or shared:///FOLDER of a camera's unit"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_MAX_CAMERA_INDEX = 63


@dataclass(frozen=True)
class SourceAddress:
    """A parsed SOURCE.

    Attributes:
        kind: What to open.
        location: A path for ``path``, ``v4l2`` and ``shared``, a whole URL for ``rtsp``, else the camera's
            number.
    """

    kind: SourceKind
    location: str = field(repr=False)

    @property
    def shown(self) -> str:
        """For messages and records: the location without user name and password."""
        if self.kind == "path":
            return self.location
        if self.kind == "camera":
            return f"camera {self.location}"
        if self.kind == "rtsp":
            scheme, _, rest = self.location.partition("://")
            authority, slash, path = rest.partition("/")
            return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
        return f"{self.kind}://{self.location}"

    @property
    def camera_index(self) -> int:
        """The camera's number, for ``camera``, ``csi`` and ``picamera2``."""
        return int(self.location)


def parse_source(text: str) -> SourceAddress:
    """Parses SOURCE.

    Args:
        text: As typed. Digits alone are a camera; a file of that name is ``./0``.

    Raises:
        ConfigError: None of the known forms; the message lists them.
    """
    if not text.strip() or "\0" in text:
        raise ConfigError("SOURCE is empty.", f"Give {FORMS}.")
    if text.isascii() and text.isdigit():
        return SourceAddress("camera", _camera_number(text, text))
    match = _SCHEME.fullmatch(text)
    if match is None:
        return SourceAddress("path", text)
    scheme, rest = match[1].lower(), match[2]
    if scheme not in _PARSERS:
        raise ConfigError(f"SOURCE has the unknown scheme '{scheme}://'.", f"Give {FORMS}.")
    return _PARSERS[scheme](scheme, rest)


def require_numeric(address: SourceAddress) -> None:
    """Refuses a network camera with a name: looking a name up asks somebody else than the camera.

    Raises:
        ConfigError: Its host is no IP address.
    """
    host = urlsplit(address.location).hostname or ""
    try:
        ip_address(host)
    except ValueError as problem:
        raise ConfigError(
            f"The camera's address '{host}' is a name, and looking it up needs a name server.",
            "Give its IP address, and have the router always give it the same.",
        ) from problem


def camera_host(address: SourceAddress) -> str:
    """The IP address of a network camera.

    Raises:
        ConfigError: Its host is no IP address.
    """
    require_numeric(address)
    return urlsplit(address.location).hostname or ""


def _camera(scheme: str, rest: str) -> SourceAddress:
    return SourceAddress(
        "csi" if scheme == "csi" else "picamera2", _camera_number(rest, f"{scheme}://{rest}")
    )


def _v4l2(_scheme: str, rest: str) -> SourceAddress:
    if rest.startswith("/dev/"):
        return SourceAddress("v4l2", rest)
    raise ConfigError(f"'v4l2://{rest}' names no device, expected v4l2:///dev/video0.")


def _shared(_scheme: str, rest: str) -> SourceAddress:
    if rest.startswith("/"):
        return SourceAddress("shared", rest)
    raise ConfigError(f"'shared://{rest}' names no folder, expected shared:///run/edgepose-camera.")


def _camera_number(digits: str, text: str) -> str:
    if digits.isascii() and digits.isdigit() and int(digits) <= _MAX_CAMERA_INDEX:
        return str(int(digits))
    raise ConfigError(f"'{text}' names no camera, expected a number from 0 to {_MAX_CAMERA_INDEX}.")


def _file(_scheme: str, rest: str) -> SourceAddress:
    host, slash, path = rest.partition("/")
    if slash and path and host in {"", "localhost"}:
        return SourceAddress("path", unquote(slash + path))
    raise ConfigError(f"'file://{rest}' is no local file, expected file:///PATH.")


def _rtsp(scheme: str, rest: str) -> SourceAddress:
    url = f"{scheme}://{rest}"
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if usable:
        return SourceAddress("rtsp", url)
    # The text is not repeated: it may hold a password.
    raise ConfigError(f"The {scheme}:// address has no usable host, expected {scheme}://HOST[:PORT]/STREAM.")


_PARSERS: dict[str, Callable[[str, str], SourceAddress]] = {
    "file": _file,
    "v4l2": _v4l2,
    "rtsp": _rtsp,
    "rtsps": _rtsp,
    "csi": _camera,
    "picamera2": _camera,
    "shared": _shared,
}
