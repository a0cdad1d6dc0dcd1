"""Options that several commands share, spelled the same everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from edgepose.errors import MissingDependencyError
from edgepose.records.files import is_pipe_or_device, refuse_existing, refuse_other_record

if TYPE_CHECKING:
    from edgepose.host.deploy.ssh.questions import Questions
    from edgepose.host.deploy.ssh.remote_host import SshAddress

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Option = Callable[[Decorated], Decorated]

PATH = click.Path(path_type=Path)
_FORCE = "edgepose.force"


def size_callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Reads a size such as ``640x480``.

    Raises:
        BadParameter: It is none.
    """
    if value is None:
        return None
    width, cross, height = value.partition("x")
    if not (cross and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise click.BadParameter(f"'{value}' is not WIDTHxHEIGHT, such as 640x480.")
    return int(width), int(height)


def replaces(option: Option[Any]) -> Option[Any]:
    """An option that names a file to write, with ``--force`` beside it, once a command."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = option(command)
        known = getattr(command, "__click_params__", [])
        return command if any(parameter.name == "force" for parameter in known) else _force_option(command)

    return decorate


def free_file(ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """Refuses a file that is there, before any work is done, unless ``--force`` was given.

    Raises:
        ConfigError: It is there.
    """
    # A pipe or a device takes what comes and loses nothing; - is standard output.
    if value is not None and value != Path("-") and not is_pipe_or_device(value):
        refuse_existing(value, force=is_forced(ctx))
    return value


def is_forced(ctx: click.Context | None) -> bool:
    """Whether ``--force`` was given."""
    return ctx is not None and bool(ctx.meta.get(_FORCE))


def _note_force(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.meta[_FORCE] = value


# Eager: click reads it before the files that it is about.
_force_option: Option[Any] = click.option(
    "--force",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_note_force,
    help="Replace files that are there.",
)


def free_file_named(suffix: str) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """``free_file`` for names of one ending: a model given by mistake must never be overwritten."""

    def check(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        if value is None or value.suffix == suffix:
            return free_file(ctx, param, value)
        raise click.BadParameter(f"'{value}' must end in {suffix}.")

    return check


def _or_preview_root(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path:
    from edgepose.device.install.layout import default_preview_root

    return value or default_preview_root()


def record_option(*schemas: str) -> Option[Any]:
    """``--json`` of a command.

    Args:
        schemas: What it writes, where another record in its place must be refused before minutes of work.
    """

    def check(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
        # A model given by mistake must never be overwritten by a report.
        if value is None or value == "-":
            return value
        if not value.endswith(".json"):
            raise click.BadParameter(f"'{value}' must end in .json, or be - for standard output.")
        refuse_other_record(Path(value), schemas, force=is_forced(ctx))
        return value

    return replaces(
        click.option(
            "--json",
            "json_target",
            metavar="FILE",
            callback=check,
            help="Write the report as JSON; - is standard output. Replaces a report of the same kind.",
        )
    )


json_option: Option[Any] = record_option()
spec_option: Option[Any] = click.option(
    "--spec", "spec_file", type=PATH, metavar="FILE.toml", help="Spec of a model that carries none."
)
profile_option: Option[Any] = click.option(
    "--profile", "profile_name", required=True, metavar="ID", help="Device profile: id, alias or .toml file."
)
optional_profile_option: Option[Any] = click.option(
    "--profile", "profile_name", metavar="ID", help="Device profile: id, alias or .toml file."
)
output_option: Option[Any] = replaces(
    click.option(
        "-o",
        "--output",
        "output",
        type=PATH,
        required=True,
        metavar="OUT",
        callback=free_file,
        help="File to write.",
    )
)
root_option: Option[Any] = click.option(
    "--root", type=PATH, metavar="DIR", help="Device root; the preview root of this machine by default."
)
local_root_option: Option[Any] = click.option(
    "--root",
    type=PATH,
    metavar="DIR",
    callback=_or_preview_root,
    help="Device root; the preview root of this machine by default.",
)
threads_option: Option[Any] = click.option(
    "--threads", type=click.IntRange(1, 64), metavar="N", help="CPU threads; the profile's by default."
)
detector_option: Option[Any] = click.option(
    "--detector", type=PATH, metavar="MODEL", help="Person detector in front of the pose model."
)
detector_spec_option: Option[Any] = click.option(
    "--detector-spec", type=PATH, metavar="FILE.toml", help="Spec of a detector that carries none."
)
port_option: Option[Any] = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    metavar="N",
    help="Of the live page, on 127.0.0.1; 0 takes a free one.",
)
socket_option: Option[Any] = click.option(
    "--socket",
    "socket_path",
    type=PATH,
    metavar="PATH",
    help="Stream the JSON lines to whoever connects to this Unix socket (this user alone).",
)
_host_option: Option[Any] = click.option(
    "--host", metavar="USER@HOST", help="A device behind ssh, as ssh itself calls it."
)
_fingerprint_option: Option[Any] = click.option(
    "--host-fingerprint",
    metavar="SHA256:...",
    help="First contact: fingerprint of the device's host key, read on the device.",
)
_ssh_config_option: Option[Any] = click.option(
    "--ssh-config", type=PATH, metavar="FILE", help="Configuration for ssh instead of the user's."
)


class Device(NamedTuple):
    """What ``--host``, ``--host-fingerprint`` and ``--ssh-config`` say."""

    host: str
    fingerprint: str | None
    ssh_config: Path | None

    def address(self) -> SshAddress:
        """How to reach it.

        Raises:
            ConfigError: The name or the fingerprint is none.
            MissingDependencyError: This is a device, which has no host code.
        """
        try:
            from edgepose.host.deploy.ssh.remote_host import SshAddress
        except ImportError as problem:
            raise MissingDependencyError(
                "This is a device; --host is an option of edgepose on the host.", "Leave it out here."
            ) from problem
        return SshAddress(*self)

    def questions(self) -> Questions:
        """What it can be asked; see ``address``.

        Raises:
            ConfigError: The name or the fingerprint is none.
            MissingDependencyError: This is a device, which has no host code.
        """
        address = self.address()
        from edgepose.host.deploy.ssh.questions import Questions

        return Questions(address)


class Place(NamedTuple):
    """Where a command looks: a device behind ssh, or else a root on this machine."""

    device: Device | None
    root: Path


def host_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--host``, ``--host-fingerprint`` and ``--ssh-config``: the command takes ``device``, or None.

    A call that names two places is refused.
    """

    @functools.wraps(command)
    def with_device(
        *, host: str | None, host_fingerprint: str | None, ssh_config: Path | None, **options: Any
    ) -> None:
        if sum(place is not None for place in (host, options.get("root"), options.get("inventory"))) > 1:
            raise click.UsageError("--host, --root and --inventory exclude each other.")
        command(device=None if host is None else Device(host, host_fingerprint, ssh_config), **options)

    decorated: Callable[..., Any] = _host_option(_fingerprint_option(_ssh_config_option(with_device)))
    return decorated


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--root`` and those of ``host_options``: the command takes ``place``."""

    @functools.wraps(command)
    def with_place(*, device: Device | None, root: Path | None, **options: Any) -> None:
        from edgepose.device.install.layout import default_preview_root

        command(place=Place(device, root or default_preview_root()), **options)

    decorated: Callable[..., Any] = root_option(host_options(with_place))
    return decorated


_allow_downgrade_option: Option[Any] = click.option(
    "--allow-downgrade", is_flag=True, help="Let an older bundle replace a newer one."
)


def install_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each field of ``InstallOptions``: the command takes ``install``."""

    @functools.wraps(command)
    def with_options(**options: Any) -> None:
        from edgepose.records.deployment_report import InstallOptions

        given = {name: options.pop(name) for name in InstallOptions.__struct_fields__}
        command(install=InstallOptions(**given), **options)

    decorated: Callable[..., Any] = _allow_downgrade_option(with_options)
    return decorated


_inventory_option: Option[Any] = click.option(
    "--inventory", type=PATH, metavar="FILE", help="Many devices: an Ansible inventory."
)
_rollout_option: Option[Any] = click.option(
    "--rollout",
    type=PATH,
    metavar="DIR",
    help="Where a rollout keeps its bundle and records, so that the next call goes on; rollout-PROFILE by "
    "default.",
)
_stages_option: Option[Any] = click.option(
    "--stages", default="1,10%,100%", show_default=True, help="Sizes of a rollout's stages."
)
_failure_limit_option: Option[Any] = click.option(
    "--failure-limit",
    type=click.IntRange(0, 100),
    default=10,
    show_default=True,
    metavar="PERCENT",
    help="A stage with more failures ends the rollout.",
)


def fleet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--inventory``, ``--rollout``, ``--stages`` and ``--failure-limit``."""
    for option in (_failure_limit_option, _stages_option, _rollout_option, _inventory_option):
        command = option(command)
    return command
