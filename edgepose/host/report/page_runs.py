"""Parts of the page about single runs: benchmarks, trainings, deployments, devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepose.host.report.inputs import ReportInputs, ReportRecord, TrainingCurve, short
from edgepose.host.report.markup import Markup, bullets, element, joined, paragraph, table
from edgepose.host.report.page_accuracy import gate_in_words, health_in_words
from edgepose.host.report.plot_bars import Stack, stacked_bars
from edgepose.host.report.plot_frame import Words, drawable
from edgepose.host.report.plot_lines import curve, thermal_plot, thermal_words
from edgepose.host.report.wording import NOT_MEASURED, number, with_interval
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.deployment_report import DeploymentReport
from edgepose.records.device_status import HealthReport, StatusReport
from edgepose.records.distillation_report import DistillationReport, QuantizationAwareTuning
from edgepose.runtime.benchmark import MLPERF_DURATION_S

_STAGES = ("preprocess", "infer", "decode")
_HEADERS = (
    "model", "machine", "threads", "preprocess ms", "infer ms", "decode ms", "p50 ms", "p90 ms", "p95 ms",
    "p99 ms", "mean ms", "load ms", "first ms", "memory MiB", "frames",
)  # fmt: skip

Bench = ReportRecord[BenchmarkReport]


def latency_section(inputs: ReportInputs) -> Markup | None:
    """The part; None without benchmarks."""
    records = inputs.benchmarks
    if not records:
        return None
    stacks = [Stack(_name(record, inputs), _stages(record.report)) for record in records]
    words = Words(
        "Median time of each stage",
        "One bar a benchmark: preprocess, infer, decode. The table has the figures.",
    )
    shown = stacked_bars(stacks, words, "median of each stage, ms")
    note = "Stages are medians of their own, so they need not add up to the median of the whole frame."
    return joined(
        element("figure", shown, element("figcaption", note)),
        table("Latency", _HEADERS, [_row(record, inputs) for record in records]),
        bullets(_endurance(record, inputs) for record in records),
        *_over_time(records, inputs),
    )


def _over_time(records: Sequence[Bench], inputs: ReportInputs) -> Iterator[Markup]:
    """A plot for each record that has a course of time."""
    plots = [(record, thermal_plot(record.report)) for record in records]
    drawn = [
        element(
            "figure", plot, element("figcaption", f"{_name(record, inputs)}. {thermal_words(record.report)}")
        )
        for record, plot in plots
        if plot is not None
    ]
    if not drawn:
        yield paragraph(
            f"Speed and temperature over the whole time of a benchmark: {NOT_MEASURED} by these records."
        )
    yield from drawn


def _name(record: Bench, inputs: ReportInputs) -> str:
    return f"{inputs.name_of(record.report.model.sha256)}, {_machine(record.report)}"


def _machine(report: BenchmarkReport) -> str:
    return report.device.model or report.device.arch


def _stages(report: BenchmarkReport) -> dict[str, float | None]:
    return {name: drawable(getattr(report.stages_ms, name)) for name in _STAGES}


def _row(record: Bench, inputs: ReportInputs) -> tuple[str, ...]:
    report, ms = record.report, record.report.latency_ms
    figures = (
        *(getattr(report.stages_ms, name) for name in _STAGES),
        ms.p50, ms.p90, ms.p95, ms.p99, ms.mean, report.load_ms, report.first_inference_ms,
    )  # fmt: skip
    return (
        inputs.name_of(report.model.sha256),
        f"{_machine(report)} ({report.device.arch})",
        str(report.threads),
        *(number(figure, 2) for figure in figures),
        number(report.peak_rss_mib, 0),
        str(report.samples),
    )


def _endurance(record: Bench, inputs: ReportInputs) -> str:
    report, device = record.report, record.report.device
    retention = (
        NOT_MEASURED
        if drawable(report.retention) is None
        else f"{report.retention:.2f} (speed of the last tenth of the frames over that of the first)"
    )
    celsius = (
        NOT_MEASURED
        if drawable(report.temperature_celsius) is None
        else f"{report.temperature_celsius:.0f} degrees Celsius at the end"
    )
    throttled = {True: "yes", False: "no", None: NOT_MEASURED}[report.throttled]
    short = ""
    if report.duration_s < MLPERF_DURATION_S:
        short = f" It took {report.duration_s:.3g} s, too short to rely on."
    foreign = ""
    if device.profile is not None and not device.is_profile_device:
        foreign = f" This machine is not the device of profile {device.profile}: nothing here is its latency."
    return (
        f"{_name(record, inputs)}: retention {retention}; temperature {celsius}; throttled: {throttled}."
        f"{short}{foreign}"
    )


_MOST_ROWS = 24


def training_section(inputs: ReportInputs) -> Markup | None:
    """The part; None without trainings."""
    parts = [_training(record, inputs) for record in inputs.distillations]
    return joined(*parts) if parts else None


def _training(record: ReportRecord[DistillationReport], inputs: ReportInputs) -> Markup:
    report = record.report
    options, data = report.options, report.data
    teacher = (
        "labels alone, without a teacher"
        if report.teacher is None
        else f"teacher {report.teacher.file_name} ({short(report.teacher.sha256)}, {report.teacher.targets})"
    )
    figure = None if report.evaluation is None else report.evaluation.metrics.get("oks_ap")
    on = "" if report.evaluation is None else f", on {inputs.data_in_words(report.evaluation.dataset)}"
    ended = {"steps": "as planned", "time_limit": "by its time limit"}[report.ended_by]
    return joined(
        element("h3", f"{options.student}, {options.input_wh[0]}x{options.input_wh[1]} pixels"),
        paragraph(
            f"{report.parameters} weights, learned from {teacher}, on {data.images} pictures with "
            f"{data.persons} persons (data {short(data.digest)}). {report.steps_done} of {options.steps} "
            f"steps of {options.batch_size}, seed {options.seed}, {number(report.seconds / 60, 1)} minutes, "
            f"ended {ended}. Loss at the end {number(report.loss)}. AP: {with_interval(figure)}{on}."
        ),
        _curves(inputs.curves.get(record.sha256)),
        _forms(report.quantization_aware),
    )


def _curves(found: TrainingCurve | None) -> Markup:
    if found is None:
        return paragraph(f"Loss and AP over steps: {NOT_MEASURED}; no metrics.jsonl lies beside the record.")
    return joined(
        _curve(found.losses, "Loss over steps", "loss"),
        _curve(found.accuracies, "AP on the validation pictures over steps", "AP"),
        paragraph(f"{found.unreadable} lines of metrics.jsonl are no measurement and were left out.")
        if found.unreadable
        else Markup(""),
    )


def _curve(places: tuple[tuple[float, float], ...], title: str, name: str) -> Markup:
    if not places:
        return paragraph(f"{title}: {NOT_MEASURED}.")
    (first, begin), (last, end) = places[0], places[-1]
    words = Words(title, f"From {begin:.3f} at step {first:g} to {end:.3f} at step {last:g}.")
    every = -(-len(places) // _MOST_ROWS)
    rows = [(f"{step:.0f}", f"{value:.4f}") for step, value in (*places[:-1:every], places[-1])]
    part = "" if every == 1 else f", every {every}th measurement and the last"
    return joined(
        element("figure", curve(places, words, ("step", name)), element("figcaption", title)),
        element("details", element("summary", "figures"), table(f"{title}{part}", ("step", name), rows)),
    )


def _forms(tuned: QuantizationAwareTuning | None) -> Markup:
    if tuned is None:
        return paragraph("There was no quantization-aware fine-tuning, so no int8 student was measured.")
    forms = {
        "float": tuned.float_student,
        "fine-tuned, rounded in the training": tuned.fake_quantized,
        "fine-tuned, int8 file": tuned.converted,
        "plain post-training int8": tuned.plain,
    }
    rows = [
        (name, number(form.oks_ap), number(form.pck), number(form.agreement_oks, 4))
        for name, form in forms.items()
    ]
    title = f"Forms of the student, on {tuned.measured_on} pictures"
    return table(title, ("form", "AP", "PCK@0.2", "OKS with float"), rows)


_DATA_NOTE = (
    "This record does not name the pictures behind its figures. "
    "On drawn people they say nothing about real ones."
)


def deployment_section(inputs: ReportInputs) -> Markup | None:
    """The part; None without deployments and statuses."""
    parts = [_deployment(record.report) for record in inputs.deployments]
    parts += [_status(record) for record in inputs.statuses]
    return joined(*parts) if parts else None


def _deployment(report: DeploymentReport) -> Markup:
    installed = report.installation
    health = None if installed is None else installed.health
    version = "" if installed is None else f", version {installed.bundle_version}"
    title = element(
        "h3", f"Deployment for {report.profile}: {report.precision}, recipe {report.recipe}{version}"
    )
    if report.dry_run:
        return joined(title, paragraph("Only planned; nothing was done."), bullets(report.plan))
    rows = [(step.name, step.detail, number(step.seconds, 1)) for step in report.steps]
    shipped = NOT_MEASURED if report.bundle is None else short(report.bundle.model_sha256)
    return joined(
        title,
        table("Steps", ("step", "result", "seconds"), rows) if rows else paragraph("No step was recorded."),
        gate_in_words(report.gate),
        paragraph(_DATA_NOTE, class_="note"),
        health_in_words(health),
        _verified(health),
        paragraph(f"sha256 of the model that ships: {shipped}."),
    )


def _verified(health: HealthReport | None) -> Markup:
    if health is None:
        return Markup("")
    backend, latency = health.backend, health.latency_ms
    place = "host" if health.verified_on == "host" else "device"
    ran = NOT_MEASURED
    if backend is not None:
        ran = (
            f"{backend.runtime} {backend.version}, {backend.delegate_used}, {backend.threads} threads, "
            f"{backend.ops_on_cpu} of {backend.ops_total} ops outside the delegate"
        )
    rows = [
        ("lowest OKS with the expected poses", number(health.worst_oks, 4)),
        ("lowest IoU with the expected boxes", number(health.worst_detection_iou, 4)),
        (f"p50 ms on this {place}", number(None if latency is None else latency.p50, 2)),
        (f"p95 ms on this {place}", number(None if latency is None else latency.p95, 2)),
        ("memory MiB", number(health.peak_rss_mib, 0)),
        ("what ran", ran),
        ("accelerator", "verified" if health.accelerator == "verified" else "not verified"),
    ]
    return table(f"Health check, verified on the {place}", ("what", "found"), rows)


def _status(record: ReportRecord[StatusReport]) -> Markup:
    report = record.report
    if report.active_slot is None:
        said = "Nothing is installed."
    else:
        said = (
            f"Version {report.bundle_version} is active in slot {report.active_slot}, model "
            f"{short(report.model_sha256 or NOT_MEASURED)}, profile {report.profile or 'not stated'}."
        )
    sandbox = ", ".join(report.sandbox.mechanisms) or "no mechanism"
    kept = "enforced" if report.sandbox.enforced else "not enforced"
    intact = {True: "as installed", False: "changed since", None: NOT_MEASURED}[report.files_intact]
    rows = [
        (event.at, event.event, str(event.bundle_version), _version(event.active_version), event.detail)
        for event in report.history
    ]
    headers = ("at", "event", "version", "active since", "detail")
    return joined(
        element("h3", f"Status, {record.file_name}"),
        paragraph(
            f"{said} Files: {intact}. Keeping it from the network: {kept} ({sandbox}). "
            + " ".join(report.sandbox.not_guaranteed)
        ),
        health_in_words(report.health),
        _verified(report.health),
        table("History", headers, rows) if rows else paragraph("History: empty."),
    )


def _version(version: int | None) -> str:
    return "none" if version is None else str(version)
