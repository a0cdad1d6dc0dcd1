"""``edgepose evaluate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    optional_profile_option,
    record_option,
    spec_option,
    threads_option,
)
from edgepose.cli.output import progress_bar, say, table, write_report
from edgepose.records.device_profile import find_profile
from edgepose.records.evaluation_report import (
    DetectorEvaluationReport,
    EvaluationReport,
    GateResult,
    MetricFigure,
)


@click.command(
    name="evaluate",
    epilog="Example: edgepose evaluate int8.tflite --annotations labels.json --images images/ "
    "--baseline float.onnx --spec pose.toml --profile raspberrypi --gate --json report.json",
)
@click.argument("model", type=PATH)
@click.option(
    "--annotations", type=PATH, required=True, metavar="COCO.json", help="Labels in the COCO keypoint format."
)
@click.option("--images", type=PATH, required=True, metavar="DIR", help="Folder of the labelled pictures.")
@click.option(
    "--baseline",
    type=PATH,
    metavar="MODEL",
    help="Compare with this model, usually the float parent, on the same pictures.",
)
@detector_option
@detector_spec_option
@click.option(
    "--empty",
    type=PATH,
    metavar="DIR",
    help="Pictures without a person, on which a detector's false persons are counted.",
)
@click.option("--slices", is_flag=True, help="Report size, keypoints, crowding, brightness and blur apart.")
@optional_profile_option
@click.option("--gate", is_flag=True, help="Judge against the profile's budgets; exit code 6 when it fails.")
@spec_option
@threads_option
@record_option("edgepose.evaluation/1", "edgepose.detector_evaluation/1")
def command(
    *,
    model: Path,
    annotations: Path,
    images: Path,
    baseline: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    empty: Path | None,
    slices: bool,
    profile_name: str | None,
    gate: bool,
    spec_file: Path | None,
    threads: int | None,
    json_target: str | None,
) -> None:
    """Measure the accuracy of MODEL on labelled pictures, through the very code that ships.

    Person boxes come from the labels, or from --detector; a model that sees the whole picture needs none.
    With --gate the loss against --baseline is judged, overall and in every slice. Where MODEL is a person
    detector, its boxes are measured.
    """
    if gate and profile_name is None:
        raise click.UsageError("--gate needs --profile ID: it judges against a device's budgets.")
    if detector_spec is not None and detector is None:
        raise click.UsageError("--detector-spec needs --detector MODEL.")
    profile = find_profile(profile_name) if profile_name else None

    from edgepose.host.evaluate.detector_evaluation import evaluate_detector, is_detector
    from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model, judge_evaluation
    from edgepose.host.evaluate.gate import require_pass

    request = EvaluationRequest(
        model=model,
        annotations=annotations,
        images=images,
        spec_file=spec_file,
        baseline=baseline,
        detector=detector,
        detector_spec=detector_spec,
        # The gate judges every slice, whether or not it is asked for.
        slices=slices or gate,
        threads=threads or (profile.runtime.threads if profile else 1),
    )
    if is_detector(model, spec_file):
        boxes = evaluate_detector(request, empty)
        write_report(boxes, json_target, _describe_detector(boxes))
        return
    if empty is not None:
        raise click.UsageError("--empty is for detectors: a pose model is given where a person is.")
    with progress_bar("evaluate") as progress:
        report = evaluate_model(replace(request, progress=progress))
    if gate and profile is not None:
        report = judge_evaluation(request, report, profile)
    _warn(report)
    write_report(report, json_target, _describe(report))
    if report.gate is not None:
        require_pass(report.gate)


def _warn(report: EvaluationReport) -> None:
    data = report.dataset
    if data.labels_without_image or data.images_without_label:
        say(
            f"{data.labels_without_image} labels have no picture, "
            f"{data.images_without_label} pictures have no label; both were left out."
        )
    if len(data.keypoints) < data.keypoints_of_data:
        say(
            f"Compared on {len(data.keypoints)} of the data's {data.keypoints_of_data} keypoints, those that "
            f"the model has: {', '.join(data.keypoints)}."
        )


def _describe(report: EvaluationReport) -> str:
    data, baseline = report.dataset, report.baseline
    boxes = {"labels": "labelled boxes", "detector": "the detector's boxes", "whole_image": "whole pictures"}
    head = (
        f"{report.model.path} ({report.model.precision}): {data.persons} persons in {data.images} pictures, "
        f"{boxes[data.boxes_from]}"
    )
    parts = [head]
    delta = {} if baseline is None else baseline.delta
    rows = [
        (name, figure.value, _interval(figure.interval_95))
        + (() if baseline is None else (delta[name].value, _interval(delta[name].interval_95)))
        for name, figure in report.metrics.items()
    ]
    change = () if baseline is None else ("minus baseline", "95 % interval")
    parts.append(table(("metric", "value", "95 % interval", *change), rows))
    parts.append(_keypoint_table(report.per_keypoint))
    if report.slices:
        parts.append(_slice_table(report))
    if report.gate is not None:
        parts.append(_gate_text(report.gate))
    return "\n\n".join(parts)


def _describe_detector(report: DetectorEvaluationReport) -> str:
    figures, empty = report.figures, report.empty
    persons = f"{figures.persons} persons in {report.images} pictures"
    head = f"{report.model.path} ({report.model.precision}): {persons}"
    rows = [("box AP", figures.box_ap), ("box AP50", figures.box_ap50), ("recall at 0.25", figures.recall)]
    if empty is not None:
        rows.append((f"false persons a picture, on {empty.images}", empty.false_persons_per_picture))
    return f"{head}\n\n{table(('metric', 'value'), rows)}"


def _keypoint_table(per_keypoint: dict[str, dict[str, MetricFigure]]) -> str:
    rows = [
        (name, figures["pck@0.2"].value, figures["oks"].value, figures["oks"].sample_count)
        for name, figures in per_keypoint.items()
    ]
    return table(("keypoint", "pck@0.2", "mean oks", "labelled"), rows)


def _slice_table(report: EvaluationReport) -> str:
    rows = []
    for name, part in report.slices.items():
        delta = None if part.delta is None else part.delta["oks_ap"]
        change = () if delta is None else (delta.value, _interval(delta.interval_95))
        rows.append((name, part.persons, part.oks_ap.value, _interval(part.oks_ap.interval_95), *change))
    change_names = () if report.baseline is None else ("minus baseline", "95 % interval")
    return table(("slice", "persons", "oks_ap", "95 % interval", *change_names), rows)


def _gate_text(gate: GateResult) -> str:
    verdict = "passed" if gate.passed else f"failed: {', '.join(failure.name for failure in gate.failures)}"
    return (
        f"Gate of {gate.profile}: {verdict}. "
        f"Not measured here, the device will: {', '.join(gate.not_measured)}."
    )


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
