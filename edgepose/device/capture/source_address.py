"""Understands the SOURCE argument, wherever it comes from; opens no camera and no video.

A network camera's address may be on the command line, in a file, on standard input or in a credential of
systemd.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from edgepose.errors import ConfigError
from edgepose.records.display_text import UrlParts, split_url
from edgepose.records.files import read_secret

SourceKind = Literal["path", "camera", "v4l2", "rtsp", "csi", "picamera2", "shared"]

FORMS = (
    "a video file, an image file, a folder of images, file:///PATH, a camera index such as 0, "
    "v4l2:///dev/video0, rtsp://HOST/STREAM, csi://0, picamera2://0 or shared:///FOLDER of a camera's unit"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_MISSPELT = re.compile(r"rtsps?:", re.IGNORECASE)
_MAX_CAMERA_INDEX = 63


@dataclass(frozen=True, repr=False)
class SourceAddress:
    """A parsed SOURCE. However it is printed, a network camera shows its host alone."""

    kind: SourceKind
    _location: str

    @property
    def location(self) -> str:
        """A path for ``path``, ``v4l2`` and ``shared``, what may be shown for ``rtsp``, else the camera's
        number.
        """  # noqa: D205
        return self._location if self.kind != "rtsp" else self.shown

    @property
    def shown(self) -> str:
        """For messages and records: of a network camera its host alone."""
        if self.kind == "path":
            return self._location
        if self.kind == "camera":
            return f"camera {self._location}"
        return self._url.shown if self.kind == "rtsp" else f"{self.kind}://{self._location}"

    @property
    def has_secret(self) -> bool:
        """Whether it holds what one could log in with."""
        return self.kind == "rtsp" and self._url.has_secret

    @property
    def typed(self) -> str:
        """As SOURCE, for everything but a network camera."""
        return self.location if self.kind in {"path", "camera"} else f"{self.kind}://{self.location}"

    @property
    def host(self) -> str:
        """Name or IP address of a network camera."""
        return self._url.hostname

    @property
    def camera_index(self) -> int:
        """The camera's number, for ``camera``, ``csi`` and ``picamera2``."""
        return int(self._location)

    @property
    def met_in(self) -> tuple[Path, ...]:
        """The folder in which a camera's unit is met again when it was started again: by named pipes."""
        return (Path(self.location),) if self.kind == "shared" else ()

    def reveal(self) -> str:
        """The location with user name and password: for the camera and for files and pipes to it alone."""
        return self._location

    def with_login(self, login: str) -> SourceAddress:
        """A network camera with another ``user:password``, as it is or percent-encoded."""
        return SourceAddress(self.kind, self._url.encoded(login))

    def __str__(self) -> str:
        return self.shown

    def __format__(self, form: str) -> str:
        return format(self.shown, form)

    def __repr__(self) -> str:
        return f"SourceAddress({self.kind!r}, {self.shown!r})"

    @property
    def _url(self) -> UrlParts:
        scheme, _, rest = self._location.partition("://")
        parts = split_url(scheme, rest)
        if parts is None:
            # The text is not repeated: it may hold a password.
            raise ConfigError(
                f"The {scheme} address has no usable host, or more than one text in it could be the host; "
                f"expected {scheme}://HOST/STREAM, where a port may follow the host.",
                "In user name and password write %2F for /, %3F for ?, %23 for # and %40 for @.",
            )
        return parts


def parse_source(text: str | SourceAddress) -> SourceAddress:
    """Parses SOURCE.

    Args:
        text: As typed. Digits alone are a camera; a file of that name is ``./0``. What is parsed already
            stays as it is.

    Raises:
        ConfigError: None of the known forms; the message lists them.
    """
    if isinstance(text, SourceAddress):
        return text
    if not text.strip() or "\0" in text:
        raise ConfigError("SOURCE is empty.", f"Give {FORMS}.")
    if text.isascii() and text.isdigit():
        return SourceAddress("camera", _camera_number(text, text))
    match = _SCHEME.fullmatch(text)
    if match is None and _MISSPELT.match(text):
        # The text is not repeated: it may hold a password.
        raise ConfigError("SOURCE begins like the address of a network camera, but has no rtsp://.")
    if match is None:
        return SourceAddress("path", text)
    scheme, rest = match[1].lower(), match[2]
    if scheme not in _PARSERS:
        raise ConfigError(f"SOURCE has the unknown scheme '{scheme[:32]}://'.", f"Give {FORMS}.")
    return _PARSERS[scheme](scheme, rest)


def require_numeric(address: SourceAddress) -> None:
    """Refuses a network camera with a name: looking a name up asks someone else than the camera.

    Raises:
        ConfigError: Its host is no IP address.
    """
    host = address.host
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
    return address.host


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
    parts = SourceAddress("rtsp", f"{scheme}://{rest}")._url
    return SourceAddress("rtsp", parts.encoded())


_PARSERS: dict[str, Callable[[str, str], SourceAddress]] = {
    "file": _file,
    "v4l2": _v4l2,
    "rtsp": _rtsp,
    "rtsps": _rtsp,
    "csi": _camera,
    "picamera2": _camera,
    "shared": _shared,
}


# What the unit of a network camera names its credential (systemd.exec(5), LoadCredential=).
CREDENTIAL = "camera"


def read_camera(
    source: str | None, file: Path | None, environment: Mapping[str, str] = os.environ
) -> SourceAddress | None:
    """The camera, file or folder that was named; None where nothing was.

    Args:
        source: SOURCE as typed, or None.
        file: ``--camera-file``: a whole address, or for a SOURCE that is a network camera its
            ``user:password``; None takes systemd's credential ``camera`` where there is no SOURCE either.
        environment: Of the process.

    Raises:
        ConfigError: SOURCE or the file is of no use, others can read the file, or the two contradict.
    """
    address = None if source is None else parse_source(source)
    if file is None and address is None:
        file = _credential(environment)
    if file is None:
        return address
    text = read_secret(file, "the camera file", environment).strip()
    if address is None:
        return parse_source(text)
    if address.kind != "rtsp" or address.has_secret:
        raise ConfigError(
            "SOURCE and --camera-file name two sources.",
            "Give --camera-file alone, or beside it an rtsp:// SOURCE without a password.",
        )
    if "://" not in text:
        return address.with_login(text)
    found = parse_source(text)
    if found.kind != "rtsp" or found.shown != address.shown:
        raise ConfigError(
            f"The camera file names {found}, SOURCE {address}.", "Leave SOURCE out, or correct one of them."
        )
    return found


def _credential(environment: Mapping[str, str]) -> Path | None:
    folder = environment.get("CREDENTIALS_DIRECTORY", "")
    found = Path(folder) / CREDENTIAL
    return found if folder.startswith("/") and found.exists() else None
