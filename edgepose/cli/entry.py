"""How the programs begin and end: commands are imported when called, expected errors have exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from types import TracebackType
from typing import Any

import click

from edgepose.errors import EdgeposeError

_INTERRUPTED = 130
PASSPHRASE_VARIABLE = "EDGEPOSE_KEYS_PASSPHRASE"  # noqa: S105 - the name of a variable


def run_program(command: click.Command, name: str) -> None:
    """Runs a click command as a program and exits.

    An expected error becomes one sentence on standard error and its family's exit code; anything else
    is a bug and keeps its traceback (exit code 1).
    """
    stdout = sys.stdout
    sys.excepthook = _show_bug
    try:
        # Without standalone mode click returns the code of ctx.exit() instead of raising it.
        code = command.main(prog_name=name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as problem:
        from edgepose.cli.output import show_usage_error

        show_usage_error(problem)
        sys.exit(2)
    except click.Abort:
        from edgepose.cli.output import say

        say("Interrupted.")
        sys.exit(_INTERRUPTED)
    except SystemExit as stop:
        # The reader (head, less) has gone: click then replaces the streams and exits with 1, which
        # would read as a bug.
        sys.exit(stop.code if sys.stdout is stdout else 0)
    except EdgeposeError as problem:
        from edgepose.cli.output import show_error

        show_error(problem)
        sys.exit(problem.exit_code)


def _show_bug(_kind: type[BaseException], problem: BaseException, _trace: TracebackType | None) -> None:
    from edgepose.cli.output import show_bug

    show_bug(problem)


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


def take_passphrase(context: click.Context) -> None:
    """Moves the passphrase from the environment, which every started program gets, into this command."""
    found = os.environ.pop(PASSPHRASE_VARIABLE, None)
    if found is not None:
        context.find_root().meta[PASSPHRASE_VARIABLE] = found
