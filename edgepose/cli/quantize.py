"""``edgepose quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    free_file,
    output_option,
    profile_option,
    record_option,
    replaces,
    spec_option,
)
from edgepose.cli.output import progress_bar, say, table, write_report

if TYPE_CHECKING:
    from edgepose.host.quantize.recipe_choice import QuantizationResult
    from edgepose.records.device_profile import Precision
    from edgepose.records.lineage import QuantizationRecipe
    from edgepose.records.quantization import QuantizationReport, TensorError

_SHOWN_TENSORS = 20


@click.command(
    name="quantize",
    epilog="Example: edgepose quantize pose.onnx --profile raspberrypi --calibration images/ "
    "--spec pose.toml -o pose_int8.tflite",
)
@click.argument("model", type=PATH)
@profile_option
@click.option("--calibration", type=PATH, metavar="DIR", help="Images of the place: DIR/images/ or DIR.")
@click.option(
    "--ranges",
    type=PATH,
    metavar="FILE.json",
    help="Ranges from `edgepose-device calibrate` set the scales; --calibration only checks then.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="Carry out exactly this recipe, also one inside a quantized model; by default one is searched.",
)
@replaces(
    click.option(
        "--save-recipe",
        type=PATH,
        metavar="FILE.json",
        callback=free_file,
        help="Write the recipe that was used, to read and edit.",
    )
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "float16", "float32"]),
    help="Take the profile's recipe for this precision.",
)
@click.option("--explain", is_flag=True, help="Say why plain int8 loses: culprits, layers, tensors.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draw of the crops.")
@detector_option
@detector_spec_option
@spec_option
@output_option
@record_option("edgepose.quantization/1")
def command(  # noqa: PLR0917 (one argument an option)
    model: Path,
    profile_name: str,
    calibration: Path | None,
    ranges: Path | None,
    recipe: str | None,
    save_recipe: Path | None,
    precision: Precision | None,
    explain: bool,
    seed: int,
    detector: Path | None,
    detector_spec: Path | None,
    spec_file: Path | None,
    output: Path,
    json_target: str | None,
) -> None:
    """Quantize MODEL for a device profile, audit every op, compare with the float model.

    The format follows the profile: TFLite or ONNX. Without --recipe, what int8 breaks is repaired: ranges,
    equalization, weight rounding, and at last parts in float where the device runs them; a model that
    cannot be saved ends in exit 6. Whether the accuracy holds is what `edgepose evaluate --gate` judges.
    """
    from dataclasses import replace

    from edgepose.host.models.artifact import open_artifact
    from edgepose.host.quantize.quantization import quantize_model
    from edgepose.host.quantize.recipe_choice import (
        QuantizationRequest,
        check_recipe_target,
        find_recipe,
        recipe_for,
        write_recipe,
    )
    from edgepose.records.device_profile import find_profile
    from edgepose.runtime.open_model import open_detector

    if recipe is not None and precision is not None:
        raise click.UsageError("--recipe and --precision exclude each other.")
    profile = find_profile(profile_name)
    chosen = recipe_for(profile, precision) if recipe is None else find_recipe(recipe)
    request = QuantizationRequest.for_profile(profile, open_artifact(model, spec_file), chosen, output)
    finder = None if detector is None else open_detector(detector, detector_spec)
    if save_recipe is not None:
        check_recipe_target(save_recipe)
    say(f"Quantizing {model.name} with {chosen.name} to {request.target} ...")
    with progress_bar("calibrating") as progress:
        result = quantize_model(
            replace(
                request,
                calibration=calibration,
                ranges=ranges,
                detector=finder,
                seed=seed,
                progress=progress,
                say=say,
                repair=recipe is None and chosen.kind == "static",
                explain=explain,
            )
        )
    if save_recipe is not None:
        write_recipe(save_recipe, result.report.recipe)
    write_report(result.report, json_target, _describe(result, explain=explain))


def _describe(result: QuantizationResult, *, explain: bool) -> str:
    from edgepose.host.quantize.delegates.check import describe_delegate

    report = result.report
    ops, float_ops = sum(report.model.ops.values()), sum(report.model.float_ops.values())
    size_mib = report.model.size_bytes / 2**20
    written = f"{result.artifact.path}: {report.model.format}, {report.model.precision}, {size_mib:.2f} MiB"
    lines = [
        _describe_recipe(report.recipe),
        f"{written}, {float_ops} of {ops} ops in float",
        _describe_agreement(report),
    ]
    data = report.calibration
    if data is not None:
        lines.append(
            f"data: {data.crops} crops of {data.images} pictures, boxes from {data.boxes_from}; "
            f"{data.audit.unreadable} unreadable, {data.audit.images_without_label} without label, "
            f"{data.audit.labels_without_image} labels without picture"
        )
    if report.delegate_check is not None:
        lines.append(describe_delegate(report.delegate_check))
    if explain:
        lines += ["", _explain(result)]
    return "\n".join(lines)


def _describe_agreement(report: QuantizationReport) -> str:
    if report.calibration is None:
        return "agreement with the float model: not checked: no pictures (--calibration DIR checks)"
    found = "not measured" if report.agreement_oks is None else f"{report.agreement_oks:.4f}"
    return f"agreement with the float model (mean OKS, {report.agreement_crops} held-out poses): {found}"


def _describe_recipe(recipe: QuantizationRecipe) -> str:
    parts = [f"ranges by {recipe.range_method}"] if recipe.kind == "static" else []
    parts += ["equalized"] if recipe.equalize else []
    parts += ["pixels on the int8 grid"] if recipe.exact_input else []
    parts += ["weights rounded by their inputs"] if recipe.round_weights else []
    parts += [f"{len(recipe.excluded)} ops in float"] if recipe.excluded else []
    return f"recipe: {recipe.name}" + (f" ({', '.join(parts)})" if parts else "")


def _explain(result: QuantizationResult) -> str:
    from edgepose.host.quantize.diagnosis.diagnosis import describe
    from edgepose.host.quantize.recipe_choice import Diagnosis

    report = result.report
    return f"{describe(Diagnosis(report.layers, report.culprits))}\n\n{_tensor_table(report.tensor_errors)}"


def _tensor_table(errors: tuple[TensorError, ...]) -> str:
    if not errors:
        return "No tensor was compared: that needs --calibration."
    rows = [_row(error) for error in errors[:_SHOWN_TENSORS]]
    headers = ("sqnr dB", "rel. error", "op", "low", "high", "widest/median", "starved", "tensor")
    starved = sum(e.starved_channels > 0 for e in errors)
    return (
        f"{len(errors)} tensors compared, worst first:\n{table(headers, rows)}\n"
        f"widest/median: range of the widest channel over the median channel's. One scale serves all "
        f"channels of a tensor, so\na high figure starves the narrow ones; starved counts channels under 8 "
        f"of 256 steps ({starved} tensors have any)."
    )


def _row(error: TensorError) -> tuple[object, ...]:
    channels = (error.channel_range_ratio, error.starved_channels)
    return (
        error.sqnr_db,
        error.relative_error,
        error.op,
        error.range_low,
        error.range_high,
        *channels,
        error.name,
    )
