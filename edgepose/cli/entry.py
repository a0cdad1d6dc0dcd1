"""How a program of edgepose ends: expected errors in plain words, each family with its exit code."""

from __future__ import annotations

import sys
from types import TracebackType

import click

from edgepose.errors import EdgeposeError

_INTERRUPTED = 130


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
