"""A rollout: one bundle, many devices, in stages, with a limit on failures; Ansible is the engine.

The model is prepared and judged once for all devices of an inventory.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from edgepose.errors import ConfigError, DeployError, EdgeposeError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.fleet.inventory import (
    FleetHost,
    ansible_environment,
    ansible_program,
    ssh_config_text,
)
from edgepose.host.deploy.ssh.connection import connect, default_known_hosts, remember_host_key
from edgepose.host.deploy.ssh.remote_host import ssh_options
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.records.deployment_report import HostOutcome, InstallOptions, Outcome, RolloutReport
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.display_text import visible
from edgepose.records.files import open_appending, write_whole
from edgepose.records.record import parse_json
from edgepose.sandbox.python_child import python_command
from edgepose.trust.bundle_reader import verify_bundle
from edgepose.trust.digests import sha256_of_file

DEFAULT_STAGES = ("1", "10%", "100%")
DEFAULT_FAILURE_LIMIT = 10
_FORKS = 10
# Ansible is silent while devices install, as long as one may (LONG of remote_host.py) at each stage.
_LIMITS = AnswerLimits(bytes=16 * MIB, silence_s=7200.0)
_LINE_CHARACTERS = 10_000
_LOG_CHARACTERS = 64 * MIB
# The recap stands at the end, a line a device.
_RECAP_LINES, _RECAP_CHARACTERS = 20_000, 500
_STAGE = re.compile(r"[1-9]\d*%?")
_PLAYBOOK = Path(__file__).resolve().parent / "ansible" / "rollout.yml"
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=\d+\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class RolloutPlan:
    """What to roll out, and how carefully.

    Attributes:
        folder: Where the bundle and a record a host are kept, so that the next call goes on.
        stages: Sizes of the stages, hosts or percent.
        failure_limit: Percent of a stage that may fail before the rollout stops.
        keys: Key home whose roots a device without any pins; None for unsigned bundles.
    """

    inventory: Path
    folder: Path
    stages: tuple[str, ...] = DEFAULT_STAGES
    failure_limit: int = DEFAULT_FAILURE_LIMIT
    install: InstallOptions = field(default_factory=InstallOptions)
    keys: Path | None = None

    def __post_init__(self) -> None:
        wrong = [stage for stage in self.stages if not _STAGE.fullmatch(stage)]
        if wrong or not self.stages:
            raise ConfigError(f"'{','.join(self.stages)}' are no stages, expected such as 1,10%,100%.")
        if not 0 <= self.failure_limit <= 100:
            raise ConfigError(f"{self.failure_limit} is no percentage.")

    @property
    def bundle(self) -> Path:
        """The bundle of this rollout."""
        return self.folder / "bundle.epb"

    @property
    def ssh_config(self) -> Path:
        """What ssh reads."""
        return self.folder / "ssh_config"

    @property
    def records(self) -> Path:
        """A record a host."""
        return self.folder / "hosts"


def roll_out(plan: RolloutPlan, hosts: list[FleetHost], say: Callable[[str], None]) -> RolloutReport:
    """Installs the plan's bundle, which is there, on every host that does not have it from an earlier call.

    Raises:
        ConfigError: The inventory cannot be used.
        MissingDependencyError: Ansible is not installed.
        TrustError: The bundle is damaged.
        DeployError: Ansible itself failed.
    """
    manifest = verify_bundle(plan.bundle)
    prepare_ssh(plan, hosts)
    done = _installed(plan, hosts)
    left = [host for host in hosts if host.name not in done]
    if done:
        say(f"{len(done)} of {len(hosts)} devices have it from an earlier call")
    begun_ns = time.monotonic_ns()
    unreachable = _play(plan, left, say) if left else set()
    outcomes = tuple(_outcome(plan, host.name, unreachable) for host in hosts)
    return RolloutReport(
        schema="edgepose.rollout/1",
        bundle_version=manifest.bundle_version,
        bundle_sha256=sha256_of_file(plan.bundle),
        stages=plan.stages,
        failure_limit=plan.failure_limit,
        complete=all(one.outcome == "installed" for one in outcomes),
        resumed=bool(done),
        hosts=outcomes,
        seconds=(time.monotonic_ns() - begun_ns) / 1e9,
    )


def prepare_ssh(plan: RolloutPlan, hosts: list[FleetHost]) -> None:
    """Writes the configuration for ssh, and host keys whose fingerprints the inventory gives.

    A host that does not answer now is told as unreachable later.

    Raises:
        ConfigError: A value could not stand in it.
        TrustError: A host shows another key.
    """
    plan.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(plan.ssh_config, [ssh_config_text(hosts).encode()])
    for host in hosts:
        if host.fingerprint is None:
            continue
        try:
            remember_host_key(host.address(plan.ssh_config), default_known_hosts())
        except DeployError:
            continue


def require_complete(report: RolloutReport) -> None:
    """Turns a rollout that some devices miss into an error.

    Raises:
        DeployError: Some do.
    """
    if report.complete:
        return
    kinds: tuple[Outcome, ...] = ("failed", "unreachable", "not_attempted")
    named = [
        f"{sum(one.outcome == kind for one in report.hosts)} {kind.replace('_', ' ')}"
        for kind in kinds
        if any(one.outcome == kind for one in report.hosts)
    ]
    raise DeployError(
        f"Not every device has bundle version {report.bundle_version}: {', '.join(named)} of "
        f"{len(report.hosts)}.",
        "The same command goes on where it stopped.",
    )


def _installed(plan: RolloutPlan, hosts: list[FleetHost]) -> set[str]:
    digest = sha256_of_file(plan.bundle)
    return {host.name for host in hosts if (_record(plan, host.name) or {}).get("bundle_sha256") == digest}


def _record(plan: RolloutPlan, name: str) -> dict[str, Any] | None:
    try:
        # Written by a command that a device answered.
        found = parse_json((plan.records / f"{name}.json").read_text(encoding="utf-8"), name)
    except (OSError, ValueError, ConfigError):
        return None
    return found if isinstance(found, dict) else None


def _outcome(plan: RolloutPlan, name: str, unreachable: set[str]) -> HostOutcome:
    record = _record(plan, name)
    if record is not None and record.get("bundle_sha256") == sha256_of_file(plan.bundle):
        return HostOutcome(
            host=name,
            outcome="installed",
            bundle_version=record.get("bundle_version"),
            seconds=record.get("seconds"),
            bytes_sent=record.get("bytes_sent"),
        )
    if name in unreachable:
        return HostOutcome(host=name, outcome="unreachable", message="ssh does not reach it")
    if record is not None and "error" in record:
        kind: Outcome = "unreachable" if record.get("unreachable") else "failed"
        return HostOutcome(host=name, outcome=kind, message=str(record["error"]))
    return HostOutcome(host=name, outcome="not_attempted")


def _play(plan: RolloutPlan, hosts: list[FleetHost], say: Callable[[str], None]) -> set[str]:
    """Has Ansible do it; returns the hosts that it could not reach."""
    for host in hosts:
        (plan.records / f"{host.name}.json").unlink(missing_ok=True)
    options = ssh_options(hosts[0].address(plan.ssh_config), default_known_hosts())
    arguments = plan.install.words()
    arguments += [] if plan.keys is None else ["--keys", str(plan.keys.absolute())]
    variables = {
        "edgepose_bundle": str(plan.bundle.resolve()),
        "edgepose_records": str(plan.records.resolve()),
        "edgepose_ssh_config": str(plan.ssh_config.resolve()),
        "edgepose_command": python_command("edgepose"),
        "edgepose_arguments": arguments,
        "edgepose_stages": [int(stage) if stage.isdigit() else stage for stage in plan.stages],
        "edgepose_failure_limit": plan.failure_limit,
        "ansible_ssh_common_args": " ".join(_quoted(word) for word in options),
    }
    call = [
        ansible_program("ansible-playbook"), "-i", str(plan.inventory.absolute()), "--forks", str(_FORKS),
        "--limit", ",".join(host.name for host in hosts), "--extra-vars", json.dumps(variables),
        str(_PLAYBOOK),
    ]  # fmt: skip
    log = plan.folder / "ansible.log"
    with os.fdopen(open_appending(log), "w", encoding="utf-8") as stream:
        lines = AnsibleLines(stream, say)
        asked = BoundedCall(call, "Ansible", _LIMITS, changes=ansible_environment(), on_output=lines.take)
        said = run_bounded(asked)
        lines.take(f"{said.stderr}\n".encode())
    text = "\n".join(lines.newest)
    recap = _RECAP.findall(text)
    if not recap:
        last = said.stderr.strip().splitlines() or [*lines.newest] or ["no message"]
        raise DeployError(f"Ansible did not run: {last[-1].strip()}", f"Its output is in {log}.")
    return {name for name, lost, _failed in recap if lost != "0"}


class AnsibleLines:
    """What Ansible prints, line by line: to people, for the recap, and the log up to ``_LOG_CHARACTERS``."""

    def __init__(self, log: TextIO, say: Callable[[str], None]) -> None:
        self._log, self._say = log, say
        self._rest = ""
        self._left = _LOG_CHARACTERS
        self.newest: deque[str] = deque(maxlen=_RECAP_LINES)

    def take(self, piece: bytes) -> None:
        """Takes output as it comes."""
        *lines, self._rest = (self._rest + piece.decode(errors="replace")).split("\n")
        for line in lines:
            self._line(line)
        while len(self._rest) > _LINE_CHARACTERS:
            # A device's answer is part of a line, and may have no end.
            line, self._rest = self._rest[:_LINE_CHARACTERS], self._rest[_LINE_CHARACTERS:]
            self._line(line)

    def _line(self, line: str) -> None:
        shown = visible(line[:_LINE_CHARACTERS])
        if self._left > 0:
            self._left -= len(shown)
            self._log.write(f"{shown}\n")
        self.newest.append(line[:_RECAP_CHARACTERS])
        if line.startswith(("changed:", "fatal:")):
            self._say(line.strip()[:200])


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


_AT_ONCE = 10


@dataclass
class FleetTarget:
    """The devices; the report is there once the rollout ran."""

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
