"""``edgepose models``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import json_option, spec_option
from edgepose.cli.output import table, write_report
from edgepose.spec.model_spec import read_spec
from edgepose.spec.records import to_builtins
from edgepose.spec.shipped_specs import shipped_spec_paths


@click.group(name="models", epilog="Example: edgepose models inspect pose.onnx")
def command() -> None:
    """List ready specs; inspect a model file."""


@command.command(name="list", epilog="Example: edgepose models list")
@json_option
def list_models(json_target: str | None) -> None:
    """List the models whose spec is ready; give its name to --spec or --detector-spec."""
    specs = {name: read_spec(path) for name, path in shipped_spec_paths().items()}
    rows = [
        (name, spec.paradigm, f"{spec.input.width_px}x{spec.input.height_px}", spec.licence, spec.source)
        for name, spec in specs.items()
    ]
    report = {
        "schema": "edgepose.models/1",
        "models": [{"name": name, "spec": to_builtins(spec)} for name, spec in specs.items()],
    }
    write_report(report, json_target, table(("name", "paradigm", "input", "licence", "source"), rows))


@command.command(name="inspect", epilog="Example: edgepose models inspect pose.tflite --json -")
@click.argument("model", type=click.Path(path_type=Path))
@spec_option
@json_option
def inspect(model: Path, spec_file: Path | None, json_target: str | None) -> None:
    """Show a model's format, tensors, ops, what is float and what integer, and its spec."""
    from edgepose.host.sources.inspect import describe_inspection, inspect_model

    report = inspect_model(model, spec_file)
    write_report(report, json_target, describe_inspection(report))
