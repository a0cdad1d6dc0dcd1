"""A click group that imports a command only when it is called, so that ``--help`` stays instant."""

from __future__ import annotations

import importlib
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when a command is called.

    Args:
        lazy: Command name to (where, one-line help); where is ``module`` for its ``command``, or
            ``module:name``. The help stands here so that listing the commands imports none of them.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, in the order in which people need them."""
        return [*super().list_commands(ctx), *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Lists the commands without importing them."""
        rows = [(name, self._lazy[name][1]) for name in self._lazy]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
