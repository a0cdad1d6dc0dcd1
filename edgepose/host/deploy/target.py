"""Where a bundle is installed. The command line passes one in, because ``host`` does not know ``device``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edgepose.spec.device_profile import DeviceProfile


class InstallTarget(Protocol):
    """A device root here, and later one over ssh."""

    def check(self, profile: DeviceProfile) -> None:
        """Refuses a target of no use, before any work and without changing it.

        Raises:
            EdgeposeError: It belongs to something else, to another profile, or cannot be written.
        """
        ...

    def next_version(self) -> int:
        """The bundle version that comes after everything installed so far."""
        ...

    def install(self, bundle: Path, *, allow_downgrade: bool, say: Callable[[str], None]) -> dict[str, Any]:
        """Installs a bundle; returns the record of the installation.

        Raises:
            EdgeposeError: It failed; the version before is active.
        """
        ...
