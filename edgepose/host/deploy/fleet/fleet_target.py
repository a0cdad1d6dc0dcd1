"""All devices of an inventory as the target of one deployment: the model is prepared and judged once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import DeployError, EdgeposeError
from edgepose.host.deploy.fleet.inventory import FleetHost
from edgepose.host.deploy.fleet.rollout import RolloutPlan, prepare_ssh, roll_out
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.records.deployment_report import InstallOptions, RolloutReport
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.files import write_whole

_AT_ONCE = 10


@dataclass
class FleetTarget:
    """The devices.

    Attributes:
        plan: How to roll out.
        hosts: The devices.
        roots: Roots of the keys that sign.
        say: Takes one line of progress.
        report: What the rollout did, once it ran.
    """

    plan: RolloutPlan
    hosts: list[FleetHost]
    roots: tuple[bytes, ...] = ()
    say: Callable[[str], None] = lambda _line: None
    report: RolloutReport | None = None
    _next_version: int = 1

    def check(self, profile: DeviceProfile) -> None:
        """Asks every device; those that do not answer or do not fit are told, and left to the rollout.

        Raises:
            DeployError: None of them can take the bundle.
        """
        prepare_ssh(self.plan, self.hosts)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda host: self._ask(host, profile), self.hosts))
        versions = [answer for answer in answers if isinstance(answer, int)]
        for host, answer in zip(self.hosts, answers, strict=True):
            if not isinstance(answer, int):
                self.say(f"{host.name}: {answer}")
        if not versions:
            raise DeployError(
                f"None of the {len(self.hosts)} devices can take a bundle; the first says: {answers[0]}"
            )
        self._next_version = max(versions)

    def next_version(self) -> int:
        """The bundle version that is new to every device."""
        return self._next_version

    def install(self, bundle: Path, _options: InstallOptions, say: Callable[[str], None]) -> RolloutReport:
        """Rolls the bundle out, with the options of the plan.

        Raises:
            EdgeposeError: As ``roll_out`` raises.
        """
        write_whole(self.plan.bundle, [bundle.read_bytes()])
        self.report = roll_out(self.plan, self.hosts, say)
        return self.report

    def _ask(self, host: FleetHost, profile: DeviceProfile) -> int | str:
        try:
            with connect(host.address(self.plan.ssh_config)) as connection:
                target = RemoteTarget(connection, self.roots)
                target.check(profile)
                return target.next_version()
        except EdgeposeError as problem:
            return problem.message
