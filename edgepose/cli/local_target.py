"""A device root on this machine as the target of a deployment: the one place where host meets device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.cli.install_report import describe_install
from edgepose.device.install.installer import install_bundle
from edgepose.device.install.readiness import check_keys, check_root
from edgepose.records.deployment_report import InstallationReport
from edgepose.records.device_profile import DeviceProfile


class LocalTarget:
    """A folder on this machine.

    Args:
        root: The device root.
        roots: Roots of the keys that sign for it, from version 1 on; empty for unsigned bundles. The newest
            is pinned where nothing is pinned yet.
    """

    def __init__(self, root: Path, roots: tuple[bytes, ...] = ()) -> None:
        self._root = root
        self._roots = roots
        self._next_version = 1

    def check(self, profile: DeviceProfile) -> None:
        """Refuses a root of no use before any work.

        Raises:
            EdgeposeError: As ``check_root`` raises.
        """
        self._next_version = check_root(self._root, profile.id)
        check_keys(self._root, self._roots)

    def next_version(self) -> int:
        """The bundle version that comes after everything installed so far."""
        return self._next_version

    def install(
        self, bundle: Path, *, allow_downgrade: bool, say: Callable[[str], None]
    ) -> InstallationReport:
        """Installs a bundle.

        Raises:
            EdgeposeError: As ``install_bundle`` raises.
        """
        enroll = self._roots[-1] if self._roots else None
        installed = install_bundle(
            bundle, self._root, allow_downgrade=allow_downgrade, enroll=enroll, report=say
        )
        record, _ = describe_install(installed)
        return record
