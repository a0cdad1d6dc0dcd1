"""``edgepose tools``."""

from __future__ import annotations

import click

from edgepose.cli.output import progress_bar, say


@click.group(name="tools", epilog="Example: edgepose tools install onnx2tf")
def tools_command() -> None:
    """Prepare the locked side environments of tools that cannot live beside the others."""


@tools_command.command(name="install", epilog="Example: edgepose tools install onnx2tf")
@click.argument("name", metavar="NAME")
def install(name: str) -> None:
    """Install NAME (onnx2tf) from its lock file; does nothing when it is up to date."""
    from edgepose.host.tools.installation import install_tool

    with progress_bar(f"installing {name}") as progress:
        folder = install_tool(name, progress)
    say(f"{name} is ready in {folder}")
