"""``edgepose models`` and ``edgepose convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from edgepose.cli.options import PATH, json_option, output_option, record_option, spec_option
from edgepose.cli.output import say, table, write_report
from edgepose.records.files import write_whole
from edgepose.records.model_spec import read_spec, shipped_spec_paths
from edgepose.records.record import to_builtins
from edgepose.trust.builtin_models import find_builtin_models


@click.group(name="models", epilog="Example: edgepose models inspect pose.onnx")
def command() -> None:
    """List ready specs; inspect a model file; write its model card."""


@command.command(name="list", epilog="Example: edgepose models list")
@json_option
def list_models(json_target: str | None) -> None:
    """List the built-in models, and those whose spec is ready: give its name to --spec or --detector-spec."""
    builtin = find_builtin_models()
    specs = {name: read_spec(path) for name, path in shipped_spec_paths().items()}
    rows = [
        (name, spec.paradigm, f"{spec.input.width_px}x{spec.input.height_px}", spec.licence, spec.source)
        for name, spec in specs.items()
    ]
    report = {
        "schema": "edgepose.models/1",
        "models": [{"name": name, "spec": to_builtins(spec)} for name, spec in specs.items()],
        "builtin": to_builtins(builtin.manifest),
        "builtin_folder": str(builtin.folder),
    }
    files = [(entry.file, entry.role, entry.precision) for entry in builtin.manifest.files]
    text = (
        f"Built in, in {builtin.folder}; terms: {builtin.manifest.licence}\n"
        f"{table(('file', 'role', 'precision'), files)}\n\nSpecs that are ready:\n"
        f"{table(('name', 'paradigm', 'input', 'licence', 'source'), rows)}"
    )
    write_report(report, json_target, text)


@command.command(name="inspect", epilog="Example: edgepose models inspect pose.tflite --json -")
@click.argument("model", type=PATH)
@spec_option
@json_option
def inspect(model: Path, spec_file: Path | None, json_target: str | None) -> None:
    """Show a model's format, tensors, ops, what is float and what integer, and its spec."""
    from edgepose.host.models.inspect import describe_inspection, inspect_model

    report = inspect_model(model, spec_file)
    write_report(report, json_target, describe_inspection(report))


@command.command(
    name="card",
    epilog="Example: edgepose models card pose.onnx pose_int8.tflite --evaluation float.json "
    "--evaluation int8.json --benchmark pi5.json --distillation student/distillation.json --notes notes.toml "
    "-o MODEL_CARD.md",
)
@click.argument("models", type=PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--evaluation",
    "evaluations",
    type=PATH,
    multiple=True,
    metavar="EVAL.json",
    help="Record of evaluate; repeat it.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    type=PATH,
    multiple=True,
    metavar="BENCH.json",
    help="Record of benchmark; repeat it.",
)
@click.option(
    "--distillation", "distillations", type=PATH, multiple=True, metavar="DISTILLATION.json",
    help="Record of distill; repeat it.",
)  # fmt: skip
@click.option(
    "--notes",
    type=PATH,
    metavar="NOTES.toml",
    help="What it is for and not for, licences, commands; no figures.",
)
@output_option
def card(
    *,
    models: tuple[Path, ...],
    evaluations: tuple[Path, ...],
    benchmarks: tuple[Path, ...],
    distillations: tuple[Path, ...],
    notes: Path | None,
    output: Path,
) -> None:
    """Write a model card from measurements, in Markdown.

    A record must tell about one of the MODEL files, by sha256. What no record says is "not measured".
    """
    from edgepose.host.report.card import render_card
    from edgepose.host.report.reading import CardRequest, read_card_inputs

    inputs = read_card_inputs(CardRequest(models, evaluations, benchmarks, distillations, notes))
    write_whole(output, [render_card(inputs).encode()])
    say(f"{output}: card of {', '.join(model.file_name for model in inputs.models)}")


@click.command(
    name="convert", epilog="Example: edgepose convert pose.onnx --to tflite --spec pose.toml -o pose.tflite"
)
@click.argument("model", type=PATH)
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
    from edgepose.host.models.artifact import open_artifact

    source = open_artifact(model, spec_file)
    result = convert_model(ConversionRequest(source, target, output, report=say))
    write_report(result.record, json_target, result.summary())
