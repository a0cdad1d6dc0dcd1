"""``edgepose convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from edgepose.cli.options import output_option, record_option, spec_option
from edgepose.cli.output import say, write_report


@click.command(
    name="convert", epilog="Example: edgepose convert pose.onnx --to tflite --spec pose.toml -o pose.tflite"
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Choice(["tflite", "onnx"]), required=True, help="Format to write.")
@spec_option
@output_option
@record_option("edgepose.conversion/1")
def convert_command(
    model: Path,
    target: Literal["tflite", "onnx"],
    spec_file: Path | None,
    output: Path,
    json_target: str | None,
) -> None:
    """Convert MODEL, fix its batch at 1, and prove that every output stayed the same."""
    from edgepose.host.convert.conversion import ConversionRequest, convert_model
    from edgepose.host.sources.artifact import open_artifact

    source = open_artifact(model, spec_file)
    result = convert_model(ConversionRequest(source, target, output, report=say))
    write_report(result.record, json_target, result.summary())
