"""``edgepose phone``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import PATH, json_option


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
def command(
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

    from edgepose.cli.output import write_report
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
