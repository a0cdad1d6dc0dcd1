"""Where a camera's address comes from: the command line, a file, standard input, or systemd's credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.errors import ConfigError
from edgepose.spec.secret_file import read_secret

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
