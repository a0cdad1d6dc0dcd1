"""How a program of edgepose ends: expected errors in plain words, each family with its exit code."""

from __future__ import annotations

import os
import sys

import click

from edgepose.errors import EdgeposeError

_INTERRUPTED = 130


def run_program(command: click.Command, name: str) -> None:
    """Runs a click command as a program and exits.

    An expected error becomes one sentence on standard error and its family's exit code; anything else
    is a bug and keeps its traceback (exit code 1).
    """
    try:
        command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as problem:
        problem.show()
        sys.exit(2)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except EdgeposeError as problem:
        click.echo(click.style("error: ", fg="red", bold=True) + problem.message, err=True)
        if problem.hint:
            click.echo(click.style("  hint: ", bold=True) + problem.hint, err=True)
        sys.exit(problem.exit_code)
