"""``edgepose install`` and ``edgepose phone``: where a finished bundle goes.

The one place where host meets device: a root on this machine as the target of a deployment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
from msgspec.structs import replace

from edgepose.cli.options import PATH, Place, install_options, json_option, place_options
from edgepose.cli.output import say, write_report
from edgepose.cli.status import describe_install
from edgepose.device.install.installer import install_bundle
from edgepose.device.install.readiness import check_keys, check_root
from edgepose.errors import EdgeposeError
from edgepose.records.deployment_report import InstallationReport, InstallOptions
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.record import to_builtins


class LocalTarget:
    """A folder on this machine; the newest of the signers' roots is pinned where nothing is pinned yet."""

    def __init__(self, root: Path, roots: tuple[bytes, ...] = ()) -> None:
        self._root = root
        self._roots = roots
        self._next_version = 1

    def check(self, profile: DeviceProfile) -> None:
        """Refuses a root of no use before any work."""
        self._next_version = check_root(self._root, profile.id)
        check_keys(self._root, self._roots)

    def next_version(self) -> int:
        """The bundle version that comes after everything installed so far."""
        return self._next_version

    def install(
        self, bundle: Path, options: InstallOptions, say: Callable[[str], None]
    ) -> InstallationReport:
        """Installs a bundle."""
        enroll = self._roots[-1] if self._roots else None
        installed = install_bundle(bundle, self._root, enroll=enroll, report=say, **to_builtins(options))
        record, _ = describe_install(installed)
        return record


def install_where_asked(
    bundle: Path, place: Place, keys: Path | None, say: Callable[[str], None], options: InstallOptions
) -> InstallationReport:
    """Installs a bundle behind ssh or here; returns the record of the installation."""
    from edgepose.cli.keys import key_home
    from edgepose.host.deploy.ssh.connection import connect
    from edgepose.host.deploy.ssh.remote_target import RemoteTarget
    from edgepose.host.keys.key_home import read_roots
    from edgepose.trust.bundle_reader import verify_bundle

    profile = verify_bundle(bundle).profile
    home = key_home(keys)
    roots = tuple(read_roots(home)) if home.has_keys() else ()
    if place.device is None:
        local = LocalTarget(place.root, roots)
        local.check(profile)
        return local.install(bundle, options, say)
    with connect(place.device.address()) as connection:
        remote = RemoteTarget(connection, roots, say=say)
        remote.check(profile)
        return remote.install(bundle, options, say)


@click.command(name="install", epilog="Example: edgepose install pose.epb --host pi@camera-3")
@click.argument("bundle", type=PATH, metavar="BUNDLE")
@install_options
@click.option("--keys", type=PATH, metavar="DIR", help="Key home whose root a device without any pins.")
@place_options
@json_option
def command(
    *, bundle: Path, install: InstallOptions, keys: Path | None, place: Place, json_target: str | None
) -> None:
    """Install a BUNDLE that was built and judged before, on a device or into a preview root.

    The device verifies it, replays its golden frames, and keeps the version before where they fail.
    """
    from edgepose.trust.digests import sha256_of_path

    begun_ns = time.monotonic_ns()
    try:
        record = install_where_asked(bundle, place, keys, say, install)
    except EdgeposeError as problem:
        _note_failure(problem, json_target)
        raise
    seconds = round((time.monotonic_ns() - begun_ns) / 1e9, 3)
    record = replace(record, bundle_sha256=sha256_of_path(bundle), seconds=seconds)
    where = record.root if place.device is None else place.device.host
    write_report(record, json_target, f"{where}: version {record.bundle_version} is active")


def _note_failure(problem: EdgeposeError, json_target: str | None) -> None:
    """A rollout reads why, and whether the device answered at all."""
    if json_target is None or json_target == "-":
        return
    record = {
        "schema": "edgepose.installation_failure/1",
        "error": problem.message,
        "exit_code": problem.exit_code,
        "unreachable": "cannot be reached" in problem.message,
    }
    write_report(record, json_target)


@click.command(
    name="phone",
    epilog="Example: edgepose bundle int8.tflite --profile phone -o pose.epb; "
    "edgepose phone pose.epb -o app/ --push",
)
@click.argument("bundle", type=PATH, metavar="BUNDLE")
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="Folder to make.")
@click.option("--push", is_flag=True, help="Copy the folder to a phone with adb.")
@click.option("--serial", metavar="SERIAL", help="Which phone, as `adb devices` names it.")
@click.option(
    "--benchmark-model",
    type=PATH,
    metavar="FILE",
    help="LiteRT's benchmark_model: time the model on the phone.",
)
@click.option("--threads", type=click.IntRange(1, 16), default=4, show_default=True, help="For the timing.")
@json_option
def phone_command(
    *,
    bundle: Path,
    output: Path,
    push: bool,
    serial: str | None,
    benchmark_model: Path | None,
    threads: int,
    json_target: str | None,
) -> None:
    """Write a verified bundle as a folder for an app: model, spec, golden frames, guide in Kotlin, Swift."""
    from dataclasses import asdict

    from edgepose.host.deploy.phone.app_folder import Phone, write_app_folder

    if benchmark_model is not None and not push:
        raise click.UsageError("--benchmark-model needs --push.")
    app = write_app_folder(bundle, output)
    report: dict[str, object] = {
        "schema": "edgepose.app_folder/1",
        "folder": str(app.folder),
        "files": list(app.files),
        "size_bytes": app.size_bytes,
        "model_sha256": app.model_sha256,
    }
    lines = [f"{app.folder}: {len(app.files)} files, {app.size_bytes / 2**20:.2f} MiB; read its README.md"]
    if push:
        phone = Phone(serial)
        report["pushed_to"] = phone.push(app.folder)
        lines.append(f"Pushed to {report['pushed_to']}")
        if benchmark_model is not None:
            timings = phone.benchmark(benchmark_model, threads)
            report["timings"] = asdict(timings)
            lines.append(
                f"On the phone: {timings.mean_ms:.2f} ms mean, first {timings.first_inference_ms:.2f} ms, "
                f"load {timings.init_ms:.2f} ms; delegate: {timings.delegate or 'none named'}"
            )
    write_report(report, json_target, "\n".join(lines))
