"""Reads and writes ``state.json``; the write is one rename."""

from __future__ import annotations

from pathlib import Path

from edgepose.device.install.durable_files import flush_and_forget, flush_folder
from edgepose.device.install.fault_points import FaultPoint
from edgepose.device.install.layout import Layout
from edgepose.device.install.transitions import DeviceState
from edgepose.errors import DeployError, TrustError
from edgepose.spec.records import from_json, to_json


def read_state(layout: Layout) -> DeviceState:
    """Reads the state; a root without one is new.

    Raises:
        TrustError: The file is damaged.
        DeployError: It cannot be read.
    """
    try:
        content = layout.state.read_bytes()
    except FileNotFoundError:
        return DeviceState()
    except OSError as problem:
        raise DeployError(f"Cannot read {layout.state}: {problem.strerror}.") from problem
    return from_json(content, DeviceState, str(layout.state), TrustError)


def write_state(layout: Layout, state: DeviceState, reach: FaultPoint) -> None:
    """Replaces the state: the old one or the new one is there at any moment.

    Raises:
        OSError: It cannot be written; the old state stays.
    """
    temporary: Path = layout.state_temporary
    with temporary.open("wb") as stream:
        stream.write(to_json(state, indent=1).encode())
        flush_and_forget(stream)
    reach("state_written_aside")
    temporary.replace(layout.state)
    reach("state_renamed")
    flush_folder(layout.root)
