"""Records of a pose model as evaluate, benchmark and distill write them, with figures of one's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgepose.host.models.inspect import inspect_model
from edgepose.records.benchmark_report import (
    BackendRecord,
    BenchmarkDevice,
    BenchmarkedModel,
    BenchmarkReport,
    LatencyRecord,
    StageRecord,
)
from edgepose.records.distillation_report import (
    DistillationData,
    DistillationOptions,
    DistillationReport,
    DistillationTeacher,
    QuantizationAwareTuning,
    RoundedFigures,
)
from edgepose.records.evaluation_report import (
    BaselineReport,
    BootstrapReport,
    DeltaFigure,
    EvaluatedData,
    EvaluatedModel,
    EvaluationReport,
    MetricFigure,
    SliceReport,
)
from edgepose.records.record import Record, to_json

DATA_DIGEST = "d" * 64
TEACHER_DIGEST = "7" * 64
METRICS = ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar", "pck@0.2")


def write(path: Path, record: Record) -> Path:
    """Writes a record as JSON."""
    path.write_text(to_json(record, indent=2), encoding="utf-8")
    return path


def figure(
    value: float | None, low: float | None = None, high: float | None = None, n: int = 306
) -> MetricFigure:
    """A figure with its interval, 0.05 to both sides by default."""
    if value is None:
        return MetricFigure(value=None, interval_95=None, sample_count=n)
    interval = (value - 0.05 if low is None else low, value + 0.05 if high is None else high)
    return MetricFigure(value=value, interval_95=interval, sample_count=n)


def evaluation(model: Path, **changes: Any) -> EvaluationReport:
    """Three keypoints and three slices; AP 0.519."""
    seen = inspect_model(model)
    values = dict(zip(METRICS, (0.519, 0.81, 0.501, 0.578, 0.878), strict=True))
    pck = {"nose": 0.983, "left_wrist": 0.701, "left_ankle": 0.655, "left_hip": 0.9}
    slices = {
        "size_small": (0.201, 45, True),
        "size_large": (0.6, 200, True),
        "blur_blurred": (0.01, 12, False),
    }
    report = EvaluationReport(
        model=EvaluatedModel(path=f"/elsewhere/{model.name}", sha256=seen.sha256, precision=seen.precision),
        dataset=EvaluatedData(
            digest=DATA_DIGEST,
            images=99,
            persons=306,
            keypoints=tuple(pck),
            keypoints_of_data=17,
            boxes_from="labels",
            labels_without_image=0,
            images_without_label=0,
        ),
        metrics={name: figure(value) for name, value in values.items()},
        per_keypoint={
            name: {"pck@0.2": figure(value, n=229), "oks": figure(0.7, n=229)} for name, value in pck.items()
        },
        slices={
            name: SliceReport(persons=persons, oks_ap=figure(value), delta=None, gated=gated)
            for name, (value, persons, gated) in slices.items()
        },
        baseline=None,
        gate=None,
        detector=None,
        bootstrap=BootstrapReport(resamples=1000, seed=20170901),
    )
    return msgspec.structs.replace(report, **changes)


def baseline(model: Path, ap_lost: float = 0.012) -> BaselineReport:
    """The model that another one lost AP against."""
    seen = inspect_model(model)
    deltas = {name: DeltaFigure(value=0.001, interval_95=(-0.004, 0.006)) for name in METRICS}
    deltas["oks_ap"] = DeltaFigure(value=-ap_lost, interval_95=(-ap_lost - 0.004, -ap_lost + 0.004))
    return BaselineReport(
        path=str(model),
        sha256=seen.sha256,
        precision=seen.precision,
        metrics={name: figure(0.5) for name in METRICS},
        delta=deltas,
    )


def benchmark(model: Path, profile: str | None = "raspberrypi5", *, on_it: bool = False) -> BenchmarkReport:
    """4.56 ms on one thread."""
    return BenchmarkReport(
        schema="edgepose.benchmark/1",
        backend=BackendRecord(
            runtime="onnxruntime", version="1.32.0", delegate_used="cpu", ops_total=30, ops_on_cpu=30
        ),
        threads=1,
        samples=500,
        duration_s=60.5,
        load_ms=12.0,
        first_inference_ms=8.0,
        latency_ms=LatencyRecord(p50=4.56, p90=5.0, p95=5.43, p99=6.0, mean=4.6),
        stages_ms=StageRecord(preprocess=0.5, infer=3.9, decode=0.11),
        peak_rss_mib=88.4,
        retention=None,
        temperature_celsius=None,
        throttled=None,
        model=BenchmarkedModel(sha256=inspect_model(model).sha256, name=model.name),
        device=BenchmarkDevice(
            arch="aarch64", model="Board Nine", cpu_governor=None, profile=profile, is_profile_device=on_it
        ),
    )


def distillation(model: Path, int8: Path | None = None, **changes: Any) -> DistillationReport:
    """A student with 836281 weights, learned from TinyPose."""
    report = DistillationReport(
        schema="edgepose.distillation/1",
        teacher=DistillationTeacher(file_name="tinypose.onnx", sha256=TEACHER_DIGEST, targets="heatmaps"),
        data=DistillationData(
            digest="a" * 64,
            images=141,
            persons=475,
            labelled_keypoints=4024,
            disputed_labels=39,
            too_small=40,
        ),
        options=DistillationOptions(
            student="edgepose-s",
            input_wh=(128, 160),
            start_sha256=None,
            augmentation="light",
            seed=11,
            steps=6000,
            batch_size=32,
            learning_rate=0.002,
            labels_only=False,
        ),
        parameters=836281,
        steps_done=6000,
        ended_by="steps",
        resumed_from=None,
        seconds=7200.0,
        loss=0.512,
        precision="float32",
        versions={"keras": "3.15.1", "numpy": "2.4.6"},
        model=inspect_model(model),
        evaluation=None,
        quantization_aware=None if int8 is None else _tuning(int8),
    )
    return msgspec.structs.replace(report, **changes)


def _tuning(int8: Path) -> QuantizationAwareTuning:
    return QuantizationAwareTuning(
        steps=300,
        learning_rate=1e-4,
        resumed_from=None,
        seconds=60.0,
        loss=0.6,
        measured_on="validation",
        crops=306,
        float_student=RoundedFigures(oks_ap=0.521, pck=0.88, agreement_oks=None),
        fake_quantized=RoundedFigures(oks_ap=0.516, pck=0.877, agreement_oks=0.97),
        converted=RoundedFigures(oks_ap=0.515, pck=0.876, agreement_oks=0.969),
        plain=RoundedFigures(oks_ap=0.482, pck=0.851, agreement_oks=0.91),
        shipped="fine_tuned",
        mean_steps_apart=0.2,
        greatest_steps_apart=7.0,
        model=inspect_model(int8),
    )
